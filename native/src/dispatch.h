#pragma once

#include "guard.h"

namespace laclip {

napi_value find_operator(Call& call);
napi_value call_operator(Call& call);
napi_value schemas(Call& call);

}  // namespace laclip
