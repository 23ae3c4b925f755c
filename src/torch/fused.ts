/**
 * Parts of a transformer block, and the way from bytes to patches, in one pass over memory each: on the CPU (native/src/fused.cc,
 * patches.cc), on a GPU by kernels of our own (native/src/fused-gpu.cc), and elsewhere plain operators.
 *
 * LACLIP_KERNELS=off keeps a GPU to plain operators, to see what the kernels bring, or should they fail somewhere.
 *
 * Shapes: B batch, N tokens, H heads, D head width, W = H x D.
 */
import { warnOnce } from "../support/index.ts";
import { guard, native } from "./native.ts";
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
  bias: Tensor | null,
) => [query: Tensor, key: Tensor, value: Tensor];
const fusedSplitHeads = operator<SplitHeads>("laclip::split_heads", "", "tensors");

const fusedSoftmax = operator<(scores: Tensor, scale: number) => Tensor>("laclip::scaled_softmax", "", "tensor");

const activate = operator<(x: Tensor, quick: boolean, bias: Tensor | null) => Tensor>("laclip::activate", "", "tensor");

type CutPatches = (pixels: Tensor, scale: readonly number[], shift: readonly number[], patch: number, kept: Tensor | null) => Tensor;
const fusedCutPatches = operator<CutPatches>("laclip::cut_patches", "", "tensor");

/** What the kernels' threads can hold, see native/src/fused-gpu.cc. */
const mostWidth = 8192;
const mostDepth = 256;

/** Whether each device that was asked about has the kernels. */
const found = new Map<string, boolean>();

/** Whether a GPU has our kernels. Where they can't be compiled, that is said once, and plain operators do it. */
function hasKernels(device: string): boolean {
  if (process.env["LACLIP_KERNELS"] === "off") return false;
  const known = found.get(device);
  if (known !== undefined) return known;
  const problem = guard(() => native().kernelProblem(device));
  if (problem !== undefined) {
    warnOnce(
      `kernels of ${device}`,
      `${device} goes without kernels of its own, by plain operators: the results are the same, a step takes longer. ${problem}`,
    );
  }
  found.set(device, problem === undefined);
  return problem === undefined;
}

/** Whether the fused operators take it. In float16, which some processors multiply in, plain operators do it there. */
export function canFuse({ device, dtype }: Pick<Tensor, "device" | "dtype">): boolean {
  if (dtype !== "float32" && dtype !== "bfloat16" && (dtype !== "float16" || device === "cpu")) return false;
  return device === "cpu" || hasKernels(device);
}

