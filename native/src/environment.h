// State of one JavaScript environment (the main thread or one worker): its tensors and the operators it has looked up.
//
// JavaScript never holds a pointer. It holds a handle: a number made of a slot and the slot's generation. Every entry checks both, so
// that a stale, foreign or invented number is an error message and never a stray pointer. Environments share nothing, and each starts
// its generations far from those of the others: a handle of one worker is refused by another, also where both use the same slot.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <node_api.h>

#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace laclip {

// How an argument of an operator is read from JavaScript; resolved once, when the operator is looked up.
enum class ArgumentKind {
  Tensor,
  TensorList,
  OptionalTensorList,
  Scalar,
  ScalarList,
  Int,
  Enumeration,  // element type, layout or memory format: a name in JavaScript, an integer in the library
  IntList,
  Float,
  FloatList,
  Bool,
  BoolList,
  String,
  Device,
  Unsupported,
};

struct ArgumentPlan {
  ArgumentKind kind;
  bool optional;           // accepts None
  bool has_default;
  int64_t fixed_length;    // of lists such as int[2], where a single number stands for all; else -1
  c10::IValue default_value;
  std::string name;
  std::string type;        // as the schema prints it, for messages
};

struct Operator {
  c10::OperatorHandle handle;
  std::string name;        // "aten::add.Tensor"
  std::vector<ArgumentPlan> arguments;
  bool returns_self;       // in-place: the result is the first argument, and no new handle is made
};

class Environment {
 public:
  explicit Environment(napi_env env);

  // A handle for `tensor`, which stays alive until `release`.
  double adopt(at::Tensor tensor);
  // The tensor behind a handle; throws when the handle is not of a live tensor of this environment.
  at::Tensor& at(double handle);
  void release(double handle);
  // Tells the garbage collector how much memory hangs on the handle; undone by `release`.
  void account(double handle);
  size_t live() const { return live_; }
  int64_t accounted_bytes() const { return accounted_bytes_; }

  // Number of the operator in this environment; throws when this libtorch has no such operator.
  uint32_t find_operator(const std::string& name, const std::string& overload);
  Operator& operator_at(double number);

  // An empty stack for the arguments of an operator; given back, its memory serves the next call. Operators can nest (a hook of autograd
  // may call JavaScript): whoever asks while it is lent gets a fresh one.
  torch::jit::Stack take_stack() { return std::exchange(stack_, {}); }
  void give_back(torch::jit::Stack&& stack) {
    stack.clear();
    stack_ = std::move(stack);
  }

 private:
  struct Slot {
    at::Tensor tensor;
    uint32_t generation;
    int64_t accounted = 0;
  };
  // 2^24 live tensors and 2^28 generations a slot: together they fit the 53 bits of a double.
  static constexpr unsigned kSlotBits = 24;
  static constexpr uint64_t kSlots = uint64_t{1} << kSlotBits;

  Slot& slot_of(double handle, size_t* index = nullptr);

  napi_env env_;
  const uint32_t first_generation_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  size_t live_ = 0;
  int64_t accounted_bytes_ = 0;
  torch::jit::Stack stack_;
  std::deque<Operator> operators_;  // references stay valid when more are looked up
  std::unordered_map<std::string, uint32_t> operator_numbers_;
};

}  // namespace laclip
