// Attention over rows of different lengths that lie end to end: what a GPU's kernels do in one launch (src/torch/attention.ts), row by row
// on the processor, computed in float32.
//
// Training on the processor fills rows up instead, and has large matrix products. This is what devices for tests compute by, also with a
// libtorch that has no such kernel, so that everything around it runs in every test.
#include "packed-attention.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>
#include <limits>

namespace laclip {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& starts_q, const at::Tensor& starts_k) {
  TORCH_CHECK(q.dim() == 3 && k.dim() == 3 && k.sizes() == v.sizes() && q.sizes().slice(1) == k.sizes().slice(1),
              "q must be [queries, heads, depth], k and v [keys, heads, depth], got ", q.sizes(), ", ", k.sizes(), " and ", v.sizes());
  TORCH_CHECK(q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type(), "q, k and v must be of one dtype");
  TORCH_CHECK(starts_q.scalar_type() == c10::kInt && starts_k.scalar_type() == c10::kInt && starts_q.dim() == 1 &&
                  starts_q.sizes() == starts_k.sizes() && starts_q.numel() > 0,
              "the beginnings of rows must be two int32 vectors of one length");
}

struct Row {
  int64_t q, queries, k, keys;
};

std::vector<Row> rows_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& starts_q, const at::Tensor& starts_k) {
  const at::Tensor of_q = starts_q.contiguous(), of_k = starts_k.contiguous();
  const int32_t* const from_q = of_q.data_ptr<int32_t>();
  const int32_t* const from_k = of_k.data_ptr<int32_t>();
  std::vector<Row> rows;
  for (int64_t i = 0; i + 1 < of_q.numel(); i++) {
    const Row row{from_q[i], from_q[i + 1] - from_q[i], from_k[i], from_k[i + 1] - from_k[i]};
    TORCH_CHECK(row.q >= 0 && row.k >= 0 && row.queries >= 0 && row.keys >= 0 && row.q + row.queries <= q.size(0) && row.k + row.keys <= k.size(0),
                "row ", i, " lies outside of its tokens");
    if (row.queries > 0 && row.keys > 0) rows.push_back(row);
  }
  return rows;
}

// Some tokens as [heads, tokens, depth] in float32.
at::Tensor part(const at::Tensor& x, int64_t from, int64_t count) { return x.narrow(0, from, count).transpose(0, 1).to(c10::kFloat); }

void put(at::Tensor& x, int64_t from, const at::Tensor& values) { x.narrow(0, from, values.size(1)).copy_(values.transpose(0, 1)); }

// How much each query looks at each key: [heads, queries, keys].
at::Tensor shares(const at::Tensor& q, const at::Tensor& k, double scale, bool causal) {
  at::Tensor scores = at::matmul(q, k.transpose(1, 2)).mul_(scale);
  if (causal) {
    const at::Tensor hidden = at::ones({q.size(1), k.size(1)}, at::TensorOptions().dtype(c10::kBool)).triu(1);
    scores.masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  }
  return scores.softmax(-1);
}

double scale_of(const at::Tensor& q) { return 1 / std::sqrt(static_cast<double>(q.size(-1))); }

class PackedAttention : public torch::autograd::Function<PackedAttention> {
 public:
  static Variable forward(AutogradContext* context, const Variable& q, const Variable& k, const Variable& v, const at::Tensor& starts_q,
                          const at::Tensor& starts_k, bool causal) {
    const at::AutoDispatchBelowAutograd below;
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("laclip::packed_attention", "")
                               .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                 const at::Tensor&, bool)>();
    const at::Tensor out = op.call(q, k, v, starts_q, starts_k, causal);
    context->save_for_backward({q, k, v, out, starts_q, starts_k});
    context->saved_data["causal"] = causal;
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("laclip::packed_attention_backward", "")
                               .typed<std::tuple<at::Tensor, at::Tensor, at::Tensor>(
                                   const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                   const at::Tensor&, const at::Tensor&, bool)>();
    const variable_list saved = context->get_saved_variables();
    const at::AutoDispatchBelowAutograd below;
    const auto [of_q, of_k, of_v] =
        op.call(gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4], saved[5], context->saved_data["causal"].toBool());
    return {of_q, of_k, of_v, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor with_gradient(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& starts_q,
                         const at::Tensor& starts_k, bool causal) {
  return PackedAttention::apply(q, k, v, starts_q, starts_k, causal);
}

}  // namespace

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& starts_q,
                            const at::Tensor& starts_k, bool causal) {
  check(q, k, v, starts_q, starts_k);
  at::Tensor out = at::zeros(q.sizes(), q.options());
  for (const Row& row : rows_of(q, k, starts_q, starts_k)) {
    const at::Tensor shares_HMN = shares(part(q, row.q, row.queries), part(k, row.k, row.keys), scale_of(q), causal);
    put(out, row.q, at::matmul(shares_HMN, part(v, row.k, row.keys)));
  }
  return out;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> packed_attention_backward(const at::Tensor& gradient, const at::Tensor& q, const at::Tensor& k,
                                                                         const at::Tensor& v, const at::Tensor& out,
                                                                         const at::Tensor& starts_q, const at::Tensor& starts_k, bool causal) {
  check(q, k, v, starts_q, starts_k);
  // A GPU's kernels leave the gradients of what no row has as they find them: whoever relies on these shall see it here.
  const auto unwritten = [](const at::Tensor& like) { return at::full(like.sizes(), std::numeric_limits<double>::quiet_NaN(), like.options()); };
  at::Tensor of_q = unwritten(q), of_k = unwritten(k), of_v = unwritten(v);
  const double scale = scale_of(q);
  for (const Row& row : rows_of(q, k, starts_q, starts_k)) {
    const at::Tensor own_q = part(q, row.q, row.queries), own_k = part(k, row.k, row.keys), own_v = part(v, row.k, row.keys);
    const at::Tensor given = part(gradient, row.q, row.queries);
    const at::Tensor shares_HMN = shares(own_q, own_k, scale, causal);
    put(of_v, row.k, at::matmul(shares_HMN.transpose(1, 2), given));
    const at::Tensor mean_HM1 = given.mul(part(out, row.q, row.queries)).sum(-1, /*keepdim=*/true);
    const at::Tensor of_scores_HMN = at::matmul(given, own_v.transpose(1, 2)).sub_(mean_HM1).mul_(shares_HMN).mul_(scale);
    put(of_q, row.q, at::matmul(of_scores_HMN, own_k));
    put(of_k, row.k, at::matmul(of_scores_HMN.transpose(1, 2), own_q));
  }
  return {of_q, of_k, of_v};
}

}  // namespace laclip

TORCH_LIBRARY_FRAGMENT(laclip, library) {
  library.def("packed_attention(Tensor q, Tensor k, Tensor v, Tensor starts_q, Tensor starts_k, bool causal) -> Tensor");
  library.def(
      "packed_attention_backward(Tensor gradient, Tensor q, Tensor k, Tensor v, Tensor out, Tensor starts_q, Tensor starts_k, bool causal) -> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(laclip, CPU, library) {
  library.impl("packed_attention", laclip::packed_attention);
  library.impl("packed_attention_backward", laclip::packed_attention_backward);
}

TORCH_LIBRARY_IMPL(laclip, Autograd, library) { library.impl("packed_attention", laclip::with_gradient); }
