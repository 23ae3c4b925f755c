// AdamW (Loshchilov & Hutter 2019, as torch.optim.AdamW computes it) in one pass over memory.
//
// The update is bound by memory: reading gradient, weight and both moments once instead of once an operator is what makes it fast.
// Every element is computed by itself, so the result does not depend on the number of threads. On a GPU, libtorch's fused operator does the
// same for all parameters in a few launches; the numbers that change from step to step lie in tensors there, so that an update can be
// recorded, and also whether it is to be left out, so that nobody has to wait for that.
#include "adamw.h"

#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <torch/version.h>

#include <cmath>

#include "convert.h"

namespace laclip {

namespace {

struct Settings {
  float decay;           // 1 - lr * weight decay
  float beta1, one_minus_beta1;
  float beta2, one_minus_beta2;
  float step_size;       // lr / (1 - beta1^step)
  float root_correction; // sqrt(1 - beta2^step)
  float eps;
};

// The compiler makes a version for each instruction set and the loader picks one: a build also runs on an older machine.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#endif
void update(float* __restrict weight, const float* __restrict gradient, float* __restrict first, float* __restrict second, int64_t count,
            const Settings& s) {
  const float decay = s.decay, beta1 = s.beta1, one_minus_beta1 = s.one_minus_beta1, beta2 = s.beta2, one_minus_beta2 = s.one_minus_beta2;
  const float step_size = s.step_size, root_correction = s.root_correction, eps = s.eps;
  for (int64_t i = 0; i < count; i++) {
    const float g = gradient[i];
    const float m = beta1 * first[i] + one_minus_beta1 * g;
    const float v = beta2 * second[i] + one_minus_beta2 * g * g;
    first[i] = m;
    second[i] = v;
    weight[i] = weight[i] * decay - step_size * m / (std::sqrt(v) / root_correction + eps);
  }
}

at::Tensor& dense(Environment& environment, double handle, const char* what, const at::Tensor& like) {
  at::Tensor& tensor = environment.at(handle);
  if (tensor.sizes() != like.sizes() || tensor.scalar_type() != c10::kFloat || !tensor.is_contiguous() || tensor.device() != like.device()) {
    throw std::runtime_error(std::string("adamw: the ") + what + " of a parameter is not a contiguous float32 tensor of its shape on its device");
  }
  return tensor;
}

// The parameters that have a gradient, and what belongs to each.
struct Lists {
  std::vector<at::Tensor> weights, gradients, firsts, seconds;
};

Lists with_gradient(Call& call) {
  Environment& environment = call.environment();
  const std::vector<double> weights = to_double_list(call.env, call[0]);
  const std::vector<double> firsts = to_double_list(call.env, call[1]);
  const std::vector<double> seconds = to_double_list(call.env, call[2]);
  if (weights.size() != firsts.size() || weights.size() != seconds.size()) throw std::runtime_error("adamw: lists of different lengths");
  Lists lists;
  for (size_t i = 0; i < weights.size(); i++) {
    at::Tensor& weight = environment.at(weights[i]);
    at::Tensor gradient = weight.grad();
    if (!gradient.defined()) continue;
    dense(environment, weights[i], "weight", weight);
    at::Tensor& first = dense(environment, firsts[i], "first moment", weight);
    at::Tensor& second = dense(environment, seconds[i], "second moment", weight);
    if (gradient.scalar_type() != c10::kFloat) gradient = gradient.to(c10::kFloat);
    if (!gradient.is_contiguous()) gradient = gradient.contiguous();
    if (gradient.sizes() != weight.sizes() || gradient.device() != weight.device()) {
      throw std::runtime_error("adamw: the gradient of a parameter is not of its shape or not on its device");
    }
    lists.weights.push_back(weight);
    lists.gradients.push_back(gradient);
    lists.firsts.push_back(first);
    lists.seconds.push_back(second);
  }
  return lists;
}

struct Constants {
  double beta1, beta2, eps, weight_decay;
};

Constants constants_at(Call& call, size_t from) {
  return {to_double(call.env, call[from]), to_double(call.env, call[from + 1]), to_double(call.env, call[from + 2]),
          to_double(call.env, call[from + 3])};
}

// libtorch's own operator for all parameters at once, where it takes the learning rate as a tensor; false where it does not.
bool update_fused(const Lists& lists, const at::Tensor& step, const at::Tensor& lr, const at::Tensor& skip, const Constants& c) {
  // Its kernel for GPUs is older than that for the processor, which computes for the device that stands in for a GPU.
  constexpr bool on_processor = TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4);
  if (!on_processor && !lists.weights[0].is_cuda()) return false;
  static const auto found = c10::Dispatcher::singleton().findSchema({"aten::_fused_adamw_", "tensor_lr"});
  if (!found.has_value()) return false;
  // It takes a step for each parameter; here all have made the same steps.
  const std::vector<at::Tensor> steps(lists.weights.size(), step);
  const std::vector<at::Tensor> largest;
  const c10::IValue none;
  torch::jit::Stack stack;
  torch::jit::push(stack, lists.weights, lists.gradients, lists.firsts, lists.seconds, largest, steps, lr, c.beta1, c.beta2, c.weight_decay,
                   c.eps, /*amsgrad*/ false, /*maximize*/ false, /*grad_scale*/ none, skip.defined() ? c10::IValue(skip) : none);
  found->callBoxed(stack);
  return true;
}

// Elsewhere the same formula goes through others.
void update_by_operators(Lists& lists, const at::Tensor& step, const at::Tensor& lr, const at::Tensor& skip, const Constants& c) {
  const at::Tensor count = step.to(c10::kDouble), rate = lr.to(c10::kDouble);
  const at::Tensor decay = (1 - rate * c.weight_decay).to(c10::kFloat);
  const at::Tensor step_size = (rate / (1 - at::pow(c.beta1, count))).to(c10::kFloat);
  const at::Tensor root_correction = (1 - at::pow(c.beta2, count)).sqrt().to(c10::kFloat);
  const at::Tensor left_out = skip.defined() ? skip.eq(1) : skip;
  const auto put = [&left_out](at::Tensor& there, const at::Tensor& value) {
    there.copy_(left_out.defined() ? at::where(left_out, there, value) : value);
  };
  for (size_t i = 0; i < lists.weights.size(); i++) {
    const at::Tensor& gradient = lists.gradients[i];
    const at::Tensor first = (lists.firsts[i] * c.beta1).add_(gradient, 1 - c.beta1);
    const at::Tensor second = (lists.seconds[i] * c.beta2).addcmul_(gradient, gradient, 1 - c.beta2);
    const at::Tensor change = (first * step_size).div_(second.sqrt().div_(root_correction).add_(c.eps));
    put(lists.weights[i], (lists.weights[i] * decay).sub_(change));
    put(lists.firsts[i], first);
    put(lists.seconds[i], second);
  }
}

}  // namespace

