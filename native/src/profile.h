#pragma once

#include "guard.h"

namespace laclip {

napi_value start_profile(Call& call);
napi_value end_profile(Call& call);

}  // namespace laclip
