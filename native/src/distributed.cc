// Groups of processes over c10d, libtorch's own: Gloo between CPUs, NCCL between GPUs.
//
// Ranks find each other through a store: a TCP server of rank 0, or a file for processes of one machine. Which back ends there are is
// decided when the addon is built: Gloo's headers come with the distribution's package and not with a wheel, NCCL's with a CUDA wheel.
#include "distributed.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/version.h>

#ifdef LACLIP_WITH_GLOO
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#ifdef LACLIP_WITH_NCCL
#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "convert.h"

namespace laclip {

namespace {

using Milliseconds = std::chrono::milliseconds;
using Tensors = std::vector<at::Tensor>;

struct Pending {
  std::shared_ptr<Group> group;
  c10::intrusive_ptr<c10d::Work> work;
  const char* operation;
  Tensors tensors;  // kept until the work is done, whatever JavaScript does with its handles
};

// What JavaScript holds numbers of. Never destroyed: at the end of the process, threads of a back end may still be at work on them.
struct Tables {
  std::mutex mutex;
  double next = 1;
  std::unordered_map<double, std::shared_ptr<Group>> groups;
  std::unordered_map<double, Pending> works;
};

Tables& tables() {
  static Tables* const all = new Tables;
  return *all;
}

std::shared_ptr<Group> group_of(double number) {
  Tables& all = tables();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.groups.find(number);
  if (found == all.groups.end()) throw std::runtime_error("this group of ranks was closed, or never opened");
  return found->second;
}

std::string reason_of(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const c10::Error& e) {
    return e.what_without_backtrace();
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "unknown C++ exception";
  }
}

template <typename Start>
auto started(const Group& group, const char* operation, Start start) {
  try {
    return start();
  } catch (...) {
    group.fail(operation, reason_of(std::current_exception()));
  }
}

napi_value remember(Call& call, Pending&& pending) {
  Tables& all = tables();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const double number = all.next++;
  all.works.emplace(number, std::move(pending));
  return from_double(call.env, number);
}

at::Tensor& usable(Call& call, napi_value handle, const char* operation) {
  at::Tensor& tensor = call.environment().at(to_double(call.env, handle));
  if (!tensor.is_contiguous()) throw std::runtime_error(std::string(operation) + ": expected a contiguous tensor");
  if (tensor.device().is_cpu() && (tensor.scalar_type() == c10::kBFloat16 || tensor.scalar_type() == c10::kHalf)) {
    throw std::runtime_error(std::string(operation) + ": ranks exchange float32, got " + dtype_name(tensor.scalar_type()) + ": convert it before");
  }
  return tensor;
}

c10::intrusive_ptr<c10d::Store> open_store(const std::string& kind, const std::string& where, int64_t port, bool server, int ranks,
                                           Milliseconds timeout) {
  if (kind == "file") {
    auto store = c10::make_intrusive<c10d::FileStore>(where, ranks);
    store->setTimeout(timeout);
    return store;
  }
  if (kind != "tcp") throw std::runtime_error("internal: a store is of kind file or tcp, not " + kind);
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(port);
  options.isServer = server;
  options.waitWorkers = false;
  options.timeout = timeout;
  return c10::make_intrusive<c10d::TCPStore>(where, options);
}

#ifdef LACLIP_WITH_GLOO
// Over the loopback address where ranks meet there, so that nothing of it is seen outside; else over the interface that Gloo's own
// variable names, else over that of this machine's name.
c10::intrusive_ptr<Communicator> open_gloo(const c10::intrusive_ptr<c10d::Store>& store, bool local, int rank, int ranks, Milliseconds timeout) {
  auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  if (interface != nullptr && *interface != '\0') {
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(interface));
  } else if (local) {
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  } else {
    options->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
  }
  options->threads = 1;
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, ranks, options);
}
#endif

c10::intrusive_ptr<Communicator> open_communicator(const std::string& backend,
                                                   [[maybe_unused]] const c10::intrusive_ptr<c10d::Store>& store,
                                                   [[maybe_unused]] bool local, [[maybe_unused]] int rank, [[maybe_unused]] int ranks,
                                                   [[maybe_unused]] Milliseconds timeout) {
#ifdef LACLIP_WITH_GLOO
  if (backend == "gloo") return open_gloo(store, local, rank, ranks, timeout);
#endif
#ifdef LACLIP_WITH_NCCL
  if (backend == "nccl") {
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = timeout;
    return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, ranks, options);
  }
