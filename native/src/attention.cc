// laclip::attention: softmax(q k^T / sqrt(depth)) v on the CPU, in float32, without keeping the scores.
//
// A head needs two matrix products forward and four backward, each so small that a library takes longer to get to it than to compute it:
// without MKL, libtorch takes them one by one through its dispatcher to a BLAS that packs its operands first. Here a head's query, key and
// value lie in the cache while it is worked on, some queries at a time, and what they look at is found again on the way back.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "fused.h"
#include "products.h"
#include "rows.h"

namespace laclip {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// Queries whose scores lie in the cache at a time.
constexpr int64_t block = 32;

// B samples, H heads, M queries, N keys, D depth; P is N filled up to whole vectors.
struct Sizes {
  Sizes(const at::Tensor& q, const at::Tensor& k)
      : batch(q.size(0)), heads(q.size(1)), queries(q.size(2)), keys(k.size(2)), depth(q.size(3)),
        padded((keys + product_lanes - 1) / product_lanes * product_lanes) {}

  int64_t batch, heads, queries, keys, depth, padded;

  // Calls `work(sample, head, buffer)` for every head of every sample, in parallel, with a buffer of `numbers` floats.
  template <typename Work>
  void for_heads(int64_t numbers, const Work& work) const {
    constexpr int64_t worth_a_thread = 32768;
    const int64_t together = std::max<int64_t>(1, worth_a_thread / std::max<int64_t>(1, queries * keys * depth));
    at::parallel_for(0, batch * heads, together, [&](int64_t begin, int64_t end) {
      std::vector<float> buffer(static_cast<size_t>(numbers));
      for (int64_t i = begin; i < end; i++) work(i / heads, i % heads, buffer.data());
    });
  }
};

// The rows of one head in a tensor [B, H, tokens, numbers] with its numbers side by side.
struct Head {
  Head(const at::Tensor& tensor, int64_t sample, int64_t head)
      : data(tensor.data_ptr<float>() + sample * tensor.stride(0) + head * tensor.stride(1)), row(tensor.stride(2)) {}

  float* from(int64_t token) const { return data + token * row; }
  Left left(int64_t token) const { return {from(token), row, 1}; }

  float* data;
  int64_t row;
};

at::Tensor side_by_side(const at::Tensor& tensor) { return tensor.stride(-1) == 1 ? tensor : tensor.contiguous(); }

// [N, D] -> [D, P], zeros behind the last key.
void turn(const Head& from, float* to, const Sizes& sizes) {
  std::fill_n(to, sizes.depth * sizes.padded, 0.0f);
  for (int64_t n = 0; n < sizes.keys; n++) {
    for (int64_t d = 0; d < sizes.depth; d++) to[d * sizes.padded + n] = from.from(n)[d];
  }
}

// How much queries look at each key.
struct Shares {
  const Sizes& sizes;
  // Undefined, or [B, H, M, N] with the keys side by side.
  const at::Tensor& mask;
  const float scale = 1 / std::sqrt(static_cast<float>(sizes.depth));

