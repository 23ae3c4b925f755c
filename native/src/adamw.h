#pragma once

#include "guard.h"

namespace laclip {

napi_value adamw_step(Call& call);
napi_value adamw_step_on_device(Call& call);

}  // namespace laclip
