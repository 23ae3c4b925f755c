#pragma once

#include "guard.h"

namespace laclip {

napi_value adamw_step(Call& call);

}  // namespace laclip
