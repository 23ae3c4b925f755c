/** Attention layers. Shapes: B batch, N tokens, H heads, D head width, W = H x D. */
import { Tensor, attention, cat, empty, linearThen, ops, packedAttention, splitHeads, zeros } from "../torch/index.ts";
import { fanInUniform } from "./init.ts";
import { LayerNorm, Linear } from "./layers.ts";
import { Module } from "./module.ts";
import type { Ragged } from "./ragged.ts";

/** `[B, N, P W]` -> P tensors (query, key, value or a part of them), each `[B, H, N, D]`. */
function viewHeads(projected: Tensor, heads: number, parts: number): Tensor[] {
  const [batch, tokens, width] = projected.shape as [number, number, number];
  return projected
    .view(batch, tokens, parts, heads, width / parts / heads)
    .permute(2, 0, 3, 1, 4)
    .unbind(0);
}

/**
 * Query, key and value of each head from one stacked layer.
 * @param weight `[3 W, W]`, bias `[3 W]`
 * @param queries `[B, M, W]`: compute queries of these tokens only; default all of `x`
 */
function project(x: Tensor, queries: Tensor | undefined, weight: Tensor, bias: Tensor, heads: number): [Tensor, Tensor, Tensor] {
  if (queries === undefined) return linearThen(x, weight, bias, (projected, ownBias) => splitHeads(projected, heads, undefined, ownBias));
  const width = x.sizeOf(-1);
  const [q] = viewHeads(ops.linear(queries, weight.slice(0, 0, width), bias.slice(0, 0, width)), heads, 1) as [Tensor];
  const [k, v] = viewHeads(ops.linear(x, weight.slice(0, width), bias.slice(0, width)), heads, 2) as [Tensor, Tensor];
  return [q, k, v];
}

/** `[B, H, N, D]` -> `[B, N, W]` */
function mergeHeads(x: Tensor): Tensor {
  const [batch, heads, tokens, depth] = x.shape as [number, number, number, number];
  return x.transpose(1, 2).reshape(batch, tokens, heads * depth);
}

/**
 * Attention as timm's vision transformer has it: one `qkv` layer, then `proj`; with `qkNorm` a LayerNorm over each head's query and
 * key (`q_norm`, `k_norm`), as LaCLIP's image tower has it.
 */
export class SelfAttention extends Module {
  readonly #heads: number;
  readonly #qkv: Linear;
  readonly #queryNorm: LayerNorm | undefined;
  readonly #keyNorm: LayerNorm | undefined;
  readonly #proj: Linear;

  constructor(width: number, heads: number, { qkNorm = false, eps = 1e-6 }: { qkNorm?: boolean; eps?: number } = {}) {
    super();
    this.#heads = heads;
    this.#qkv = this.child("qkv", new Linear(width, 3 * width));
    this.#queryNorm = qkNorm ? this.child("q_norm", new LayerNorm(width / heads, { eps })) : undefined;
    this.#keyNorm = qkNorm ? this.child("k_norm", new LayerNorm(width / heads, { eps })) : undefined;
    this.#proj = this.child("proj", new Linear(width, width));
  }

