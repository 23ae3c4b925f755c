// Runs kernels on the processor, in the place of a GPU that is not there: see kernels/emulation.h.
//
// The threads of a block are fibers of one thread. A warp's fibers go on in turn until all of them have come to the same point: a sum, which
// is made for them, or the block's barrier, at which the next warp's turn comes, or the end. That they come to different points is an error,
// as it is on a GPU, where it would go unseen until it hangs.
#include "emulate.h"

#include <ATen/Parallel.h>
#include <setjmp.h>
#include <ucontext.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "kernels/emulation.h"
// The kernels themselves.
#include "kernels/block-sums.cuh"

#include "kernels/activation.cu"
#include "kernels/add-norm.cu"
#include "kernels/cut-patches.cu"
#include "kernels/split-heads.cu"

#undef THREADS
#undef CHANGE
#undef OUT
#undef THROUGH
#undef WHOLE
#undef LANES
#undef COLUMNS
#undef TYPE
#undef NORMS
#undef BIAS
#undef QUICK
#undef PATCH

namespace laclip {
namespace kernels {

thread_local Constants constants;
thread_local Place place;

namespace {

enum class Point { kSum, kBarrier, kEnd };

using Run = void (*)(const void* arguments);

// Threads of one block, and the way between them and their scheduler, which is the thread that they all run in.
class Fibers {
 public:
  void run_block(Run run, const void* arguments, int threads, const std::vector<at::Tensor>& memory) {
    run_ = run, arguments_ = arguments, memory_ = &memory;
    failure_.clear();
    while (static_cast<int>(all_.size()) < threads) all_.push_back(std::make_unique<Fiber>());
    for (bool ended = false; !ended;) {
      Point where{};
      for (int first = 0; first < threads; first += 32) {
        const Point there = run_warp(first);
        if (first > 0 && there != where) fail("some warps of a block wait at a barrier that others never reach");
        where = there;
      }
      ended = where == Point::kEnd;
    }
    if (!failure_.empty()) fail(failure_);
  }

  // Called by a fiber: gives way until its turn comes again.
  void wait_at(Point point) {
    Fiber& own = *all_[place.thread];
    own.point = point;
    exchange(own.state, scheduler_);
  }

  void wait_for_sum(float* values, int count, int lanes) {
    Fiber& own = *all_[place.thread];
    own.values = values, own.count = count, own.lanes = lanes;
    wait_at(Point::kSum);
  }

  void note(std::string failure) {
    if (failure_.empty()) failure_ = std::move(failure);
  }

  const std::vector<at::Tensor>& memory() const { return *memory_; }

 private:
  struct Fiber {
    static constexpr size_t stack_bytes = 64 << 10;
    std::unique_ptr<char[]> stack{new char[stack_bytes]};
    jmp_buf state;
    bool begun = false;
    Point point{};
    float* values = nullptr;
    int count = 0, lanes = 0;
  };

  [[noreturn]] void fail(const std::string& why) {
    // Fibers that stopped halfway never go on.
    all_.clear();
    throw std::runtime_error("emulated kernel: " + why);
  }

  // Keeps no variable in a register that the jump would lose.
  __attribute__((noinline)) static void exchange(jmp_buf& from, jmp_buf& to) {
    if (_setjmp(from) == 0) _longjmp(to, 1);
  }

  void resume(int thread) {
    place.thread = thread;
    Fiber& fiber = *all_[thread];
    if (fiber.begun) return exchange(scheduler_, fiber.state);
    fiber.begun = true;
    begin(fiber);
  }

  __attribute__((noinline)) void begin(Fiber& fiber) {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack.get();
    context.uc_stack.ss_size = Fiber::stack_bytes;
    context.uc_link = nullptr;
    makecontext(&context, &live, 0);
    if (_setjmp(scheduler_) == 0) setcontext(&context);
  }

  // A fiber's whole life: one block's thread after the other.
  static void live();

  Point run_warp(int first) {
    for (;;) {
      for (int lane = 0; lane < 32; lane++) resume(first + lane);
      const Fiber& leader = *all_[first];
      for (int lane = 1; lane < 32; lane++) {
        const Fiber& fiber = *all_[first + lane];
        const bool same = fiber.point == leader.point &&
                          (leader.point != Point::kSum || (fiber.count == leader.count && fiber.lanes == leader.lanes));
        if (!same) fail("the threads of a warp went different ways");
      }
      if (leader.point != Point::kSum) return leader.point;
      sum(first, leader.count, leader.lanes);
    }
  }

