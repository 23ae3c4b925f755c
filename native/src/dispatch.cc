// One boxed call reaches every operator: look it up in the dispatcher, read the arguments by its schema, call, return the results.
// The idea of a single entry for all kernels is that of TensorFlow's Node binding (executeOp); the schemas are libtorch's own.
#include "dispatch.h"

#include <torch/library.h>

#include "convert.h"

namespace laclip {

namespace {

// The environment's stack for as long as one call lasts, however it ends.
struct BorrowedStack {
  explicit BorrowedStack(Environment& environment) : stack(environment.take_stack()), environment_(environment) {}
  ~BorrowedStack() { environment_.give_back(std::move(stack)); }
  BorrowedStack(const BorrowedStack&) = delete;
  BorrowedStack& operator=(const BorrowedStack&) = delete;

  torch::jit::Stack stack;

 private:
  Environment& environment_;
};

}  // namespace

// (name: string, overload: string) -> operator number
napi_value find_operator(Call& call) {
  return from_double(call.env, call.environment().find_operator(to_string(call.env, call[0]), to_string(call.env, call[1])));
}

// (operator number, ...arguments in schema order) -> result, array of results, or undefined when the result is the first argument
napi_value call_operator(Call& call) {
  const Operator& op = call.environment().operator_at(to_double(call.env, call[0]));
  try {
    if (call.size() - 1 > op.arguments.size()) {
      throw std::runtime_error("takes " + std::to_string(op.arguments.size()) + " arguments, got " + std::to_string(call.size() - 1));
    }
    BorrowedStack borrowed(call.environment());
    torch::jit::Stack& stack = borrowed.stack;
    for (size_t i = 0; i < op.arguments.size(); i++) {
      const ArgumentPlan& plan = op.arguments[i];
      if (call.has(i + 1)) {
        stack.push_back(to_argument(call, plan, call[i + 1]));
      } else if (plan.has_default) {
        stack.push_back(plan.default_value);
      } else if (plan.optional) {
        stack.emplace_back();
      } else {
        throw std::runtime_error("argument '" + plan.name + "' (" + plan.type + ") is missing");
      }
    }
    op.handle.callBoxed(&stack);
    if (op.returns_self || stack.empty()) return undefined(call.env);
    if (stack.size() == 1) return from_result(call, std::move(stack[0]));
    napi_value results;
    check(call.env, napi_create_array_with_length(call.env, stack.size(), &results));
    for (size_t i = 0; i < stack.size(); i++) {
      check(call.env, napi_set_element(call.env, results, i, from_result(call, std::move(stack[i]))));
    }
    return results;
  } catch (const c10::Error& error) {
    throw std::runtime_error(op.name + ": " + error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    throw std::runtime_error(op.name + ": out of memory");
  } catch (const std::exception& error) {
    throw std::runtime_error(op.name + ": " + error.what());
  }
}

// () -> the schema of every registered operator, as libtorch prints it: "aten::add.Tensor(Tensor self, ...) -> Tensor"
napi_value schemas(Call& call) {
  const auto names = c10::Dispatcher::singleton().getAllOpNames();
  napi_value result;
  check(call.env, napi_create_array(call.env, &result));
  uint32_t count = 0;
  for (const c10::OperatorName& name : names) {
    const auto found = c10::Dispatcher::singleton().findSchema(name);
    if (!found.has_value()) continue;
    std::ostringstream text;
    text << found->schema();
    check(call.env, napi_set_element(call.env, result, count++, from_string(call.env, text.str())));
  }
  return result;
}

}  // namespace laclip
