#pragma once

#include "guard.h"

namespace laclip {

napi_value set_requires_grad(Call& call);
napi_value requires_grad(Call& call);
napi_value gradient(Call& call);
napi_value set_gradient(Call& call);
napi_value backward(Call& call);
napi_value set_grad_mode(Call& call);
napi_value grad_mode(Call& call);
napi_value set_autocast(Call& call);
napi_value clear_autocast_cache(Call& call);

}  // namespace laclip
