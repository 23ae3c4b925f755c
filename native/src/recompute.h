#pragma once

#include "guard.h"

namespace laclip {

napi_value recompute(Call& call);
napi_value hand_over(Call& call);

// Whether graphs of this thread have nodes that call JavaScript.
bool recomputes_here();

}  // namespace laclip