  /**
   * @param x `[B, N, W]`
   * @param queries `[B, M, W]`, tokens of `x` whose outcome is wanted; default all, M = N
   * @returns `[B, M, W]`
   */
  forward(x: Tensor, queries?: Tensor): Tensor {
    if (queries === undefined) {
      const norms = this.#queryNorm && this.#keyNorm && { query: this.#queryNorm, key: this.#keyNorm };
      const parts = linearThen(x, this.#qkv.weight, this.#qkv.bias, (projected, bias) => splitHeads(projected, this.#heads, norms, bias));
      return this.#proj.forward(mergeHeads(attention(...parts)));
    }
    const [q, k, v] = project(x, queries, this.#qkv.weight, this.#qkv.bias!, this.#heads);
    const query = this.#queryNorm?.forward(q) ?? q;
    const key = this.#keyNorm?.forward(k) ?? k;
    return this.#proj.forward(mergeHeads(attention(query, key, v)));
  }
}

/** Attention with the weight names of torch.nn.MultiheadAttention (`in_proj_weight`, `out_proj.weight`), as CLIP's text tower has it. */
export class MultiheadAttention extends Module {
  readonly #heads: number;
  /** `[3 W, W]`: query, key, value */
  readonly inProjWeight: Tensor;
  /** `[3 W]` */
  readonly inProjBias: Tensor;
  readonly outProj: Linear;

  constructor(width: number, heads: number) {
    super();
    this.#heads = heads;
    this.inProjWeight = this.parameter("in_proj_weight", fanInUniform(empty([3 * width, width])));
    this.inProjBias = this.parameter("in_proj_bias", zeros([3 * width]));
    this.outProj = this.child("out_proj", new Linear(width, width));
  }

  /**
   * @param x `[B, N, W]`
   * @param mask see `attention`; default none
   * @param queries `[B, M, W]`, tokens of `x` whose outcome is wanted; default all, M = N
   * @returns `[B, M, W]`
   */
  forward(x: Tensor, mask?: Tensor, queries?: Tensor): Tensor {
    const [q, k, v] = project(x, queries, this.inProjWeight, this.inProjBias, this.#heads);
    return this.outProj.forward(mergeHeads(attention(q, k, v, mask)));
  }

  /**
   * The same for rows of different lengths, in which each token sees itself and those before it.
   * @param x `[T, W]`: the real tokens
   * @param queries `[B, W]`: the last token of each row, when the outcome of no other is wanted; default all tokens
   * @returns `[T, W]`, or `[B, W]` with `queries`
   */
  forwardRagged(x: Tensor, ragged: Ragged, queries?: Tensor): Tensor {
    const width = x.sizeOf(-1);
    const part = (from: number, to?: number): [Tensor, Tensor] => [
      this.inProjWeight.slice(0, from, to),
      this.inProjBias.slice(0, from, to),
    ];
    const { ends, masks } = ragged;
    if (ends !== undefined) {
      const heads = (projected: Tensor, parts: number): Tensor[] =>
        projected.view(projected.sizeOf(0), parts, this.#heads, width / this.#heads).unbind(1);
      const merged = (out: Tensor): Tensor => this.outProj.forward(out.reshape(-1, width));
      if (queries === undefined) {
        const [q, k, v] = heads(ops.linear(x, this.inProjWeight, this.inProjBias), 3) as [Tensor, Tensor, Tensor];
        const rows = { starts: ends.all, longest: ends.longest };
        return merged(packedAttention(q, k, v, rows, rows, true));
      }
      // Of keys that no row has, kernels leave the gradients as they find them: so the row of spare tokens is asked too, and its answer dropped.
      const asked = ends.spare ? cat([queries, x.slice(0, -1)]) : queries;
      // The last token of a row sees all of it, so that nothing has to be hidden; rows of one query are not aligned by a causal mask.
      const [q] = heads(ops.linear(asked, ...part(0, width)), 1) as [Tensor];
      const [k, v] = heads(ops.linear(x, ...part(width)), 2) as [Tensor, Tensor];
      const found = packedAttention(q, k, v, { starts: ends.single, longest: 1 }, { starts: ends.all, longest: ends.longest });
      return merged(ends.spare ? found.slice(0, 0, ragged.rows) : found);
    }
    if (queries === undefined) {
      const [q, k, v] = splitHeads(ragged.pad(ops.linear(x, this.inProjWeight, this.inProjBias)), this.#heads);
      return this.outProj.forward(ragged.pack(mergeHeads(attention(q, k, v, masks!.causal, true))));
    }
    const [q] = viewHeads(ops.linear(queries, ...part(0, width)).unsqueeze(1), this.#heads, 1) as [Tensor];
    const [k, v] = viewHeads(ragged.pad(ops.linear(x, ...part(width))), this.#heads, 2) as [Tensor, Tensor];
    return this.outProj.forward(mergeHeads(attention(q, k, v, masks!.behind)).squeeze(1));
  }
}
