// Operators of our own, registered with libtorch's dispatcher under "laclip", so that the one boxed call reaches them too:
//
//   laclip::add_norm       residual sum, its LayerNorm, and the cast to what the next matrix product takes, in one pass
//   laclip::split_heads    query, key and value of each head out of the stacked projection, with the LayerNorm of query and key
//   laclip::scaled_softmax softmax of scaled attention scores, on the CPU alone
//   laclip::activate       GELU and QuickGELU, on a GPU alone
//   laclip::cut_patches    images as bytes -> the patches of the image tower, in patches.cc
//   laclip::attention      attention in float32, on the CPU alone, in attention.cc
//
// Here they are for the CPU; what is elsewhere goes to the kernels of fused-gpu.cc.
//
// A transformer block spends most of what is not a matrix product on reading and writing its activations: a LayerNorm in mixed precision
// alone is a cast, a norm and a cast back, each through memory. Here a row is read once, worked on in float32 in the cache, and written
// once. Results and gradients are those of the operators they stand for, up to rounding, and do not depend on the number of threads.
#include "fused.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cstring>
#include <vector>

#include "rows.h"

namespace laclip {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// Rows whose weight gradients are summed up together, whatever the number of threads.
constexpr int64_t block_rows = 64;

void check_rows(const at::Tensor& tensor, const char* name, bool bfloat16_too = true) {
  TORCH_CHECK(tensor.device().is_cpu(), name, " must be on the CPU, got ", tensor.device());
  TORCH_CHECK(tensor.scalar_type() == at::kFloat || (bfloat16_too && tensor.scalar_type() == at::kBFloat16), name, " must be float32",
              bfloat16_too ? " or bfloat16" : "", ", got ", tensor.scalar_type());
  TORCH_CHECK(tensor.dim() > 0 && tensor.size(-1) > 0, name, " must have rows, got shape ", tensor.sizes());
}

void check_vector(const at::Tensor& vector, const char* name, int64_t width) {
  TORCH_CHECK(vector.device().is_cpu() && vector.scalar_type() == at::kFloat && vector.sizes() == at::IntArrayRef({width}), name,
              " must be float32[", width, "] on the CPU, got ", vector.scalar_type(), vector.sizes());
}

// Reads and writes rows of float32 or bfloat16 as float32.
class Rows {
 public:
  explicit Rows(const at::Tensor& tensor) : bfloat16_(tensor.scalar_type() == at::kBFloat16), data_(tensor.data_ptr()) {}

  // `count` numbers from `offset` on: where they lie if they are float32, else in `buffer`.
  const float* read(int64_t offset, int64_t count, float* buffer) const {
    if (!bfloat16_) return static_cast<float*>(data_) + offset;
    widen(static_cast<uint16_t*>(data_) + offset, buffer, count);
    return buffer;
  }

  // Where to write `count` numbers before `written`: in place if they are float32, else `buffer`.
  float* target(int64_t offset, float* buffer) const { return bfloat16_ ? buffer : static_cast<float*>(data_) + offset; }

  void written(int64_t offset, int64_t count, const float* buffer) const {
    if (bfloat16_) narrow(buffer, static_cast<uint16_t*>(data_) + offset, count);
  }

  // Writes what may lie anywhere.
  void write(int64_t offset, int64_t count, const float* values) const {
    if (bfloat16_) narrow(values, static_cast<uint16_t*>(data_) + offset, count);
    else std::memcpy(static_cast<float*>(data_) + offset, values, static_cast<size_t>(count) * sizeof(float));
  }

