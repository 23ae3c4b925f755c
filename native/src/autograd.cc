// Gradients and mixed precision. Grad mode and autocast belong to the thread, so that each worker sets its own.
#include "autograd.h"

#include <ATen/autocast_mode.h>
#include <c10/core/AutogradState.h>
#include <c10/util/ScopeExit.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/version.h>

#include <sstream>

#include "convert.h"
#include "recompute.h"

#define LACLIP_TORCH_AT_LEAST(major, minor) \
  (TORCH_VERSION_MAJOR > (major) || (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))

namespace laclip {

namespace {

std::string describe(const at::Tensor& tensor) {
  std::ostringstream text;
  text << dtype_name(tensor.scalar_type()) << tensor.sizes() << " on " << tensor.device();
  return text.str();
}

}  // namespace

// (handle, boolean)
napi_value set_requires_grad(Call& call) {
  call.environment().at(to_double(call.env, call[0])).requires_grad_(to_bool(call.env, call[1]));
  return undefined(call.env);
}

napi_value requires_grad(Call& call) { return from_bool(call.env, call.environment().at(to_double(call.env, call[0])).requires_grad()); }

// (handle of a leaf) -> handle of its gradient, or undefined
napi_value gradient(Call& call) {
  const at::Tensor grad = call.environment().at(to_double(call.env, call[0])).grad();
  if (!grad.defined()) return undefined(call.env);
  return from_double(call.env, call.environment().adopt(grad));
}

// (handle of a leaf, handle or undefined): replaces or drops the gradient, which must be laid out like the tensor: what reads both goes
// by the tensor's number of elements
napi_value set_gradient(Call& call) {
  at::Tensor& tensor = call.environment().at(to_double(call.env, call[0]));
  napi_valuetype type;
  check(call.env, napi_typeof(call.env, call[1], &type));
  if (type == napi_undefined) {
    tensor.mutable_grad() = at::Tensor();
    return undefined(call.env);
  }
  const at::Tensor& gradient = call.environment().at(to_double(call.env, call[1]));
  if (gradient.sizes() != tensor.sizes() || gradient.scalar_type() != tensor.scalar_type() || gradient.device() != tensor.device()) {
    throw std::runtime_error("a gradient has shape, dtype and device of its tensor: expected " + describe(tensor) + ", got " + describe(gradient));
  }
  tensor.mutable_grad() = gradient;
  return undefined(call.env);
}

// (handles, handles of the gradients or undefined): accumulates into the gradients of the leaves
napi_value backward(Call& call) {
  std::vector<at::Tensor> outputs;
  for (const double handle : to_double_list(call.env, call[0])) outputs.push_back(call.environment().at(handle));
  std::vector<at::Tensor> gradients;
  napi_valuetype type;
  check(call.env, napi_typeof(call.env, call[1], &type));
  if (type != napi_undefined) {
    for (const double handle : to_double_list(call.env, call[1])) gradients.push_back(call.environment().at(handle));
  }
#if LACLIP_TORCH_AT_LEAST(2, 1)
  // Of a device, autograd would use threads of its own, and those have no JavaScript.
  c10::AutogradState& state = c10::AutogradState::get_tls_state();
  const bool before = state.get_multithreading_enabled();
  const auto restore = c10::make_scope_exit([&] { state.set_multithreading_enabled(before); });
  if (recomputes_here()) state.set_multithreading_enabled(false);
#endif
  torch::autograd::backward(outputs, gradients);
  return undefined(call.env);
}

napi_value set_grad_mode(Call& call) {
  at::GradMode::set_enabled(to_bool(call.env, call[0]));
  return undefined(call.env);
}

napi_value grad_mode(Call& call) { return from_bool(call.env, at::GradMode::is_enabled()); }

// (device type "cpu" or "cuda", dtype name or undefined to turn it off)
napi_value set_autocast(Call& call) {
  const c10::DeviceType device = c10::Device(to_string(call.env, call[0])).type();
  napi_valuetype type;
  check(call.env, napi_typeof(call.env, call[1], &type));
  const bool enabled = type != napi_undefined;
  const c10::ScalarType dtype = enabled ? parse_dtype(to_string(call.env, call[1])) : c10::kFloat;
#if LACLIP_TORCH_AT_LEAST(2, 4)
  if (enabled) at::autocast::set_autocast_dtype(device, dtype);
  at::autocast::set_autocast_enabled(device, enabled);
#else
  if (device == c10::DeviceType::CUDA) {
    if (enabled) at::autocast::set_autocast_gpu_dtype(dtype);
    at::autocast::set_enabled(enabled);
  } else if (device == c10::DeviceType::CPU) {
    if (enabled) at::autocast::set_autocast_cpu_dtype(dtype);
    at::autocast::set_cpu_enabled(enabled);
  } else {
    throw std::runtime_error("autocast: this libtorch knows the devices cpu and cuda");
  }
#endif
  return undefined(call.env);
}

// Autocast keeps the low-precision copies of weights until told; kept past an optimiser step they would be those of the old weights.
napi_value clear_autocast_cache(Call& call) {
  at::autocast::clear_cache();
  return undefined(call.env);
}

}  // namespace laclip
