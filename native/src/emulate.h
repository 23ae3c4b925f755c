// Kernels without a GPU, for tests.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "kernels.h"

namespace laclip {

// Runs all blocks before it returns. Throws for what would go wrong unseen on a GPU: memory that no tensor of `memory` has, addresses that
// are not as even as the kernel takes them to be, threads that part before a sum.
void emulate(const KernelCall& call, int64_t blocks, const void* arguments, const std::vector<at::Tensor>& memory);

}  // namespace laclip