#endif
  throw std::runtime_error("this build has no " + backend);
}

// y = the rows of all ranks. A row is used by the loss of every rank, so its gradient is the sum of what they say of it.
class GatherWithGradient : public torch::autograd::Function<GatherWithGradient> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& own, double number) {
    context->saved_data["group"] = number;
    return group_of(number)->gather(own);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    const std::shared_ptr<Group> group = group_of(context->saved_data["group"].toDouble());
    at::Tensor sum = gradients[0].clone(at::MemoryFormat::Contiguous);
    group->wait(group->start_sum(sum), "gather (backward)");
    return {sum.chunk(group->ranks)[group->rank].contiguous(), at::Tensor()};
  }
};

}  // namespace

void Group::fail(const char* operation, const std::string& reason) const {
  throw std::runtime_error(std::string(operation) + " on rank " + std::to_string(rank) + " of " + std::to_string(ranks) + ": " + reason);
}

c10::intrusive_ptr<c10d::Work> Group::start_sum(at::Tensor& tensor) const {
  return started(*this, "sum", [&] {
    Tensors tensors{tensor};
    return communicator->allreduce(tensors);
  });
}

void Group::wait(const c10::intrusive_ptr<c10d::Work>& work, const char* operation) const {
  started(*this, operation, [&] { return work->wait(); });
}

at::Tensor Group::gather(const at::Tensor& own) const {
  std::vector<int64_t> sizes = own.sizes().vec();
  if (sizes.empty()) throw std::runtime_error("gather: expected a tensor with rows, got a scalar");
  sizes[0] *= ranks;
  at::Tensor all = at::empty(sizes, own.options());
  std::vector<Tensors> outputs{all.chunk(ranks)};
  Tensors inputs{own.contiguous()};
  wait(started(*this, "gather", [&] { return communicator->allgather(outputs, inputs); }), "gather");
  return all;
}

std::shared_ptr<Group> group_at(Call& call, napi_value number) { return group_of(to_double(call.env, number)); }

// () -> { gloo, nccl }: what was compiled in
napi_value distributed_backends(Call& call) {
  napi_value answer;
  check(call.env, napi_create_object(call.env, &answer));
#ifdef LACLIP_WITH_GLOO
  const bool gloo = true;
#else
  const bool gloo = false;
#endif
#ifdef LACLIP_WITH_NCCL
  const bool nccl = true;
#else
  const bool nccl = false;
#endif
  check(call.env, napi_set_named_property(call.env, answer, "gloo", from_bool(call.env, gloo)));
  check(call.env, napi_set_named_property(call.env, answer, "nccl", from_bool(call.env, nccl)));
  return answer;
}

// (backend, store kind "tcp" or "file", host or path, port, whether this process serves the store, attempt, rank, ranks,
//  milliseconds to meet in, milliseconds that an operation may take) -> number of the group
napi_value open_group(Call& call) {
  const std::string backend = to_string(call.env, call[0]);
  const std::string kind = to_string(call.env, call[1]);
  const std::string where = to_string(call.env, call[2]);
  const int64_t port = to_int(call.env, call[3]);
  const bool server = to_bool(call.env, call[4]);
  const std::string attempt = to_string(call.env, call[5]);
  const int rank = static_cast<int>(to_int(call.env, call[6]));
  const int ranks = static_cast<int>(to_int(call.env, call[7]));
  const Milliseconds meeting(to_int(call.env, call[8]));
  const Milliseconds timeout(to_int(call.env, call[9]));
  if (rank < 0 || rank >= ranks) throw std::runtime_error("internal: rank " + std::to_string(rank) + " of " + std::to_string(ranks));
  auto group = std::make_shared<Group>();
  group->rank = rank;
  group->ranks = ranks;
  try {
    const auto store = open_store(kind, where, port, server, ranks, meeting);
    group->store = c10::make_intrusive<c10d::PrefixStore>("laclip/" + attempt, store);
    // Everyone says that it is there before connections are made, which would wait for the missing as long as an operation may take.
    const std::string mine = "here/" + std::to_string(rank);
    group->store->set(mine, std::vector<uint8_t>{1});
    for (int other = 0; other < ranks; other++) group->store->wait({"here/" + std::to_string(other)}, meeting);
    const bool local = kind == "file" || where == "127.0.0.1" || where == "localhost";
    group->communicator = open_communicator(backend, group->store, local, rank, ranks, timeout);
  } catch (...) {
    group->fail("meeting", reason_of(std::current_exception()));
  }
  Tables& all = tables();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const double number = all.next++;
  all.groups.emplace(number, std::move(group));
  return from_double(call.env, number);
}

