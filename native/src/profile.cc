// What a device does and when: libtorch's profiler, whose events go to JavaScript as they are. Works out nothing itself.
#include "profile.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <set>
#include <unordered_map>
#include <vector>

#include "convert.h"

namespace laclip {

namespace {

using torch::autograd::profiler::KinetoEvent;

// Nanoseconds, since 1970 where it is a time. Older versions of libtorch have microseconds; `int` fits the call better than `long`.
template <typename Event>
auto start_of(const Event& event, int) -> decltype(static_cast<uint64_t>(event.startNs())) {
  return static_cast<uint64_t>(event.startNs());
}
template <typename Event>
uint64_t start_of(const Event& event, long) {
  return 1000 * static_cast<uint64_t>(event.startUs());
}
template <typename Event>
auto duration_of(const Event& event, int) -> decltype(static_cast<uint64_t>(event.durationNs())) {
  return static_cast<uint64_t>(event.durationNs());
}
template <typename Event>
uint64_t duration_of(const Event& event, long) {
  return 1000 * static_cast<uint64_t>(event.durationUs());
}

// What libkineto calls sorts of events: of its own list, those that are asked for here.
enum Sort { kOperator = 0, kAnnotation = 1, kCopyOnDevice = 3, kFillOnDevice = 4, kKernel = 5 };

bool works_on_device(const KinetoEvent& event) {
  const auto sort = event.activityType();
  return event.deviceType() != c10::DeviceType::CPU && (sort == kCopyOnDevice || sort == kFillOnDevice || sort == kKernel);
}

// libtorch's profiler is one for the process, and the thread that has started it ends it.
std::atomic<bool> recording{false};
thread_local bool begun_here = false;

}  // namespace

// (device): from now on the operators of this thread are recorded, and what they have a GPU do
napi_value start_profile(Call& call) {
  using torch::profiler::impl::ActivityType;
  // The library beneath says on standard error that it begins and ends, unless it is told not to.
  setenv("KINETO_LOG_LEVEL", "6", /*overwrite=*/0);
  const c10::Device device(to_string(call.env, call[0]));
  std::set<ActivityType> activities{ActivityType::CPU};
  if (device.is_cuda()) activities.insert(ActivityType::CUDA);
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  if (recording.exchange(true)) throw std::runtime_error("a profile is being recorded already");
  try {
    torch::autograd::profiler::prepareProfiler(config, activities);
    torch::autograd::profiler::enableProfiler(config, activities);
  } catch (...) {
    recording = false;
    throw;
  }
  begun_here = true;
  return undefined(call.env);
}

// () -> { names, events }: for each event six numbers: which name, whether on the device (1) or the processor (0), stream or thread, start (after
// that of the first) and duration in nanoseconds, and the operator that has caused it as the number of its event, or -1
napi_value end_profile(Call& call) {
  if (!begun_here) throw std::runtime_error("no profile is being recorded by this thread");
  begun_here = false;
  recording = false;
  const auto result = torch::autograd::profiler::disableProfiler();
  const std::vector<KinetoEvent>& all = result->events();
  constexpr size_t width = 6;
  std::unordered_map<std::string, uint32_t> numbers;
  std::unordered_map<uint64_t, size_t> by_correlation;
  // Work of a device comes with spans of what was called around it, which would count it twice.
  std::vector<const KinetoEvent*> events;
  uint64_t first = UINT64_MAX;
  for (const KinetoEvent& event : all) {
    const bool on_processor = event.deviceType() == c10::DeviceType::CPU;
    if (!on_processor && !works_on_device(event)) continue;
    // Calls of CUDA have numbers of their own, which are as small.
    const auto sort = event.activityType();
    if (on_processor && (sort == kOperator || sort == kAnnotation)) by_correlation[event.correlationId()] = events.size();
    first = std::min(first, start_of(event, 0));
    events.push_back(&event);
  }
  napi_value found, names, buffer, array;
  void* memory = nullptr;
  const napi_env env = call.env;
  check(env, napi_create_object(env, &found));
  check(env, napi_create_array(env, &names));
  check(env, napi_create_arraybuffer(env, events.size() * width * sizeof(double), &memory, &buffer));
  auto* row = static_cast<double*>(memory);
  for (const KinetoEvent* const one : events) {
    const KinetoEvent& event = *one;
    const auto added = numbers.emplace(event.name(), static_cast<uint32_t>(numbers.size()));
    if (added.second) check(env, napi_set_element(env, names, added.first->second, from_string(env, added.first->first)));
    const bool on_device = event.deviceType() != c10::DeviceType::CPU;
    const uint64_t linked = event.linkedCorrelationId();
    const auto cause = linked == 0 ? by_correlation.end() : by_correlation.find(linked);
    row[0] = added.first->second;
    row[1] = on_device ? 1 : 0;
    row[2] = on_device ? static_cast<double>(event.deviceResourceId()) : static_cast<double>(event.startThreadId());
    row[3] = static_cast<double>(start_of(event, 0) - first);
    row[4] = static_cast<double>(duration_of(event, 0));
    row[5] = cause == by_correlation.end() ? -1 : static_cast<double>(cause->second);
    row += width;
  }
  check(env, napi_create_typedarray(env, napi_float64_array, events.size() * width, buffer, 0, &array));
  check(env, napi_set_named_property(env, found, "names", names));
  check(env, napi_set_named_property(env, found, "events", array));
  return found;
}

}  // namespace laclip