 private:
  bool bfloat16_;
  void* data_;
};

at::Tensor saved_or_undefined(const at::Tensor& tensor) { return tensor.defined() ? tensor.contiguous() : tensor; }

class AddNorm : public torch::autograd::Function<AddNorm> {
 public:
  static variable_list forward(AutogradContext* context, const Variable& residual, const OptionalTensor& change,
                               const Variable& weight, const Variable& bias, double eps) {
    const at::Tensor x = residual.contiguous();
    const int64_t width = x.size(-1), rows = x.numel() / width;
    const bool adds = change.has_value();
    const at::Tensor delta = adds ? change->contiguous() : at::Tensor();
    const at::Tensor sum = adds ? at::empty_like(x) : x;
    const at::Tensor normed = at::empty(x.sizes(), x.options().dtype(product_dtype(x.device()) == at::kBFloat16 ? at::kBFloat16 : at::kFloat));
    const at::Tensor moments_R2 = at::empty({rows, 2}, x.options());
    const float *x_data = x.data_ptr<float>(), *w = weight.data_ptr<float>(), *b = bias.data_ptr<float>();
    float *sum_data = sum.data_ptr<float>(), *m = moments_R2.data_ptr<float>();
    const Rows delta_rows(adds ? delta : x), normed_rows(normed);
    at::parallel_for(0, rows, block_rows, [&](int64_t begin, int64_t end) {
      std::vector<float> buffer(static_cast<size_t>(width));
      for (int64_t row = begin; row < end; row++) {
        const int64_t at = row * width;
        if (adds) add_rows(x_data + at, delta_rows.read(at, width, buffer.data()), sum_data + at, width);
        const Moments found = normalise(sum_data + at, w, b, normed_rows.target(at, buffer.data()), width, static_cast<float>(eps));
        normed_rows.written(at, width, buffer.data());
        m[2 * row] = found.mean;
        m[2 * row + 1] = found.rstd;
      }
    });
    context->set_materialize_grads(false);
    context->save_for_backward({sum, moments_R2, weight});
    context->saved_data["change"] = adds ? static_cast<int64_t>(change->scalar_type()) : static_cast<int64_t>(-1);
    // Without a change the sum is the residual itself; its gradient comes through here all the same, to be added in the same pass.
    return {adds ? sum : residual.view_as(residual), normed};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &sum = saved[0], &moments_R2 = saved[1], &weight = saved[2];
    const int64_t change = context->saved_data["change"].toInt();
    const int64_t width = sum.size(-1), rows = sum.numel() / width;
    const at::Tensor through = saved_or_undefined(gradients[0]);
    if (!gradients[1].defined()) {
      const at::Tensor to_change = change < 0 || !through.defined() ? at::Tensor() : through.to(static_cast<at::ScalarType>(change));
      return {through, to_change, at::Tensor(), at::Tensor(), at::Tensor()};
    }
    const at::Tensor of_normed = gradients[1].contiguous();
    const at::Tensor dx = at::empty_like(sum);
    const bool casts = change == static_cast<int64_t>(at::kBFloat16);
    const at::Tensor ddelta = casts ? at::empty(sum.sizes(), sum.options().dtype(at::kBFloat16)) : at::Tensor();
    const int64_t blocks = (rows + block_rows - 1) / block_rows;
    const at::Tensor partial_K2W = at::zeros({blocks, 2, width}, sum.options());
    const float *x = sum.data_ptr<float>(), *m = moments_R2.data_ptr<float>(), *w = weight.data_ptr<float>();
    const float* along = through.defined() ? through.data_ptr<float>() : nullptr;
    float *dx_data = dx.data_ptr<float>(), *partial = partial_K2W.data_ptr<float>();
    const Rows normed_rows(of_normed), delta_rows(casts ? ddelta : dx);
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> buffer(static_cast<size_t>(width));
      for (int64_t block = begin; block < end; block++) {
        float* dweight = partial + block * 2 * width;
        for (int64_t row = block * block_rows; row < std::min(rows, (block + 1) * block_rows); row++) {
          const int64_t at = row * width;
          if (along) std::memcpy(dx_data + at, along + at, static_cast<size_t>(width) * sizeof(float));
          else std::memset(dx_data + at, 0, static_cast<size_t>(width) * sizeof(float));
          normalise_backward(x + at, normed_rows.read(at, width, buffer.data()), w, {m[2 * row], m[2 * row + 1]}, dx_data + at, dweight,
                             dweight + width, width);
          if (casts) delta_rows.write(at, width, dx_data + at);
        }
      }
    });
    const at::Tensor weights_2W = partial_K2W.sum(0);
    return {dx, change < 0 ? at::Tensor() : casts ? ddelta : dx, weights_2W[0], weights_2W[1], at::Tensor()};
  }
};

