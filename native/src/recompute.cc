// Results that are computed again in the backward pass, so that what their gradient needs is not kept until then (gradient checkpointing:
// Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
//
// The graph gets one node in the place of all operators between inputs and result. When the backward pass reaches it, it calls JavaScript,
// which computes the result once more with gradients recorded, and takes the gradients through that. Parameters are inputs of the node, so
// that their gradients go on through the graph around it: each is added up once, also where a block is used several times in a step, and
// hooks on it (src/reducer.cc) see it complete.
#include "recompute.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <mutex>
#include <thread>
#include <type_traits>

#include "convert.h"
#include "device.h"

namespace laclip {

namespace {

using torch::autograd::Node;
using torch::autograd::variable_list;
using NodePointer = decltype(torch::autograd::Edge::function);  // its kind depends on the version

// What the last call of JavaScript has computed; see hand_over.
thread_local at::Tensor handed_over;

thread_local int64_t nodes_here = 0;

at::Tensor random_state(c10::Device device) {
  at::Generator generator = generator_of(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return at::Tensor(generator.get_state());
}

void set_random_state(const at::Tensor& state, c10::Device device) {
  at::Generator generator = generator_of(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

// The generator of a device as it was when the result was first computed, for as long as this lives.
class RandomAsBefore {
 public:
  RandomAsBefore(const at::Tensor& before, c10::Device device) : device_(device), now_(random_state(device)) { set_random_state(before, device); }
  ~RandomAsBefore() { set_random_state(now_, device_); }

 private:
  c10::Device device_;
  at::Tensor now_;
};

class HandleScope {
 public:
  explicit HandleScope(napi_env env) : env_(env) { check(env, napi_open_handle_scope(env, &scope_)); }
  ~HandleScope() { napi_close_handle_scope(env_, scope_); }

 private:
  napi_env env_;
  napi_handle_scope scope_;
};

struct Recompute : Node {
  Recompute(Call& call, napi_value body, std::vector<at::Tensor> inputs, std::vector<at::Tensor> parameters, at::Tensor random)
      : env(call.env),
        environment(call.environment()),
        thread(std::this_thread::get_id()),
        inputs(std::move(inputs)),
        parameters(std::move(parameters)),
        random(std::move(random)) {
    check(env, napi_create_reference(env, body, 1, &this->body));
    nodes_here++;
  }

  // Graphs do not leave their thread (README.md), so this is where the reference was made.
  ~Recompute() override { forget(); }

  void release_variables() override { forget(); }

  variable_list apply(variable_list&& gradients) override {
    if (body == nullptr) throw std::runtime_error("recompute: a second backward pass through the same graph");
    if (std::this_thread::get_id() != thread) throw std::runtime_error("recompute: the backward pass runs on a thread that has no JavaScript");
    variable_list wanted(inputs.size() + parameters.size());
    if (!gradients[0].defined()) return wanted;

    std::vector<at::Tensor> leaves;
    for (const at::Tensor& input : inputs) {
      leaves.push_back(input.detach());
      if (input.requires_grad()) leaves.back().requires_grad_(true);
    }
    const at::Tensor result = compute(leaves);
    leaves.insert(leaves.end(), parameters.begin(), parameters.end());
    variable_list sources;
    std::vector<size_t> places;
    for (size_t i = 0; i < leaves.size(); i++) {
      if (!leaves[i].requires_grad() || !task_should_compute_output(i)) continue;
      sources.push_back(leaves[i]);
      places.push_back(i);
    }
    if (result.sizes() != gradients[0].sizes()) throw std::runtime_error("recompute: the result has another shape the second time");
    variable_list found = torch::autograd::grad({result}, sources, {gradients[0]}, c10::nullopt, false, true);
    for (size_t i = 0; i < places.size(); i++) wanted[places[i]] = std::move(found[i]);
    return wanted;
  }

  napi_env env;
  Environment& environment;
  std::thread::id thread;
  std::vector<at::Tensor> inputs;
  std::vector<at::Tensor> parameters;
  at::Tensor random;
  napi_ref body = nullptr;

 private:
  at::Tensor compute(const std::vector<at::Tensor>& leaves) {
    const RandomAsBefore as_before(random, inputs.empty() ? c10::Device(c10::kCPU) : inputs[0].device());
    const HandleScope scope(env);
    napi_value function, array, receiver, ignored;
    check(env, napi_get_reference_value(env, body, &function));
    check(env, napi_get_undefined(env, &receiver));
    check(env, napi_create_array_with_length(env, leaves.size(), &array));
    for (size_t i = 0; i < leaves.size(); i++) {
      check(env, napi_set_element(env, array, static_cast<uint32_t>(i), from_double(env, environment.adopt(leaves[i]))));
    }
    handed_over = at::Tensor();
    // An exception of JavaScript stays pending: whoever called the backward pass sees it in the place of this one, which only unwinds.
    if (napi_call_function(env, receiver, function, 1, &array, &ignored) != napi_ok) throw std::runtime_error("recompute: the call failed");
    if (!handed_over.defined()) throw std::runtime_error("internal: recompute: nothing was handed over");
    return std::exchange(handed_over, at::Tensor());
  }

  void forget() {
    inputs.clear();
    parameters.clear();
    random = at::Tensor();
    if (body == nullptr) return;
    napi_delete_reference(env, std::exchange(body, nullptr));
    nodes_here--;
  }
};

template <typename Pointer, typename... Arguments>
Pointer make_node(Arguments&&... arguments) {
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<Node>>) {
    return std::make_shared<Recompute>(std::forward<Arguments>(arguments)...);
  } else {
    return c10::make_intrusive<Recompute>(std::forward<Arguments>(arguments)...);
  }
}

}  // namespace

// (handle of a result that was computed without gradients, handles of its inputs, handles of the parameters it depends on, function,
// state of the generator of the first input's device before it was computed) -> handle of the result with a gradient.
// The function gets handles of inputs, which are its own, computes the result again and calls `handOver`.
napi_value recompute(Call& call) {
  const auto tensors = [&](size_t argument) {
    std::vector<at::Tensor> found;
    for (const double handle : to_double_list(call.env, call[argument])) found.push_back(call.environment().at(handle));
    return found;
  };
  // Another variable with the same memory: it must be no view, whose history would be its base's.
  at::Tensor result = call.environment().at(to_double(call.env, call[0])).variable_data();
  std::vector<at::Tensor> inputs = tensors(1);
  std::vector<at::Tensor> parameters = tensors(2);
  torch::autograd::edge_list edges;
  for (const auto& list : {inputs, parameters}) {
    for (const at::Tensor& tensor : list) {
      edges.push_back(tensor.requires_grad() ? torch::autograd::impl::gradient_edge(tensor) : torch::autograd::Edge());
    }
  }
  const at::Tensor random = call.environment().at(to_double(call.env, call[4]));
  NodePointer node = make_node<NodePointer>(call, call[3], std::move(inputs), std::move(parameters), random);
  node->set_next_edges(std::move(edges));
  const auto number = node->add_input_metadata(result);
  torch::autograd::impl::set_gradient_edge(result, {std::move(node), number});
  return from_double(call.env, call.environment().adopt(std::move(result)));
}

bool recomputes_here() { return nodes_here > 0; }

// (handle): what the function of `recompute` has computed
napi_value hand_over(Call& call) {
  handed_over = call.environment().at(to_double(call.env, call[0]));
  return undefined(call.env);
}

}  // namespace laclip
