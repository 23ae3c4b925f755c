#pragma once

#include <ATen/ATen.h>

#include <tuple>

namespace laclip {

// Attention within each of many rows that lie end to end, on the processor. Shapes: M queries and N keys of all rows, H heads, D depth.
// q [M, H, D], k and v [N, H, D], starts int32 [rows + 1]: where each row begins, and where the last one ends. `causal`: the queries of a
// row are its keys, and each sees itself and those before it. -> [M, H, D], zeros where there is no row
at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& starts_q,
                            const at::Tensor& starts_k, bool causal);

// -> gradients of q, k and v
std::tuple<at::Tensor, at::Tensor, at::Tensor> packed_attention_backward(const at::Tensor& gradient, const at::Tensor& q, const at::Tensor& k,
                                                                         const at::Tensor& v, const at::Tensor& out,
                                                                         const at::Tensor& starts_q, const at::Tensor& starts_k, bool causal);

}  // namespace laclip