class SplitHeads : public torch::autograd::Function<SplitHeads> {
 public:
  static variable_list forward(AutogradContext* context, const Variable& projected, int64_t heads, const OptionalTensor& query_weight,
                               const OptionalTensor& query_bias, const OptionalTensor& key_weight, const OptionalTensor& key_bias,
                               double eps) {
    const at::Tensor x = projected.contiguous();
    const int64_t batch = x.size(0), tokens = x.size(1), stacked = x.size(2), width = stacked / 3, depth = width / heads;
    const at::Tensor parts_3BHND = at::empty({3, batch, heads, tokens, depth}, x.options());
    const float* weights[2] = {nullptr, nullptr};
    const float* biases[2] = {nullptr, nullptr};
    if (query_weight.has_value()) {
      weights[0] = query_weight->data_ptr<float>(), biases[0] = query_bias->data_ptr<float>();
      weights[1] = key_weight->data_ptr<float>(), biases[1] = key_bias->data_ptr<float>();
    }
    const Rows from(x), to(parts_3BHND);
    const size_t bytes = static_cast<size_t>(depth) * x.element_size();
    at::parallel_for(0, batch * tokens, 16, [&](int64_t begin, int64_t end) {
      std::vector<float> input(static_cast<size_t>(depth)), output(static_cast<size_t>(depth));
      for (int64_t row = begin; row < end; row++) {
        const int64_t sample = row / tokens, token = row % tokens;
        for (int64_t part = 0; part < 3; part++) {
          for (int64_t head = 0; head < heads; head++) {
            const int64_t at = row * stacked + part * width + head * depth;
            const int64_t there = (((part * batch + sample) * heads + head) * tokens + token) * depth;
            if (part < 2 && weights[part]) {
              normalise(from.read(at, depth, input.data()), weights[part], biases[part], to.target(there, output.data()), depth,
                        static_cast<float>(eps));
              to.written(there, depth, output.data());
            } else {
              const auto size = static_cast<int64_t>(x.element_size());
              std::memcpy(static_cast<char*>(parts_3BHND.data_ptr()) + there * size, static_cast<const char*>(x.data_ptr()) + at * size,
                          bytes);
            }
          }
        }
      }
    });
    context->set_materialize_grads(false);
    context->saved_data["heads"] = heads;
    context->saved_data["eps"] = eps;
    context->saved_data["shape"] = x.sizes().vec();
    if (query_weight.has_value()) context->save_for_backward({x, *query_weight, *key_weight});
    return {parts_3BHND[0], parts_3BHND[1], parts_3BHND[2]};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto shape = context->saved_data["shape"].toIntVector();
    const int64_t heads = context->saved_data["heads"].toInt();
    const float eps = static_cast<float>(context->saved_data["eps"].toDouble());
    const variable_list saved = context->get_saved_variables();
    const bool norms = !saved.empty();
    const int64_t batch = shape[0], tokens = shape[1], stacked = shape[2], width = stacked / 3, depth = width / heads;
    at::Tensor of_part[3];
    at::TensorOptions options;
    for (int part = 0; part < 3; part++) {
      if (gradients[part].defined()) options = gradients[part].options();
    }
    for (int part = 0; part < 3; part++) {
      of_part[part] = gradients[part].defined() ? gradients[part].contiguous() : at::zeros({batch, heads, tokens, depth}, options);
    }
    const at::Tensor dx = at::empty(shape, options);
    const int64_t rows = batch * tokens, blocks = (rows + block_rows - 1) / block_rows;
    const at::Tensor partial_K4D = at::zeros({norms ? blocks : 0, 4, depth}, options.dtype(at::kFloat));
    float* partial = partial_K4D.data_ptr<float>();
    const Rows to(dx), from(norms ? saved[0] : dx), part_rows[3] = {Rows(of_part[0]), Rows(of_part[1]), Rows(of_part[2])};
    const float* weights[2] = {norms ? saved[1].data_ptr<float>() : nullptr, norms ? saved[2].data_ptr<float>() : nullptr};
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> input(static_cast<size_t>(depth)), gradient(static_cast<size_t>(depth)), output(static_cast<size_t>(depth));
      for (int64_t block = begin; block < end; block++) {
        for (int64_t row = block * block_rows; row < std::min(rows, (block + 1) * block_rows); row++) {
          const int64_t sample = row / tokens, token = row % tokens;
          for (int64_t part = 0; part < 3; part++) {
            for (int64_t head = 0; head < heads; head++) {
              const int64_t at = row * stacked + part * width + head * depth;
              const int64_t there = ((sample * heads + head) * tokens + token) * depth;
              const float* dy = part_rows[part].read(there, depth, gradient.data());
              if (part == 2 || !norms) {
                to.write(at, depth, dy);
                continue;
              }
              const float* x = from.read(at, depth, input.data());
              float* dweight = partial + (block * 4 + part * 2) * depth;
              std::memset(output.data(), 0, output.size() * sizeof(float));
              normalise_backward(x, dy, weights[part], moments(x, depth, eps), output.data(), dweight, dweight + depth, depth);
              to.write(at, depth, output.data());
            }
          }
        }
      }
    });
    if (!norms) return {dx, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
    const at::Tensor weights_4D = partial_K4D.sum(0);
    return {dx, at::Tensor(), weights_4D[0], weights_4D[1], weights_4D[2], weights_4D[3], at::Tensor()};
  }
};

// Calls `work` for every row of `like`, in parallel, with a buffer.
template <typename Work>
void for_rows(const at::Tensor& like, const Work& work) {
  const int64_t width = like.size(-1);
  at::parallel_for(0, like.numel() / width, 32, [&](int64_t begin, int64_t end) {
    std::vector<float> first(static_cast<size_t>(width)), second(static_cast<size_t>(width));
    for (int64_t row = begin; row < end; row++) work(row * width, width, first.data(), second.data());
  });
}

