// Our own kernels for a GPU: compiled when they are first used, or read from where an earlier process has left them, and given to the device.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <utility>
#include <vector>

#include "guard.h"

namespace laclip {

// Which kernel, and what is settled before it is compiled.
struct KernelCall {
  const char* file;  // name of the source in kernels/, without .cu
  const char* name;  // of the kernel in it
  // THREADS, of a block, is among them. A file's kernels all have the same ones.
  std::vector<std::pair<const char*, int>> constants;
};

// Blocks of a kernel that are at work at the same time: for kernels that leave something behind for each block.
int64_t resident_blocks(c10::Device device, const KernelCall& call);

// `launch` of a struct of so many bytes.
void launch_bytes(c10::Device device, const KernelCall& call, int64_t blocks, const void* arguments, size_t bytes,
                  const std::vector<at::Tensor>& memory);

// Gives it to the device, behind the other work of this thread.
// `arguments` is the kernel's struct, copied before the call returns; `memory` are the tensors that it leads to.
template <typename Arguments>
void launch(c10::Device device, const KernelCall& call, int64_t blocks, const Arguments* arguments, const std::vector<at::Tensor>& memory) {
  launch_bytes(device, call, blocks, arguments, sizeof(Arguments), memory);
}

// (device) -> why our kernels don't run there, or undefined where they do
napi_value kernel_problem(Call& call);
// (folder): where compiled kernels are kept from one process to the next; "" for nowhere. Of the process.
napi_value keep_kernels(Call& call);
// () -> how often this process has had kernels compiled
napi_value kernel_compilations(Call& call);
// (path of a libnvrtc, architecture "sm_90", file, names of constants, their values, folder to keep them in or "") -> bytes of the
// compiled kernels
napi_value compile_kernels(Call& call);

}  // namespace laclip