/** Whether `scaledSoftmax` takes it. */
export function canFuseSoftmax({ device, dtype }: Tensor): boolean {
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
 * @returns the sum, float32, and its norm: in the dtype of matrix products under autocast where it is fused and, on the CPU, that is bfloat16; else float32
 */
export function addNorm(residual: Tensor, change: Tensor | undefined, { weight, bias, eps }: NormWeights): [sum: Tensor, normed: Tensor] {
  if (canFuse(residual) && (change === undefined || canFuse(change)) && (residual.device === "cpu" || residual.sizeOf(-1) <= mostWidth)) {
    return fusedAddNorm(residual, change ?? null, weight, bias, eps);
  }
  const sum = change === undefined ? residual : residual.add(change);
  return [sum, ops.layerNorm(sum, weight.shape, weight, bias, eps)];
}

/**
 * Query, key and value of each head, of a stacked projection.
 * @param projected `[B, N, 3 W]`
 * @param norms LayerNorms over each head's query and key, of width D; default none
 * @param bias `[3 W]`, see `linearThen`; default none
 * @returns three of `[B, H, N, D]`, of the dtype of `projected` where it is fused; elsewhere query and key that were normalised are float32
 */
export function splitHeads(
  projected: Tensor,
  heads: number,
  norms?: { query: NormWeights; key: NormWeights },
  bias?: Tensor,
): [query: Tensor, key: Tensor, value: Tensor] {
  if (bias !== undefined && projected.device === "cpu") return splitHeads(withGradient(projected, bias), heads, norms);
  const { query, key } = norms ?? {};
  const [batch, tokens, width] = projected.shape as [number, number, number];
  const fits = projected.device === "cpu" || width / 3 / heads <= mostDepth;
  if (fits && canFuse(projected) && query?.eps === key?.eps) {
    return fusedSplitHeads(
      projected,
      heads,
      query?.weight ?? null,
      query?.bias ?? null,
      key?.weight ?? null,
      key?.bias ?? null,
      query?.eps ?? 0,
      bias ?? null,
    );
  }
  const parts = withGradient(projected, bias)
    .view(batch, tokens, 3, heads, width / 3 / heads)
    .permute(2, 0, 3, 1, 4);
  const [queries, keys, values] = parts.unbind(0) as [Tensor, Tensor, Tensor];
  if (norms === undefined) return [queries, keys, values];
  const norm = (x: Tensor, { weight, bias, eps }: NormWeights): Tensor =>
    ops.layerNorm(ops.toDtype(x, "float32"), weight.shape, weight, bias, eps);
  return [norm(queries, norms.query), norm(keys, norms.key), values];
}

/**
 * x * P(N(0, 1) <= x), exactly (not the tanh form).
 * @param bias of the width of `x`, see `linearThen`; default none
 * @returns of the dtype of `x`
 */
export function gelu(x: Tensor, bias?: Tensor): Tensor {
  return fusesActivations(x) ? activate(x, false, bias ?? null) : ops.gelu(withGradient(x, bias));
}

/** x * sigmoid(1.702 x), CLIP's approximation of `gelu`, and as that. The two are not interchangeable. */
export function quickGelu(x: Tensor, bias?: Tensor): Tensor {
  if (fusesActivations(x)) return activate(x, true, bias ?? null);
  return ops.silu(withGradient(x, bias).mul(1.702)).mul(1 / 1.702);
}

/**
 * A linear layer and what follows it. Where there are kernels, the layer leaves the gradient of its bias to what follows, which has the numbers
 * at hand that the layer itself would read again.
 * @param x `[..., inputs]`
 * @param weight `[outputs, inputs]`
 * @param bias `[outputs]`
 * @param follow takes the layer's outcome, in which the bias is, and the bias if its gradient is left to it
 */
export function linearThen<T>(x: Tensor, weight: Tensor, bias: Tensor | undefined, follow: (y: Tensor, bias?: Tensor) => T): T {
  if (bias === undefined || x.device === "cpu" || !bias.requiresGrad || !hasKernels(x.device)) {
    return follow(ops.linear(x, weight, bias ?? null));
  }
  return follow(ops.linear(x, weight, bias.detach()), bias);
}

/** Plain operators take a bias that is already in `x` by adding nothing, through which its gradient comes. */
function withGradient(x: Tensor, bias: Tensor | undefined): Tensor {
  return bias === undefined ? x : x.add(ops.toDtype(bias.sub(bias.detach()), x.dtype));
}

/** On the CPU, libtorch's own are as fast as memory. */
function fusesActivations(x: Tensor): boolean {
  return x.device !== "cpu" && canFuse(x);
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

/** What makes numbers of the bytes of red, green and blue. */
export interface ColourScales {
  scale: readonly [number, number, number];
  shift: readonly [number, number, number];
}

/** Whether a device has `cutPatches`. */
export function canCutPatches(device: string): boolean {
  return device === "cpu" || hasKernels(device);
}

/**
 * The patches of images, row by row: of each byte, byte x scale + shift of its colour, in float32.
 * @param pixels uint8 `[B, S, S, 3]`
 * @param patch pixels of a side
 * @param kept int64 `[B, K]`: the patches that are wanted. Default all. On a GPU nothing checks that they exist
 * @returns `[B, K or (S / patch)^2, 3 x patch x patch]`, colour by colour, in the dtype of matrix products under autocast; on the CPU,
 *   float32 in the place of float16
 */
export function cutPatches(pixels: Tensor, { scale, shift }: ColourScales, patch: number, kept?: Tensor): Tensor {
  return fusedCutPatches(pixels, scale, shift, patch, kept ?? null);
}
