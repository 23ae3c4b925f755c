#pragma once

#include "guard.h"

namespace laclip {

napi_value set_threads(Call& call);
napi_value threads(Call& call);
napi_value manual_seed(Call& call);
napi_value random_state(Call& call);
napi_value set_random_state(Call& call);
napi_value set_tf32(Call& call);
napi_value tf32(Call& call);
napi_value library_info(Call& call);
napi_value memory_info(Call& call);
napi_value start_memory_measure(Call& call);
napi_value end_memory_measure(Call& call);

}  // namespace laclip
