/**
 * Scaled dot-product attention, by the kernel that suits device and dtype.
 *
 * In float32 on the CPU an operator of our own is faster than libtorch's up to about a thousand tokens (bench/attention.md). Under bfloat16
 * autocast the products are oneDNN's, one for all heads; libtorch's fused kernel hurts there (its backward pass).
 *
 * Rows of different lengths that lie end to end have kernels of their own, on GPUs: flash attention (Dao 2023) in 16 bits, the
 * memory-efficient kernel (Rabe & Staats 2021, as xFormers has it) in float32. libtorch knows the gradients of both.
 */
import { UsageError } from "../support/index.ts";
import type { DType } from "./dtype.ts";
import { canFuseSoftmax, scaledSoftmax } from "./fused.ts";
import { native } from "./native.ts";
import { hasOperator, operator } from "./operator.ts";
import * as ops from "./operators.generated.ts";
import { Tensor, full } from "./tensor.ts";

type Fused = (query: Tensor, key: Tensor, value: Tensor, mask: Tensor | null, dropout: number, isCausal: boolean) => Tensor;
const fusedAttention = operator<Fused>("aten::scaled_dot_product_attention", "", "tensor");

type OnProcessor = (query: Tensor, key: Tensor, value: Tensor, mask: Tensor | null) => Tensor;
const onProcessor = operator<OnProcessor>("laclip::attention", "", "tensor");

/** `[N, N]`: 0 on and below the diagonal, -infinity above: each token sees itself and those before it. */
export function causalMask(tokens: number, device: string): Tensor {
  return ops.triu(full([tokens, tokens], -Infinity, { device }), 1);
}

/** Whether our operator for the CPU takes heads of width `depth`; see native/src/products.h. */
function isForProcessor({ device, dtype }: Pick<Tensor, "device" | "dtype">, depth: number): boolean {
  return device === "cpu" && dtype === "float32" && depth % 8 === 0;
}

/**
 * What `attention` remembers for its gradient beside query, key and value: the scores of all queries and keys; its result and a sum for each
 * query; nothing.
 */
export type AttentionKeeps = "scores" | "sums" | "nothing";

/** What `attention` of such tensors remembers, with heads of width `depth`. */
export function attentionKeeps(tensors: Pick<Tensor, "device" | "dtype">, depth: number): AttentionKeeps {
  if (isForProcessor(tensors, depth)) return "nothing";
  return isGpu(tensors.device) && hasOperator("aten::scaled_dot_product_attention") ? "sums" : "scores";
}

/**
 * softmax(q k^T / sqrt(D)) v for each head. Shapes: B batch, H heads, M queries, N tokens, D head width.
 * @param q `[B, H, M, D]`
 * @param k `[B, H, N, D]`, as `v`
 * @param mask added to the scores, broadcast to `[B, H, M, N]`; -infinity hides a token. Float32 where `q` is, and gets no gradient
 * @param causal says that the mask is `causalMask`, so that a kernel which knows of that need not read it. Default false
 * @returns `[B, H, M, D]`
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, mask?: Tensor, causal = false): Tensor {
  if (isForProcessor(q, q.sizeOf(-1)) && v.dtype === "float32") return onProcessor(q, k, v, mask ?? null);
  // With a mask that has to be read, a GPU falls back to slower kernels.
  if (q.device !== "cpu" && hasOperator("aten::scaled_dot_product_attention"))
    return fusedAttention(q, k, v, causal ? null : (mask ?? null), 0, causal);
  const scale = 1 / Math.sqrt(q.sizeOf(-1));
  if (!mask && canFuseSoftmax(q))
    return scaledSoftmax(q.matmul(k.transpose(-2, -1)), scale)
      .to(v.dtype)
      .matmul(v);
  const scores = q.mul(scale).matmul(k.transpose(-2, -1));
  return (mask ? scores.add(mask) : scores).softmax(-1).to(v.dtype).matmul(v);
}

/** Rows that lie end to end: where each begins and the last ends, int32 `[rows + 1]`, and how many tokens the longest has at most. */
export interface PackedRows {
  starts: Tensor;
  longest: number;
}

type Flash = (
  query: Tensor,
  key: Tensor,
  value: Tensor,
  startsQ: Tensor,
  startsK: Tensor,
  longestQ: number,
  longestK: number,
  dropout: number,
  isCausal: boolean,
  returnDebugMask: boolean,
) => [Tensor];
const flash = operator<Flash>("aten::_flash_attention_forward", "", "tensors");