  // Of `rows` queries from `first` on -> [rows, P]. keys: [D, P]
  void find(const Head& query, const float* keys, int64_t sample, int64_t head, int64_t first, int64_t rows, float* to) const {
    product(query.left(first), keys, sizes.padded, to, sizes.padded, rows, sizes.depth, sizes.padded);
    for (int64_t i = 0; i < rows; i++) {
      float* const row = to + i * sizes.padded;
      if (mask.defined()) scale_and_add(row, scale, Head(mask, sample, head).from(first + i), row, sizes.keys);
      softmax(row, mask.defined() ? 1 : scale, row, sizes.keys);
    }
  }
};

class Attention : public torch::autograd::Function<Attention> {
 public:
  static Variable forward(AutogradContext* context, const Variable& given_q, const Variable& given_k, const Variable& given_v,
                          const OptionalTensor& given_mask) {
    const at::Tensor q = side_by_side(given_q), k = side_by_side(given_k), v = side_by_side(given_v);
    const Sizes sizes(q, k);
    at::Tensor mask;
    if (given_mask.has_value()) {
      // Numbers are put side by side before they are repeated for all heads: what is kept stays as small as it came.
      std::vector<int64_t> of_keys = given_mask->sizes().vec();
      of_keys.back() = sizes.keys;
      mask = side_by_side(given_mask->expand(of_keys)).expand({sizes.batch, sizes.heads, sizes.queries, sizes.keys});
    }
    // Laid out as the next layer reads it, with the heads of a token side by side.
    const at::Tensor out = at::empty({sizes.batch, sizes.queries, sizes.heads, sizes.depth}, q.options()).transpose(1, 2);
    const Shares shares{sizes, mask};
    sizes.for_heads((sizes.depth + block) * sizes.padded, [&](int64_t sample, int64_t head, float* buffer) {
      const Head query(q, sample, head), key(k, sample, head), value(v, sample, head), to(out, sample, head);
      float *const turned = buffer, *const found = turned + sizes.depth * sizes.padded;
      turn(key, turned, sizes);
      for (int64_t first = 0; first < sizes.queries; first += block) {
        const int64_t rows = std::min(block, sizes.queries - first);
        shares.find(query, turned, sample, head, first, rows, found);
        product({found, sizes.padded, 1}, value.data, value.row, to.from(first), to.row, rows, sizes.keys, sizes.depth);
      }
    });
    context->save_for_backward({q, k, v, mask});
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "attention on the CPU has no second derivative");
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &mask = saved[3];
    const at::Tensor of_out = side_by_side(gradients[0]);
    const Sizes sizes(q, k);
    const at::Tensor of_q = at::empty(q.sizes(), q.options()), of_k = at::empty(k.sizes(), q.options()), of_v = at::empty(v.sizes(), q.options());
    const Shares shares{sizes, mask};
    sizes.for_heads(2 * (sizes.depth + block) * sizes.padded, [&](int64_t sample, int64_t head, float* buffer) {
      const Head query(q, sample, head), key(k, sample, head), value(v, sample, head), given(of_out, sample, head);
      const Head to_query(of_q, sample, head), to_key(of_k, sample, head), to_value(of_v, sample, head);
      float *const keys = buffer, *const values = keys + sizes.depth * sizes.padded;
      float *const found = values + sizes.depth * sizes.padded, *const of_scores = found + block * sizes.padded;
      turn(key, keys, sizes);
      turn(value, values, sizes);
      for (int64_t first = 0; first < sizes.queries; first += block) {
        const int64_t rows = std::min(block, sizes.queries - first);
        shares.find(query, keys, sample, head, first, rows, found);
        product(given.left(first), values, sizes.padded, of_scores, sizes.padded, rows, sizes.depth, sizes.padded);
        for (int64_t i = 0; i < rows; i++) {
          float* const row = of_scores + i * sizes.padded;
          softmax_backward(found + i * sizes.padded, row, shares.scale, row, sizes.keys);
        }
        product({of_scores, sizes.padded, 1}, key.data, key.row, to_query.from(first), to_query.row, rows, sizes.keys, sizes.depth);
        const bool adds = first > 0;
        product({of_scores, 1, sizes.padded}, query.from(first), query.row, to_key.data, to_key.row, sizes.keys, rows, sizes.depth, adds);
        product({found, 1, sizes.padded}, given.from(first), given.row, to_value.data, to_value.row, sizes.keys, rows, sizes.depth, adds);
      }
    });
    return {of_q, of_k, of_v, at::Tensor()};
  }
};

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OptionalTensor& mask) {
  for (const at::Tensor* const tensor : {&q, &k, &v}) {
    TORCH_CHECK(tensor->device().is_cpu() && tensor->scalar_type() == at::kFloat && tensor->dim() == 4,
                "q, k and v must be float32 [batch, heads, tokens, depth] on the CPU, got ", tensor->scalar_type(), tensor->sizes(), " on ",
                tensor->device());
  }
  TORCH_CHECK(k.sizes() == v.sizes() && q.sizes().slice(0, 2) == k.sizes().slice(0, 2) && q.size(3) == k.size(3),
              "q must be [batch, heads, queries, depth], k and v [batch, heads, keys, depth], got ", q.sizes(), ", ", k.sizes(), " and ", v.sizes());
  TORCH_CHECK(q.size(3) > 0 && q.size(3) % product_lanes == 0, "depth must be a multiple of ", product_lanes, ", got ", q.size(3));
  TORCH_CHECK(q.size(2) > 0 && k.size(2) > 0, "there must be queries and keys");
  if (mask.has_value()) {
    TORCH_CHECK(mask->device().is_cpu() && mask->scalar_type() == at::kFloat && mask->dim() > 0, "the mask must be float32 on the CPU, got ",
                mask->scalar_type(), mask->sizes(), " on ", mask->device());
    TORCH_CHECK(!at::GradMode::is_enabled() || !mask->requires_grad(), "the mask gets no gradient");
  }
  return Attention::apply(q, k, v, mask);
}

}  // namespace

}  // namespace laclip

TORCH_LIBRARY_FRAGMENT(laclip, library) {
  library.def("attention(Tensor q, Tensor k, Tensor v, Tensor? mask=None) -> Tensor", laclip::attention);
}
