// Graphs: a device's work, recorded once and given to it again by one call instead of thousands (CUDA graphs).
//
// What was recorded reads and writes the same memory each time, so that its inputs are tensors which are overwritten before, and its results
// tensors which are kept. All graphs of a device share one pool of memory: what one of them leaves there between its own replays is kept
// only if a tensor holds it. So one graph at a time is replayed, and its results are used before the next is.
#include "graph.h"

#include <ATen/ATen.h>
#include <c10/util/ScopeExit.h>
#include <torch/version.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "convert.h"
#include "stand-in.h"

#if defined(LACLIP_WITH_CUDA) && (TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 1))
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#define LACLIP_CUDA_GRAPHS
#endif

namespace laclip {

namespace {

std::atomic<int> recorded_now{0};

#ifdef LACLIP_CUDA_GRAPHS
// What the graphs of a device share. The stream is always the same, since memory of a pool is found again by stream. A pool ends with the
// last of its graphs, so that the next one needs a new pool.
struct Shared {
  decltype(at::cuda::graph_pool_handle()) pool;
  c10::cuda::CUDAStream stream;
  int64_t graphs = 0;
};

Shared& shared_by(c10::DeviceIndex device) {
  static auto* const all = new std::unordered_map<c10::DeviceIndex, Shared>;
  const auto found = all->find(device);
  if (found != all->end()) return found->second;
  return all->emplace(device, Shared{at::cuda::graph_pool_handle(), c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device)})
      .first->second;
}

// Newer libtorches give back by themselves what a recording that failed has taken of the allocator.
class Recorder final : public at::cuda::CUDAGraph {
 public:
  static constexpr bool cleans_up() { return decltype(looked_for<Recorder>(0))::value; }

 private:
  template <typename T>
  static auto looked_for(int) -> decltype(std::declval<T&>().capturing_to_pool_, std::true_type());
  template <typename T>
  static std::false_type looked_for(...);
};

class CudaGraph final : public Graph {
 public:
  explicit CudaGraph(c10::Device device) : device_(device.has_index() ? device.index() : c10::cuda::current_device()) {}

  ~CudaGraph() override {
    try {
      if (stream_.has_value()) end();
    } catch (const std::exception&) {
      // What was begun and failed is over with this.
    }
    try {
      const c10::cuda::CUDAGuard there(device_);
      c10::cuda::device_synchronize();
      if (begun_) shared_by(device_).graphs--;
      graph_.reset();
    } catch (const std::exception&) {
      // A device that has failed has told so elsewhere.
    }
  }

  void begin() override {
    const c10::cuda::CUDAGuard there(device_);
    // Nothing of what was given before may still be on its way, and memory that others have used must be free for the pool.
    c10::cuda::device_synchronize();
    c10::cuda::CUDACachingAllocator::emptyCache();
    Shared& shared = shared_by(device_);
    if (shared.graphs == 0) shared.pool = at::cuda::graph_pool_handle();
    graph_ = std::make_unique<Recorder>();
    begun_ = true;
    shared.graphs++;
    stream_.emplace(shared.stream);
    // Of this thread: loaders may pin memory meanwhile.
    graph_->capture_begin(shared.pool, cudaStreamCaptureModeThreadLocal);
  }

  void end() override {
    const auto leave = c10::make_scope_exit([this] { stream_.reset(); });
    try {
      graph_->capture_end();
    } catch (const std::exception&) {
      give_back();
      throw;
    }
  }

  void replay() override {
    const c10::cuda::CUDAGuard there(device_);
    graph_->replay();
  }

 private:
  // After a recording that failed. Without it, the allocator would take it to go on for ever, and refuse to release anything.
  void give_back() {
    if (Recorder::cleans_up()) return;
    const auto pool = shared_by(device_).pool;
    try {
      c10::cuda::CUDACachingAllocator::endAllocateToPool(device_, pool);
    } catch (const std::exception&) {
      // It got as far as that, and then the graph itself releases the pool.
      return;
    }
    c10::cuda::CUDACachingAllocator::releasePool(device_, pool);
    // Others were given its address, and never hear of its end.
    static_cast<void>(graph_.release());
  }

  const c10::DeviceIndex device_;
  std::unique_ptr<Recorder> graph_;
  bool begun_ = false;
  std::optional<c10::cuda::CUDAStreamGuard> stream_;
};
#endif

std::unique_ptr<Graph> graph_of(c10::Device device) {
  if (device.type() == c10::DeviceType::PrivateUse1) return stand_in_graph();
#ifdef LACLIP_CUDA_GRAPHS
  if (device.is_cuda()) return std::make_unique<CudaGraph>(device);
#endif
  throw std::runtime_error("work on " + device.str() + " can't be recorded");
}

struct Held {
  std::unique_ptr<Graph> graph;
  bool records;
};

// Never destroyed: at the end of the process there may be no driver any more.
std::mutex& mutex() {
  static auto* const held = new std::mutex;
  return *held;
}
std::unordered_map<int64_t, Held>& graphs() {
  static auto* const all = new std::unordered_map<int64_t, Held>;
  return *all;
}

Held& held(Call& call) {
  const auto found = graphs().find(to_int(call.env, call[0]));
  if (found == graphs().end()) throw std::runtime_error("there is no such graph");
  return found->second;
}

}  // namespace

void refuse_while_recording(const char* what) {
  if (recorded_now > 0) throw std::runtime_error(std::string(what) + ": operation not permitted when stream is capturing");
}

// (device) -> number of a graph; from now on, this thread's work there is recorded
napi_value open_graph(Call& call) {
  const std::lock_guard<std::mutex> lock(mutex());
  static int64_t last = 0;
  std::unique_ptr<Graph> graph = graph_of(c10::Device(to_string(call.env, call[0])));
  graph->begin();
  recorded_now++;
  graphs().emplace(++last, Held{std::move(graph), true});
  return from_double(call.env, static_cast<double>(last));
}

// (graph): what was recorded is whole
napi_value end_graph(Call& call) {
  const std::lock_guard<std::mutex> lock(mutex());
  Held& one = held(call);
  if (!one.records) throw std::runtime_error("this graph is recorded already");
  one.records = false;
  recorded_now--;
  one.graph->end();
  return undefined(call.env);
}

// (graph): does again what was recorded
napi_value replay_graph(Call& call) {
  const std::lock_guard<std::mutex> lock(mutex());
  Held& one = held(call);
  if (one.records) throw std::runtime_error("this graph is still being recorded");
  one.graph->replay();
  return undefined(call.env);
}

// (graph): frees it, also where it is not whole
napi_value close_graph(Call& call) {
  const std::lock_guard<std::mutex> lock(mutex());
  if (held(call).records) recorded_now--;
  graphs().erase(to_int(call.env, call[0]));
  return undefined(call.env);
}

}  // namespace laclip
