// The kernels that libtorch has for attention over rows which lie end to end, for the stand-in: the same schemas and demands, as plain loops.
//
// So the calls of src/torch/attention.ts, and the gradients that libtorch derives, are tested where there is no GPU.
#include <torch/version.h>

#include "packed-attention.h"
#include "stand-in.h"

namespace laclip {

// They have the arguments that src/torch/attention.ts gives them from 2.6 on.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 6)

namespace {

// An argument of the operator by its name, since schemas grow from version to version.
const c10::IValue& argument(const c10::OperatorHandle& op, const torch::jit::Stack& values, const std::string& name) {
  const int index = op.schema().argumentIndexWithName(name).value_or(-1);
  if (index < 0) throw std::runtime_error(op.schema().name() + ": has no argument " + name);
  return values[values.size() - op.schema().arguments().size() + static_cast<size_t>(index)];
}

void check_starts(const at::Tensor& starts) {
  TORCH_CHECK(starts.scalar_type() == c10::kInt && starts.is_contiguous(), "cumulative lengths must be contiguous int32");
}

// What libtorch's kernels for attention over packed rows ask of their arguments on a GPU.
void check_packed(const at::Tensor& tensor, bool narrow) {
  TORCH_CHECK(tensor.dim() == (narrow ? 3 : 4), "expected [tokens, heads, depth]", narrow ? "" : " behind a 1", ", got ", tensor.sizes());
  TORCH_CHECK(!narrow || tensor.scalar_type() == c10::kHalf || tensor.scalar_type() == c10::kBFloat16,
              "FlashAttention only support fp16 and bf16 data type");
  TORCH_CHECK(narrow || tensor.size(0) == 1, "with cumulative lengths, the batch is 1");
  TORCH_CHECK(tensor.size(-1) % 8 == 0 && (!narrow || tensor.size(-1) <= 256) && tensor.stride(-1) == 1, "the depth must be a multiple of 8, and contiguous");
}

// Flash attention ("cum_seq_q", `narrow`) and the memory-efficient kernel ("cu_seqlens_q"), forward and backward, as plain loops.
template <bool narrow, bool backward>
void attention_kernel(const c10::OperatorHandle& kernel, torch::jit::Stack* stack) {
  through(kernel, stack, [](const c10::OperatorHandle& op, torch::jit::Stack* values) {
    const auto tensor = [&](const char* name) { return argument(op, *values, name).toTensor(); };
    const at::Tensor given[3] = {tensor("query"), tensor("key"), tensor("value")};
    at::Tensor rows[3];
    for (int i = 0; i < 3; i++) {
      check_packed(given[i], narrow);
      rows[i] = narrow ? given[i] : given[i].squeeze(0);
    }
    const at::Tensor starts_q = tensor(narrow ? "cum_seq_q" : "cu_seqlens_q"), starts_k = tensor(narrow ? "cum_seq_k" : "cu_seqlens_k");
    check_starts(starts_q);
    check_starts(starts_k);
    const int64_t longest_q = argument(op, *values, narrow ? "max_q" : "max_seqlen_q").toInt();
    const int64_t longest_k = argument(op, *values, narrow ? "max_k" : "max_seqlen_k").toInt();
    TORCH_CHECK(longest_q >= starts_q.diff().max().item<int64_t>() && longest_k >= starts_k.diff().max().item<int64_t>(),
                "a row is longer than the longest");
    TORCH_CHECK(narrow || (longest_q <= rows[0].size(0) && longest_k <= rows[1].size(0)), "Invalid max_seqlen: there are fewer tokens");
    TORCH_CHECK(argument(op, *values, "dropout_p").toDouble() == 0, "nothing is dropped here");
    const bool causal = narrow ? argument(op, *values, "is_causal").toBool() : argument(op, *values, "custom_mask_type").toInt() == 1;
    const auto shaped = [](const at::Tensor& found) { return narrow ? found : found.unsqueeze(0); };
    const at::TensorOptions numbers = at::TensorOptions().dtype(c10::kLong);
    torch::jit::Stack results;
    if (backward) {
      // Flash attention's own room, of which estimates of memory must know: rows begin at a new tile each.
      const at::Tensor room = narrow ? at::empty({rows[0].size(0) + 128 * (starts_q.size(0) - 1), rows[0].size(1), rows[0].size(2)},
                                                 at::TensorOptions().dtype(c10::kFloat).device(c10::DeviceType::PrivateUse1))
                                     : at::Tensor();
      const at::Tensor gradient = tensor(narrow ? "grad_out" : "grad_out_"), out = tensor("out");
      const auto found = packed_attention_backward(narrow ? gradient : gradient.squeeze(0), rows[0], rows[1], rows[2],
                                                   narrow ? out : out.squeeze(0), starts_q, starts_k, causal);
      results = {shaped(std::get<0>(found)), shaped(std::get<1>(found)), shaped(std::get<2>(found))};
      if (!narrow) results.emplace_back(at::Tensor());
    } else {
      TORCH_CHECK(narrow || argument(op, *values, "compute_log_sumexp").toBool(), "a backward pass needs the logarithms of the sums");
      const at::Tensor out = packed_attention(rows[0], rows[1], rows[2], starts_q, starts_k, causal);
      results = {shaped(out), at::zeros({rows[0].size(1), rows[0].size(0)}), at::zeros({2}, numbers), at::zeros({}, numbers)};
      if (narrow) {
        results.emplace_back(at::zeros({0}, given[0].options()));
      } else {
        results.emplace_back(longest_q);
        results.emplace_back(longest_k);
      }
    }
    values->erase(values->end() - static_cast<std::ptrdiff_t>(op.schema().arguments().size()), values->end());
    values->insert(values->end(), results.begin(), results.end());
  });
}

}  // namespace

void add_packed_kernels(torch::Library& own) {
  own.impl("_flash_attention_forward", torch::CppFunction::makeFromBoxedFunction<&attention_kernel<true, false>>());
  own.impl("_flash_attention_backward", torch::CppFunction::makeFromBoxedFunction<&attention_kernel<true, true>>());
  own.impl("_efficient_attention_forward", torch::CppFunction::makeFromBoxedFunction<&attention_kernel<false, false>>());
  own.impl("_efficient_attention_backward", torch::CppFunction::makeFromBoxedFunction<&attention_kernel<false, true>>());
}

#else

void add_packed_kernels(torch::Library&) {}

#endif

}  // namespace laclip