  // As threads that exchange their sums with that of the thread whose number differs in one bit.
  void sum(int first, int count, int lanes) {
    float now[32], before[32];
    for (int i = 0; i < count; i++) {
      for (int lane = 0; lane < 32; lane++) now[lane] = all_[first + lane]->values[i];
      for (int offset = lanes / 2; offset > 0; offset /= 2) {
        std::memcpy(before, now, sizeof now);
        for (int lane = 0; lane < 32; lane++) now[lane] = before[lane] + before[lane ^ offset];
      }
      for (int lane = 0; lane < 32; lane++) all_[first + lane]->values[i] = now[lane];
    }
  }

  Run run_ = nullptr;
  const void* arguments_ = nullptr;
  const std::vector<at::Tensor>* memory_ = nullptr;
  std::string failure_;
  std::vector<std::unique_ptr<Fiber>> all_;
  jmp_buf scheduler_;
};

thread_local Fibers fibers;

void Fibers::live() {
  for (;;) {
    fibers.run_(fibers.arguments_);
    fibers.wait_at(Point::kEnd);
  }
}

struct Named {
  const char* name;
  Run run;
};
const Named all_kernels[] = {
    {"add_norm_forward", [](const void* a) { add_norm_forward(*static_cast<const AddNormForward*>(a)); }},
    {"add_norm_backward", [](const void* a) { add_norm_backward(*static_cast<const AddNormBackward*>(a)); }},
    {"split_heads_forward", [](const void* a) { split_heads_forward(*static_cast<const SplitHeadsForward*>(a)); }},
    {"split_heads_backward", [](const void* a) { split_heads_backward(*static_cast<const SplitHeadsBackward*>(a)); }},
    {"activate_forward", [](const void* a) { activate_forward(*static_cast<const Activate*>(a)); }},
    {"activate_backward", [](const void* a) { activate_backward(*static_cast<const ActivateBackward*>(a)); }},
    {"activate_backward_with_bias",
     [](const void* a) { activate_backward_with_bias(*static_cast<const ActivateBackwardWithBias*>(a)); }},
    {"cut_patches", [](const void* a) { cut_patches(*static_cast<const CutPatches*>(a)); }},
};

struct NamedConstant {
  const char* name;
  int Constants::*value;
};
const NamedConstant names[] = {
    {"THREADS", &Constants::THREADS}, {"CHANGE", &Constants::CHANGE},   {"OUT", &Constants::OUT},
    {"THROUGH", &Constants::THROUGH}, {"WHOLE", &Constants::WHOLE},     {"LANES", &Constants::LANES},     {"COLUMNS", &Constants::COLUMNS},
    {"TYPE", &Constants::TYPE},       {"NORMS", &Constants::NORMS},     {"QUICK", &Constants::QUICK},
    {"BIAS", &Constants::BIAS},       {"PATCH", &Constants::PATCH},
};

template <typename Entry, size_t count>
const Entry& found(const Entry (&entries)[count], const char* name) {
  for (const Entry& entry : entries) {
    if (std::strcmp(entry.name, name) == 0) return entry;
  }
  throw std::runtime_error(std::string("emulated kernel: there is no ") + name);
}

}  // namespace

void barrier() { fibers.wait_at(Point::kBarrier); }

void add_up(float* values, int count, int lanes) { fibers.wait_for_sum(values, count, lanes); }

void check_access(const void* from, long long bytes, bool writes, bool whole, int alignment) {
  const auto begin = reinterpret_cast<uintptr_t>(from);
  const char* verb = writes ? "wrote" : "read";
  if (whole && begin % static_cast<uintptr_t>(alignment) != 0) fibers.note(std::string(verb) + " askew");
  for (const at::Tensor& tensor : fibers.memory()) {
    // A view's storage: strides may lead anywhere in it.
    const auto start = reinterpret_cast<uintptr_t>(tensor.storage().data_ptr().get());
    if (begin >= start && begin + static_cast<uintptr_t>(bytes) <= start + tensor.storage().nbytes()) return;
  }
  fibers.note(std::string(verb) + " beyond its tensors");
}

}  // namespace kernels

void emulate(const KernelCall& call, int64_t blocks, const void* arguments, const std::vector<at::Tensor>& memory) {
  using namespace kernels;
  const Run run = found(all_kernels, call.name).run;
  Constants settled{};
  for (const auto& constant : call.constants) settled.*found(names, constant.first).value = constant.second;
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    constants = settled;
    for (int64_t block = begin; block < end; block++) {
      place = {0, block, blocks};
      fibers.run_block(run, arguments, settled.THREADS, memory);
    }
  });
}

}  // namespace laclip
