// AdamW (Loshchilov & Hutter 2019, as torch.optim.AdamW computes it) in one pass over memory.
//
// The update is bound by memory: reading gradient, weight and both moments once instead of once an operator is what makes it fast.
// Every element is computed by itself, so the result does not depend on the number of threads. On a GPU, libtorch's fused operator does the
// same for all parameters in a few launches.
#include "adamw.h"

#include <ATen/Parallel.h>
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

// All parameters at once by libtorch's own operator.
void update_fused([[maybe_unused]] std::vector<at::Tensor> weights, [[maybe_unused]] std::vector<at::Tensor> gradients,
                  [[maybe_unused]] std::vector<at::Tensor> firsts, [[maybe_unused]] std::vector<at::Tensor> seconds,
                  [[maybe_unused]] double step, [[maybe_unused]] double lr, [[maybe_unused]] double beta1, [[maybe_unused]] double beta2,
                  [[maybe_unused]] double weight_decay, [[maybe_unused]] double eps) {
#if TORCH_VERSION_MAJOR >= 2
  if (weights.empty()) return;
  // It takes a step for each parameter; here all have made the same steps.
  const at::Tensor count = at::full({}, step, weights[0].options().requires_grad(false));
  const std::vector<at::Tensor> steps(weights.size(), count);
  at::_fused_adamw_(weights, gradients, firsts, seconds, {}, steps, lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
#else
  throw std::runtime_error("adamw: the fused operator came with libtorch 2.0");
#endif
}

// Off the CPU, where that operator is missing, the same formula goes through others.
void update_by_operators(at::Tensor& weight, const at::Tensor& gradient, at::Tensor& first, at::Tensor& second, const Settings& s) {
  weight.mul_(s.decay);
  first.mul_(s.beta1).add_(gradient, s.one_minus_beta1);
  second.mul_(s.beta2).addcmul_(gradient, gradient, s.one_minus_beta2);
  weight.addcdiv_(first, second.sqrt().div_(s.root_correction).add_(s.eps), -s.step_size);
}

}  // namespace

// (weights, first moments, second moments: arrays of handles, step number from 1, lr, beta1, beta2, eps, weight decay, whether by the
// fused operator)
// -> number of weights that had a gradient
napi_value adamw_step(Call& call) {
  at::NoGradGuard no_grad;
  Environment& environment = call.environment();
  const std::vector<double> weights = to_double_list(call.env, call[0]);
  const std::vector<double> firsts = to_double_list(call.env, call[1]);
  const std::vector<double> seconds = to_double_list(call.env, call[2]);
  if (weights.size() != firsts.size() || weights.size() != seconds.size()) throw std::runtime_error("adamw: lists of different lengths");
  const double step = to_double(call.env, call[3]);
  const double lr = to_double(call.env, call[4]);
  const double beta1 = to_double(call.env, call[5]);
  const double beta2 = to_double(call.env, call[6]);
  const double eps = to_double(call.env, call[7]);
  const double weight_decay = to_double(call.env, call[8]);
  const bool fused = to_bool(call.env, call[9]);
  std::vector<at::Tensor> all_weights, all_gradients, all_firsts, all_seconds;
  const Settings settings{
      static_cast<float>(1 - lr * weight_decay),
      static_cast<float>(beta1),
      static_cast<float>(1 - beta1),
      static_cast<float>(beta2),
      static_cast<float>(1 - beta2),
      static_cast<float>(lr / (1 - std::pow(beta1, step))),
      static_cast<float>(std::sqrt(1 - std::pow(beta2, step))),
      static_cast<float>(eps),
  };
  double updated = 0;
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
    updated++;
    if (fused) {
      all_weights.push_back(weight);
      all_gradients.push_back(gradient);
      all_firsts.push_back(first);
      all_seconds.push_back(second);
      continue;
    }
    if (!weight.device().is_cpu()) {
      update_by_operators(weight, gradient, first, second, settings);
      continue;
    }
    float* w = weight.data_ptr<float>();
    const float* g = gradient.data_ptr<float>();
    float* m = first.data_ptr<float>();
    float* v = second.data_ptr<float>();
    at::parallel_for(0, weight.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
      update(w + begin, g + begin, m + begin, v + begin, end - begin, settings);
    });
    // Writing through the pointer goes unseen: without this, a backward pass of before the step would use the new weights.
    weight.unsafeGetTensorImpl()->bump_version();
  }
  if (fused) update_fused(all_weights, all_gradients, all_firsts, all_seconds, step, lr, beta1, beta2, weight_decay, eps);
  return from_double(call.env, updated);
}

}  // namespace laclip
