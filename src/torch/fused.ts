/**
 * Parts of a transformer block that are one pass over memory on the CPU (native/src/fused.cc), and plain operators elsewhere.
 *
 * Shapes: B batch, N tokens, H heads, D head width, W = H x D.
 */
import { operator } from "./operator.ts";
import * as ops from "./operators.generated.ts";
import type { Tensor } from "./tensor.ts";

type AddNorm = (residual: Tensor, change: Tensor | null, weight: Tensor, bias: Tensor, eps: number) => [sum: Tensor, normed: Tensor];
const fusedAddNorm = operator<AddNorm>("laclip::add_norm", "", "tensors");

type SplitHeads = (
  projected: Tensor,
  heads: number,
  queryWeight: Tensor | null,
  queryBias: Tensor | null,
  keyWeight: Tensor | null,
  keyBias: Tensor | null,
  eps: number,
) => [query: Tensor, key: Tensor, value: Tensor];
const fusedSplitHeads = operator<SplitHeads>("laclip::split_heads", "", "tensors");

const fusedSoftmax = operator<(scores: Tensor, scale: number) => Tensor>("laclip::scaled_softmax", "", "tensor");

/** Whether the fused operators take it. */
export function canFuse({ device, dtype }: Pick<Tensor, "device" | "dtype">): boolean {
  return device === "cpu" && (dtype === "float32" || dtype === "bfloat16");
}

/** Weight and bias of a LayerNorm over the last dimension, and what keeps its root from 0. */
export interface NormWeights {
  /** float32, as `bias` */
  weight: Tensor;
  bias: Tensor;
  eps: number;
}

/**
 * What enters the next part of a residual block: the sum so far, and its LayerNorm.
 * @param residual `[..., W]` float32
 * @param change `[..., W]` float32 or what autocast works in; default none
 * @returns the sum, float32, and its norm: under autocast in the dtype of matrix products where that is bfloat16, else float32
 */
export function addNorm(residual: Tensor, change: Tensor | undefined, { weight, bias, eps }: NormWeights): [sum: Tensor, normed: Tensor] {
  // In float16, which some processors multiply in, plain operators do it.
  if (canFuse(residual) && (change === undefined || canFuse(change))) return fusedAddNorm(residual, change ?? null, weight, bias, eps);
  const sum = change === undefined ? residual : residual.add(change);
  return [sum, ops.layerNorm(sum, weight.shape, weight, bias, eps)];
}

/**
 * Query, key and value of each head, of a stacked projection.
 * @param projected `[B, N, 3 W]`
 * @param norms LayerNorms over each head's query and key, of width D; default none
 * @returns three of `[B, H, N, D]`, of the dtype of `projected` where it is fused; elsewhere query and key that were normalised are float32
 */
export function splitHeads(
  projected: Tensor,
  heads: number,
  norms?: { query: NormWeights; key: NormWeights },
): [query: Tensor, key: Tensor, value: Tensor] {
  const { query, key } = norms ?? {};
  if (canFuse(projected) && query?.eps === key?.eps) {
    return fusedSplitHeads(
      projected,
      heads,
      query?.weight ?? null,
      query?.bias ?? null,
      key?.weight ?? null,
      key?.bias ?? null,
      query?.eps ?? 0,
    );
  }
  const [batch, tokens, width] = projected.shape as [number, number, number];
  const parts = projected.view(batch, tokens, 3, heads, width / 3 / heads).permute(2, 0, 3, 1, 4);
  const [queries, keys, values] = parts.unbind(0) as [Tensor, Tensor, Tensor];
  if (norms === undefined) return [queries, keys, values];
  const norm = (x: Tensor, { weight, bias, eps }: NormWeights): Tensor =>
    ops.layerNorm(ops.toDtype(x, "float32"), weight.shape, weight, bias, eps);
  return [norm(queries, norms.query), norm(keys, norms.key), values];
}

/**
 * softmax(scale x scores) over the last dimension.
 * @param scores float32 or bfloat16, on the CPU
 * @param scale above 0
 * @returns of the same dtype; computed in float32
 */
export function scaledSoftmax(scores: Tensor, scale: number): Tensor {
  return fusedSoftmax(scores, scale);
}
