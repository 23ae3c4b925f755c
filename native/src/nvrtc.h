// NVIDIA's compiler as a library, opened when it is needed.
#pragma once

#include <string>

#include "kernels.h"

namespace laclip {

// The code of a kernel's file with its constants, for the GPU that `architecture` names: "sm_90", or "compute_80" for what the driver can
// compile further for any later one. `library`: the handle of dlopen that has NVRTC's functions. Throws with the compiler's words.
std::string compile_source(void* library, const std::string& architecture, const KernelCall& call);

}  // namespace laclip
