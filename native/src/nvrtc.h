// NVIDIA's compiler as a library, opened when it is needed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels.h"

namespace laclip {

// Gives `use` the code of a kernel's file with its constants, for the GPU that `architecture` names: "sm_90", or "compute_80" for what the
// driver can compile further for any later one. `library`: the handle of dlopen that has NVRTC's functions. `folder`: where code is kept from
// one process to the next, see kept-code.h. Throws with the compiler's words, and what `use` throws.
void use_compiled(void* library, const std::string& architecture, const KernelCall& call, const std::string& folder,
                  const std::function<void(const std::string&)>& use);

// How often this process has had something compiled.
int64_t compilations();

}  // namespace laclip
