#pragma once

#include "guard.h"

namespace laclip {

napi_value recompute(Call& call);
napi_value hand_over(Call& call);

}  // namespace laclip