// (weights, first moments, second moments: arrays of handles, step number from 1, lr, beta1, beta2, eps, weight decay): on the processor
napi_value adamw_step(Call& call) {
  at::NoGradGuard no_grad;
  // No operator: a profile would not have it.
  RECORD_FUNCTION("laclip::adamw", c10::ArrayRef<const c10::IValue>());
  const double step = to_double(call.env, call[3]);
  const double lr = to_double(call.env, call[4]);
  const Constants c = constants_at(call, 5);
  const Settings settings{
      static_cast<float>(1 - lr * c.weight_decay),
      static_cast<float>(c.beta1),
      static_cast<float>(1 - c.beta1),
      static_cast<float>(c.beta2),
      static_cast<float>(1 - c.beta2),
      static_cast<float>(lr / (1 - std::pow(c.beta1, step))),
      static_cast<float>(std::sqrt(1 - std::pow(c.beta2, step))),
      static_cast<float>(c.eps),
  };
  Lists lists = with_gradient(call);
  for (size_t i = 0; i < lists.weights.size(); i++) {
    at::Tensor& weight = lists.weights[i];
    if (!weight.device().is_cpu()) throw std::runtime_error("adamw: this update is for the processor");
    float* w = weight.data_ptr<float>();
    const float* g = lists.gradients[i].data_ptr<float>();
    float* m = lists.firsts[i].data_ptr<float>();
    float* v = lists.seconds[i].data_ptr<float>();
    at::parallel_for(0, weight.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
      update(w + begin, g + begin, m + begin, v + begin, end - begin, settings);
    });
    // Writing through the pointer goes unseen: without this, a backward pass of before the step would use the new weights.
    weight.unsafeGetTensorImpl()->bump_version();
  }
  return undefined(call.env);
}

// (weights, first moments, second moments: arrays of handles; numbers: handles of float32 scalars beside them, the step number from 1, the
// learning rate, and perhaps one that is 1 where the update is to be left out and 0 where not; beta1, beta2, eps, weight decay): without
// waiting for the device
napi_value adamw_step_on_device(Call& call) {
  at::NoGradGuard no_grad;
  Environment& environment = call.environment();
  const std::vector<double> numbers = to_double_list(call.env, call[3]);
  if (numbers.size() < 2 || numbers.size() > 3) throw std::runtime_error("adamw: a step takes two or three numbers");
  const Constants c = constants_at(call, 4);
  const at::Tensor step = environment.at(numbers[0]), lr = environment.at(numbers[1]);
  const at::Tensor skip = numbers.size() > 2 ? environment.at(numbers[2]) : at::Tensor();
  Lists lists = with_gradient(call);
  if (lists.weights.empty()) return undefined(call.env);
  for (const at::Tensor& number : {step, lr, skip.defined() ? skip : lr}) {
    if (number.dim() != 0 || number.scalar_type() != c10::kFloat || number.device() != lists.weights[0].device()) {
      throw std::runtime_error("adamw: a number of a step is not a float32 scalar on the device of the weights");
    }
  }
  if (!update_fused(lists, step, lr, skip, c)) update_by_operators(lists, step, lr, skip, c);
  return undefined(call.env);
}

}  // namespace laclip
