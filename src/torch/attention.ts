/**
 * Scaled dot-product attention, by the kernel that suits device, dtype and libtorch.
 *
 * libtorch's fused kernel helps in float32 on CPU from 2.x on and hurts under bfloat16 autocast (its backward pass), so on the CPU it
 * is taken for float32 alone; 1.13 does not have it.
 */
import { canFuse, scaledSoftmax } from "./fused.ts";
import { hasOperator, operator } from "./operator.ts";
import type { Tensor } from "./tensor.ts";

type Fused = (query: Tensor, key: Tensor, value: Tensor, mask: Tensor | null, dropout: number, isCausal: boolean) => Tensor;
const fusedAttention = operator<Fused>("aten::scaled_dot_product_attention", "", "tensor");

/** Whether `attention` of such tensors remembers no scores for its gradient. */
export function keepsNoScores({ device, dtype }: Pick<Tensor, "device" | "dtype">): boolean {
  if (!hasOperator("aten::scaled_dot_product_attention")) return false;
  return device.startsWith("cuda") || (device === "cpu" && dtype === "float32");
}

/**
 * softmax(q k^T / sqrt(D)) v for each head. Shapes: B batch, H heads, M queries, N tokens, D head width.
 * @param q `[B, H, M, D]`
 * @param k `[B, H, N, D]`, as `v`
 * @param mask added to the scores, broadcast to `[B, H, M, N]`; -infinity hides a token
 * @returns `[B, H, M, D]`
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, mask?: Tensor): Tensor {
  const there = hasOperator("aten::scaled_dot_product_attention");
  if (there && (q.device !== "cpu" || (q.dtype === "float32" && v.dtype === "float32"))) {
    return fusedAttention(q, k, v, mask ?? null, 0, false);
  }
  const scale = 1 / Math.sqrt(q.sizeOf(-1));
  if (!mask && canFuse(q))
    return scaledSoftmax(q.matmul(k.transpose(-2, -1)), scale)
      .to(v.dtype)
      .matmul(v);
  const scores = q.mul(scale).matmul(k.transpose(-2, -1));
  return (mask ? scores.add(mask) : scores).softmax(-1).to(v.dtype).matmul(v);
}