type Efficient = (
  query: Tensor,
  key: Tensor,
  value: Tensor,
  bias: null,
  startsQ: Tensor,
  startsK: Tensor,
  longestQ: number,
  longestK: number,
  dropout: number,
  maskType: number,
  keepSums: boolean,
) => [out: number, sums: number, seed: number, offset: number, longestQ: number, longestK: number];
const efficient = operator<Efficient>("aten::_efficient_attention_forward", "", "value");

type Looped = (q: Tensor, k: Tensor, v: Tensor, startsQ: Tensor, startsK: Tensor, causal: boolean) => Tensor;
const looped = operator<Looped>("laclip::packed_attention", "", "tensor");

/** Whether `packedAttention` is the way to go on a device, for heads of width `depth`. */
export function packsAttention(device: string, depth: number): boolean {
  if (device === "cpu" || depth % 8 !== 0 || depth > 256) return false;
  // A device for tests computes by our own loops where its libtorch has no such kernels.
  return isGpu(device) ? hasKernels() && isRecent(device) : true;
}

/** Memory that a backward pass has for itself, in bytes for each number of the width: of each token, and of each row. */
export interface Workspace {
  token: number;
  row: number;
}

/** That of `packedAttention`. Flash attention adds up the gradients of queries in float32, in tiles of 128, of which each row has one more. */
export function packedWorkspace(dtype: DType): Workspace {
  return hasKernels() && dtype !== "float32" ? { token: 4, row: 4 * 128 } : { token: 0, row: 0 };
}

/** Rows of a batch that a GPU's kernels for attention take at once: the most that a grid of theirs can have in that direction. */
export const mostAttentionRows = 65_535;

/**
 * `attention` within each of many rows, which lie end to end. Shapes: M queries and N keys of all rows, H heads, D head width.
 * @param q `[M, H, D]`, float32, float16 or bfloat16; the last dimension contiguous
 * @param k `[N, H, D]`, as `v`, of the same dtype
 * @param queries, keys the rows of both; there are as many of each
 * @param causal each token sees itself and those before it in its row: rows of queries and keys are the same. Default false
 * @returns `[M, H, D]`
 * @throws UsageError for more than {@link mostAttentionRows}, of which a GPU would only say that its configuration is invalid
 */
export function packedAttention(q: Tensor, k: Tensor, v: Tensor, queries: PackedRows, keys: PackedRows, causal = false): Tensor {
  const rows = queries.starts.size - 1;
  if (rows > mostAttentionRows) {
    throw new UsageError(`Attention on ${q.device} takes at most ${mostAttentionRows} texts at once, got ${rows}.`, {
      mend: "Pass them through the model in parts; in training, by a smaller training.microBatch.",
    });
  }
  if (!hasKernels()) return looped(q, k, v, queries.starts, keys.starts, causal);
  if (q.dtype !== "float32") {
    return flash(q, k, v, queries.starts, keys.starts, queries.longest, keys.longest, 0, causal, false)[0];
  }
  const batches = [q, k, v].map((x) => x.unsqueeze(0)) as [Tensor, Tensor, Tensor];
  const found = efficient(...batches, null, queries.starts, keys.starts, queries.longest, keys.longest, 0, causal ? 1 : 0, true);
  // The last two are numbers, not handles.
  const [out] = found.slice(0, 4).map((handle) => new Tensor(handle)) as [Tensor];
  return out.squeeze(0);
}

/** The kernels have the arguments that they are given above from 2.6 on. It is asked in every step, and libtorch's answer takes its time. */
let kernels: boolean | undefined;
function hasKernels(): boolean {
  return (kernels ??= findKernels());
}

function findKernels(): boolean {
  if (!hasOperator("aten::_flash_attention_forward") || !hasOperator("aten::_efficient_attention_forward")) return false;
  const [major, minor] = native().libraryInfo().version.split(".").map(Number) as [number, number];
  return major > 2 || (major === 2 && minor >= 6);
}

function isGpu(device: string): boolean {
  return device.startsWith("cuda");
}

/** Both kernels compute in bfloat16 from compute capability 8.0 on (A100). */
const recent = new Map<string, boolean>();
function isRecent(device: string): boolean {
  const found = recent.get(device) ?? Number.parseFloat(native().deviceProperties(device).capability) >= 8;
  recent.set(device, found);
  return found;
}