// (group): ends the connections
napi_value close_group(Call& call) {
  std::shared_ptr<Group> group;
  Tables& all = tables();
  const double number = to_double(call.env, call[0]);
  {
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.groups.find(number);
    if (found == all.groups.end()) return undefined(call.env);
    group = std::move(found->second);
    all.groups.erase(found);
  }
#if defined(LACLIP_WITH_NCCL) && (TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 6))
  // Its threads would otherwise still watch over the connections while the process takes itself apart.
  if (auto* nccl = dynamic_cast<c10d::ProcessGroupNCCL*>(group->communicator.get())) {
    try {
      nccl->shutdown();
    } catch (const std::exception&) {
      // All that was exchanged is there: what fails at the end has nothing to lose.
    }
  }
#endif
  return undefined(call.env);
}

// (group, handle) -> work: the tensor becomes the sum over ranks
napi_value group_start_sum(Call& call) {
  const std::shared_ptr<Group> group = group_at(call, call[0]);
  at::Tensor tensor = usable(call, call[1], "sum");
  auto work = group->start_sum(tensor);
  return remember(call, {group, std::move(work), "sum", {tensor}});
}

// (group, handle, root) -> work: the tensor becomes that of rank `root`
napi_value group_start_broadcast(Call& call) {
  const std::shared_ptr<Group> group = group_at(call, call[0]);
  at::Tensor tensor = usable(call, call[1], "broadcast");
  c10d::BroadcastOptions options;
  options.rootRank = to_int(call.env, call[2]);
  if (options.rootRank < 0 || options.rootRank >= group->ranks) throw std::runtime_error("broadcast: there is no rank " + std::to_string(options.rootRank));
  auto work = started(*group, "broadcast", [&] {
    Tensors tensors{tensor};
    return group->communicator->broadcast(tensors, options);
  });
  // It may be a parameter: a graph of before must notice.
  tensor.unsafeGetTensorImpl()->bump_version();
  return remember(call, {group, std::move(work), "broadcast", {tensor}});
}

// (work): waits for it, and forgets it
napi_value work_wait(Call& call) {
  Pending pending;
  {
    Tables& all = tables();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.works.find(to_double(call.env, call[0]));
    if (found == all.works.end()) throw std::runtime_error("this work was waited for before");
    pending = std::move(found->second);
    all.works.erase(found);
  }
  pending.group->wait(pending.work, pending.operation);
  return undefined(call.env);
}

// (group, handle of `[n, ...]`) -> handle of `[ranks x n, ...]`, through which gradients flow
napi_value group_gather_with_gradient(Call& call) {
  group_at(call, call[0]);
  const at::Tensor own = call.environment().at(to_double(call.env, call[1]));
  return from_double(call.env, call.environment().adopt(GatherWithGradient::apply(own, to_double(call.env, call[0]))));
}

// (handles) -> 16 hexadecimal digits that differ when any bit of any tensor does, as good as always: a check against accidents, not attacks
napi_value fingerprint(Call& call) {
  uint64_t state = 0x9e3779b97f4a7c15ull;
  const auto take = [&state](uint64_t word) {
    state = (state ^ word) * 0xff51afd7ed558ccdull;
    state ^= state >> 32;
  };
  for (const double handle : to_double_list(call.env, call[0])) {
    const at::Tensor tensor = call.environment().at(handle).detach().cpu().contiguous();
    const auto* bytes = static_cast<const unsigned char*>(tensor.data_ptr());
    const size_t count = tensor.nbytes();
    take(count);
    for (size_t at = 0; at < count; at += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, bytes + at, std::min(sizeof word, count - at));
      take(word);
    }
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(state));
  return from_string(call.env, text);
}

}  // namespace laclip