class ScaledSoftmax : public torch::autograd::Function<ScaledSoftmax> {
 public:
  static Variable forward(AutogradContext* context, const Variable& given, double scale) {
    const at::Tensor scores = given.contiguous();
    const at::Tensor shares = at::empty_like(scores);
    const Rows from(scores), to(shares);
    for_rows(scores, [&](int64_t at, int64_t width, float* input, float* output) {
      softmax(from.read(at, width, input), static_cast<float>(scale), to.target(at, output), width);
      to.written(at, width, output);
    });
    context->save_for_backward({shares});
    context->saved_data["scale"] = scale;
    return shares;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor shares = context->get_saved_variables()[0];
    const float scale = static_cast<float>(context->saved_data["scale"].toDouble());
    const at::Tensor of_shares = gradients[0].contiguous();
    const at::Tensor dx = at::empty_like(shares);
    const Rows from(shares), gradient(of_shares), to(dx);
    for_rows(shares, [&](int64_t at, int64_t width, float* first, float* second) {
      const float* y = from.read(at, width, first);
      const float* dy = gradient.read(at, width, second);
      softmax_backward(y, dy, scale, to.target(at, second), width);
      to.written(at, width, second);
    });
    return {dx, at::Tensor()};
  }
};

std::tuple<at::Tensor, at::Tensor> add_norm(const at::Tensor& residual, const OptionalTensor& change, const at::Tensor& weight,
                                            const at::Tensor& bias, double eps) {
  if (!residual.is_cpu()) return add_norm_on_gpu(residual, change, weight, bias, eps);
  check_rows(residual, "residual", false);
  const int64_t width = residual.size(-1);
  if (change.has_value()) {
    check_rows(*change, "change");
    TORCH_CHECK(change->sizes() == residual.sizes(), "change must have the shape of residual, ", residual.sizes(), ", got ", change->sizes());
  }
  check_vector(weight, "weight", width);
  check_vector(bias, "bias", width);
  const variable_list results = AddNorm::apply(residual, change, weight.contiguous(), bias.contiguous(), eps);
  return {results[0], results[1]};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> split_heads(const at::Tensor& projected, int64_t heads,
                                                           const OptionalTensor& query_weight,
                                                           const OptionalTensor& query_bias,
                                                           const OptionalTensor& key_weight,
                                                           const OptionalTensor& key_bias, double eps, const OptionalTensor& bias) {
  if (!projected.is_cpu()) return split_heads_on_gpu(projected, heads, query_weight, query_bias, key_weight, key_bias, eps, bias);
  TORCH_CHECK(!bias.has_value(), "on the CPU, the gradient of the projection's bias comes from the projection");
  check_rows(projected, "projected");
  TORCH_CHECK(projected.dim() == 3 && heads > 0 && projected.size(2) % (3 * heads) == 0,
              "projected must be [batch, tokens, 3 x heads x depth] with ", heads, " heads, got ", projected.sizes());
  const int64_t depth = projected.size(2) / 3 / heads;
  const OptionalTensor* const given[4] = {&query_weight, &query_bias, &key_weight, &key_bias};
  const char* const names[4] = {"query_weight", "query_bias", "key_weight", "key_bias"};
  OptionalTensor vectors[4];
  for (int i = 0; i < 4; i++) {
    TORCH_CHECK(given[i]->has_value() == query_weight.has_value(), "the norms of query and key need all of weight and bias, or none");
    if (!given[i]->has_value()) continue;
    check_vector(**given[i], names[i], depth);
    vectors[i] = (*given[i])->contiguous();
  }
  const variable_list parts = SplitHeads::apply(projected, heads, vectors[0], vectors[1], vectors[2], vectors[3], eps);
  return {parts[0], parts[1], parts[2]};
}

at::Tensor scaled_softmax(const at::Tensor& scores, double scale) {
  check_rows(scores, "scores");
  TORCH_CHECK(scale > 0, "scale must be above 0, got ", scale);
  return ScaledSoftmax::apply(scores, scale);
}

}  // namespace

}  // namespace laclip

TORCH_LIBRARY(laclip, library) {
  library.def("add_norm(Tensor residual, Tensor? change, Tensor weight, Tensor bias, float eps) -> (Tensor, Tensor)", laclip::add_norm);
  library.def(
      "split_heads(Tensor projected, int heads, Tensor? query_weight, Tensor? query_bias, Tensor? key_weight, Tensor? key_bias, float eps, Tensor? bias=None) -> (Tensor, Tensor, Tensor)",
      laclip::split_heads);
  library.def("scaled_softmax(Tensor scores, float scale) -> Tensor", laclip::scaled_softmax);
  library.def("activate(Tensor x, bool quick, Tensor? bias=None) -> Tensor", laclip::activate_on_gpu);
}
