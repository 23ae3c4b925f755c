// What belongs to the library as a whole: threads, seeds, version, memory.
#include "runtime.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/version.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>

#include "convert.h"
#include "device.h"

namespace laclip {

namespace {

void set(napi_env env, napi_value object, const char* name, napi_value value) { check(env, napi_set_named_property(env, object, name, value)); }

// Counts what libtorch's allocators say to its profiler: every tensor, also those that only a graph holds.
struct MemoryMeasure : c10::MemoryReportingInfoBase {
  // The type of the totals, which are not used, differs between versions; one of the two overrides.
  void reportMemoryUsage(void*, int64_t change, int64_t, int64_t, c10::Device) { add(change); }
  void reportMemoryUsage(void*, int64_t change, size_t, size_t, c10::Device) { add(change); }
  bool memoryProfilingEnabled() const override { return true; }

  void add(int64_t change) {
    const int64_t now = bytes += change;
    int64_t before = peak;
    while (before < now && !peak.compare_exchange_weak(before, now)) {
    }
  }

  std::atomic<int64_t> bytes{0};
  std::atomic<int64_t> peak{0};
};

thread_local std::shared_ptr<MemoryMeasure> measure;
thread_local std::unique_ptr<c10::DebugInfoGuard> measuring;

}  // namespace

// (count): threads within an operator, for this JavaScript thread
napi_value set_threads(Call& call) {
  const int64_t count = to_int(call.env, call[0]);
  if (count < 1 || count > 4096) throw std::runtime_error("threads: expected 1 to 4096, got " + std::to_string(count));
  at::set_num_threads(static_cast<int>(count));
  return undefined(call.env);
}

napi_value threads(Call& call) { return from_double(call.env, at::get_num_threads()); }

// (seed): all generators of all devices
napi_value manual_seed(Call& call) {
  at::manual_seed(static_cast<uint64_t>(to_int(call.env, call[0])));
  return undefined(call.env);
}

// (device) -> handle of a uint8 tensor on the CPU with the state of the device's generator
napi_value random_state(Call& call) {
  at::Generator generator = generator_of(c10::Device(to_string(call.env, call[0])));
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return from_double(call.env, call.environment().adopt(at::Tensor(generator.get_state())));
}

// (handle of such a state, device)
napi_value set_random_state(Call& call) {
  at::Generator generator = generator_of(c10::Device(to_string(call.env, call[1])));
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(call.environment().at(to_double(call.env, call[0])));
  return undefined(call.env);
}

// (on): whether products of float32 on a GPU may be computed in TF32, for the whole process
napi_value set_tf32(Call& call) {
  const bool on = to_bool(call.env, call[0]);
  at::globalContext().setAllowTF32CuBLAS(on);
  at::globalContext().setAllowTF32CuDNN(on);
  return undefined(call.env);
}

napi_value tf32(Call& call) {
  return from_bool(call.env, at::globalContext().allowTF32CuBLAS() && at::globalContext().allowTF32CuDNN());
}

// () -> { version, configuration, parallel, cuda: built with it, cudaDevices, mkldnn }
napi_value library_info(Call& call) {
  const napi_env env = call.env;
  napi_value info;
  check(env, napi_create_object(env, &info));
  set(env, info, "version", from_string(env, TORCH_VERSION));
  set(env, info, "configuration", from_string(env, at::show_config()));
  set(env, info, "parallel", from_string(env, at::get_parallel_info()));
#ifdef LACLIP_WITH_CUDA
  set(env, info, "cuda", from_bool(env, true));
#else
  set(env, info, "cuda", from_bool(env, false));
#endif
  set(env, info, "cudaDevices", from_double(env, at::hasCUDA() ? static_cast<double>(at::getNumGPUs()) : 0));
  set(env, info, "mkldnn", from_bool(env, at::hasMKLDNN()));
  return info;
}

// () -> { live: tensors with a handle in this environment, accountedBytes: what the garbage collector was told }
napi_value memory_info(Call& call) {
  napi_value info;
  check(call.env, napi_create_object(call.env, &info));
  set(call.env, info, "live", from_double(call.env, static_cast<double>(call.environment().live())));
  set(call.env, info, "accountedBytes", from_double(call.env, static_cast<double>(call.environment().accounted_bytes())));
  return info;
}

// From here on memory of tensors is counted, of what this thread does.
napi_value start_memory_measure(Call& call) {
  if (measuring != nullptr) throw std::runtime_error("memory is being measured already");
  measure = std::make_shared<MemoryMeasure>();
  measuring = std::make_unique<c10::DebugInfoGuard>(c10::DebugInfoKind::PROFILER_STATE, measure);
  return undefined(call.env);
}

// () -> { bytes: allocated since the start and still there, peak: the most at a time }
napi_value end_memory_measure(Call& call) {
  if (measuring == nullptr) throw std::runtime_error("memory is not being measured");
  measuring.reset();
  napi_value found;
  check(call.env, napi_create_object(call.env, &found));
  set(call.env, found, "bytes", from_double(call.env, static_cast<double>(measure->bytes)));
  set(call.env, found, "peak", from_double(call.env, static_cast<double>(measure->peak)));
  measure.reset();
  return found;
}

}  // namespace laclip
