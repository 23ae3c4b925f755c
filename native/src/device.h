#pragma once

#include <ATen/ATen.h>

#include "guard.h"

namespace laclip {

// The random numbers of a device; those of the processor for devices without their own.
at::Generator generator_of(c10::Device device);

// A copy of `host` on `device`, which this thread's work on the device waits for, though nobody else does.
// `ahead`: beside that work instead of after it.
at::Tensor upload(const at::Tensor& host, c10::Device device, bool ahead);

// Bytes of a device's memory: in tensors now and at most, held for tensors, of use to nobody yet, and in all.
struct MemoryOfDevice {
  size_t allocated, peak, reserved, free, total;
};

// Of the device that stands in for a GPU; `total` is 0 where it has as much as there is.
MemoryOfDevice memory_of_stand_in();
void reset_peak_of_stand_in();

napi_value gpu_problem(Call& call);
napi_value device_properties(Call& call);
napi_value use_device(Call& call);
napi_value synchronize(Call& call);
napi_value start_wait_count(Call& call);
napi_value end_wait_count(Call& call);
napi_value device_memory(Call& call);
napi_value reset_peak_memory(Call& call);
napi_value release_memory(Call& call);
napi_value move_tensor(Call& call);
napi_value set_deterministic(Call& call);
napi_value stand_in_device(Call& call);
napi_value stand_in_memory(Call& call);
napi_value stand_in_works_aside(Call& call);

}  // namespace laclip
