// Devices beside the processor: which there are, what they have, and the way of bytes to them.
//
// Streams and events go through libtorch's own virtual interface, which every device implements, so that only what CUDA alone knows (its
// allocator, the names of its GPUs) needs CUDA's headers, and is left out of an addon for a libtorch without it.
#include "device.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/version.h>

#include <cstdlib>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "convert.h"
#include "graph.h"
#include "stand-in.h"

#ifdef LACLIP_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#endif

namespace laclip {

namespace {

void set(napi_env env, napi_value object, const char* name, napi_value value) { check(env, napi_set_named_property(env, object, name, value)); }

c10::Device device_of(Call& call, size_t argument) { return c10::Device(to_string(call.env, call[argument])); }

[[maybe_unused]] constexpr const char* kWithoutCuda = "this libtorch was built without CUDA";

MemoryOfDevice memory_of(c10::Device device) {
  if (device.type() == c10::DeviceType::PrivateUse1) return memory_of_stand_in();
#ifdef LACLIP_WITH_CUDA
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(device.index());
  const c10::cuda::CUDAGuard guard(device);
  size_t free = 0, total = 0;
  C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return {static_cast<size_t>(stats.allocated_bytes[0].current), static_cast<size_t>(stats.allocated_bytes[0].peak),
          static_cast<size_t>(stats.reserved_bytes[0].current), free, total};
#else
  throw std::runtime_error(kWithoutCuda);
#endif
}

// The stream of a device on which batches come while its other streams compute.
c10::Stream copying_stream(const c10::impl::VirtualGuardImpl& impl, c10::Device device) {
  static std::mutex mutex;
  static auto* const streams = new std::unordered_map<c10::Device, c10::Stream>;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = streams->find(device);
  if (found != streams->end()) return found->second;
  return streams->emplace(device, impl.getStreamFromGlobalPool(device)).first->second;
}

// Where waits are counted just now, and what was counted before.
std::optional<c10::Device> counted_on;
int64_t waits_before = 0;

#ifdef LACLIP_WITH_CUDA
// libtorch warns of each operator that keeps the program waiting for a GPU, when asked to. This counts the warnings, and passes others on.
struct CountsWaits final : c10::WarningHandler {
  void process(const c10::Warning& warning) override {
    if (warning.msg().find("synchronizing CUDA operation") != std::string::npos) count++;
    else before->process(warning);
  }
  int64_t count = 0;
  c10::WarningHandler* before = nullptr;
};
CountsWaits counts_waits;
#endif

}  // namespace

at::Generator generator_of(c10::Device device) {
  return at::globalContext().defaultGenerator(device.is_cuda() ? device : c10::Device(c10::kCPU));
}

at::Tensor upload(const at::Tensor& host, c10::Device device, bool ahead) {
  if (device.is_cpu()) return host;
  refuse_while_recording("a tensor from the host");
  const bool has_streams = device.is_cuda() || device.type() == c10::DeviceType::PrivateUse1;
  if (!ahead || !has_streams) return host.to(device, host.scalar_type(), /*non_blocking=*/true);
  const c10::impl::VirtualGuardImpl impl(device.type());
  if (!device.has_index()) device = impl.getDevice();
  const c10::Stream present = impl.getStream(device);
  const c10::Stream aside = copying_stream(impl, device);
  at::Tensor there;
  {
    const c10::StreamGuard guard(aside);
    there = host.to(device, host.scalar_type(), /*non_blocking=*/true);
  }
  c10::Event copied(device.type());
  copied.record(aside);
  copied.block(present);
  // Its memory belongs to the other stream, which must not have it back while this one still reads.
  there.record_stream(present);
  return there;
}

// () -> why there is no GPU to compute on, or undefined when there is one
napi_value gpu_problem(Call& call) {
#ifdef LACLIP_WITH_CUDA
  try {
    c10::cuda::device_count_ensure_non_zero();
    return undefined(call.env);
  } catch (const c10::Error& error) {
    return from_string(call.env, error.what_without_backtrace());
  }
#else
  return from_string(call.env, kWithoutCuda);
#endif
}

// (CUDA device) -> { name, capability, memory: bytes, processors }
napi_value device_properties([[maybe_unused]] Call& call) {
#ifdef LACLIP_WITH_CUDA
  const napi_env env = call.env;
  const cudaDeviceProp& found = *at::cuda::getDeviceProperties(device_of(call, 0).index());
  napi_value properties;
  check(env, napi_create_object(env, &properties));
  set(env, properties, "name", from_string(env, found.name));
  set(env, properties, "capability", from_string(env, std::to_string(found.major) + "." + std::to_string(found.minor)));
  set(env, properties, "memory", from_double(env, static_cast<double>(found.totalGlobalMem)));
  set(env, properties, "processors", from_double(env, found.multiProcessorCount));
  return properties;
#else
  throw std::runtime_error(kWithoutCuda);
#endif
}

// (device): the one that this thread's work goes to where none is named
napi_value use_device(Call& call) {
  const c10::Device device = device_of(call, 0);
  if (!device.is_cpu() && device.has_index()) c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
  return undefined(call.env);
}

// (device): returns when all that it was given is done
napi_value synchronize(Call& call) {
  const c10::Device device = device_of(call, 0);
  if (device.is_cuda()) at::detail::getCUDAHooks().deviceSynchronize(device.has_index() ? device.index() : 0);
  return undefined(call.env);
}

// (device): from now on, it is counted how often this thread has to wait for it
napi_value start_wait_count(Call& call) {
  if (counted_on.has_value()) throw std::runtime_error("waits are counted already");
  const c10::Device device = device_of(call, 0);
  waits_before = stand_in_waits();
#ifdef LACLIP_WITH_CUDA
  if (device.is_cuda()) {
    counts_waits.count = 0;
    counts_waits.before = c10::WarningUtils::get_warning_handler();
    c10::WarningUtils::set_warning_handler(&counts_waits);
    c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_WARN);
  }
#endif
  counted_on = device;
  return undefined(call.env);
}

