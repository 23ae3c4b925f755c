#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace laclip {

// The device that stands in for a GPU.
inline const c10::Device kStandIn(c10::DeviceType::PrivateUse1, 0);

c10::Allocator& stand_in_allocator();

// Its streams and events, as libtorch asks for those of every device.
const c10::impl::DeviceGuardImplInterface& stand_in_guard();

// To be called for each of its tensors that this thread's stream reads or writes. Throws where another stream may still be at work on that
// memory, and where memory was given back too early since the last call.
void use_on_stream(const at::Tensor& tensor);

// To be called where this thread waits for its stream: whatever that was given, or has waited for, is done.
void finish_stream();

}  // namespace laclip