// () -> how often it had to since then
napi_value end_wait_count(Call& call) {
  if (!counted_on.has_value()) throw std::runtime_error("no waits are counted");
  const c10::Device device = *counted_on;
  counted_on.reset();
#ifdef LACLIP_WITH_CUDA
  if (device.is_cuda()) {
    c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED);
    c10::WarningUtils::set_warning_handler(counts_waits.before);
    return from_double(call.env, static_cast<double>(counts_waits.count));
  }
#endif
  return from_double(call.env, device.is_cpu() ? 0 : static_cast<double>(stand_in_waits() - waits_before));
}

// (device other than the processor) -> { allocated, peak, reserved, free, total }, see MemoryOfDevice
napi_value device_memory(Call& call) {
  const napi_env env = call.env;
  const MemoryOfDevice found = memory_of(device_of(call, 0));
  napi_value memory;
  check(env, napi_create_object(env, &memory));
  const auto put = [&](const char* name, size_t bytes) { set(env, memory, name, from_double(env, static_cast<double>(bytes))); };
  put("allocated", found.allocated);
  put("peak", found.peak);
  put("reserved", found.reserved);
  put("free", found.free);
  put("total", found.total);
  return memory;
}

// (device other than the processor): the peak begins anew
napi_value reset_peak_memory(Call& call) {
  const c10::Device device = device_of(call, 0);
  if (device.type() == c10::DeviceType::PrivateUse1) {
    reset_peak_of_stand_in();
    return undefined(call.env);
  }
#ifdef LACLIP_WITH_CUDA
  c10::cuda::CUDACachingAllocator::resetPeakStats(device.index());
  return undefined(call.env);
#else
  throw std::runtime_error(kWithoutCuda);
#endif
}

// (device other than the processor): what its allocator holds and no tensor needs is free again
napi_value release_memory(Call& call) {
  const c10::Device device = device_of(call, 0);
  if (device.type() == c10::DeviceType::PrivateUse1) return undefined(call.env);
#ifdef LACLIP_WITH_CUDA
  c10::cuda::CUDACachingAllocator::emptyCache();
  return undefined(call.env);
#else
  throw std::runtime_error(kWithoutCuda);
#endif
}

// (handle of a leaf, device): the handle is of a copy there from now on, without a gradient
napi_value move_tensor(Call& call) {
  at::Tensor& tensor = call.environment().at(to_double(call.env, call[0]));
  if (!tensor.is_leaf()) throw std::runtime_error("only a tensor that no other was computed from can be moved");
  const at::NoGradGuard no_grad;
  at::Tensor there = tensor.to(device_of(call, 1));
  if (there.is_same(tensor)) return undefined(call.env);
  there.requires_grad_(tensor.requires_grad());
  tensor = std::move(there);
  return undefined(call.env);
}

// (on): operators compute the same every time, or say that they can't, for the whole process
napi_value set_deterministic(Call& call) {
  const bool on = to_bool(call.env, call[0]);
  // cuBLAS reads it when it is first used.
  if (on) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(on, /*warn_only=*/false);
  context.setDeterministicCuDNN(on);
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 2)
  // It would fill with NaN whatever is about to be written, batches and outputs of our kernels too: as deterministic, and slower.
  context.setDeterministicFillUninitializedMemory(false);
#endif
  return undefined(call.env);
}

}  // namespace laclip
