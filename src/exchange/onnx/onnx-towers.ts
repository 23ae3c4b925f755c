/**
 * Both towers of a model as ONNX operators: what `VisionTransformer` and `TextTransformer` of src/models compute, in both forms.
 *
 * Of the last block only the token is computed that is read at the end, as there. Texts may have any length up to the context length. What
 * lies behind the end of a text is hidden by the causal mask, so that padding needs no mask.
 *
 * Shapes: B batch, N tokens, H heads, D head width, W = H x D.
 */
import type { StoredTensor } from "../../formats/index.ts";
import type { ClipConfig } from "../../models/index.ts";
import { invariant } from "../../support/index.ts";
import { transposed } from "../stored-matrices.ts";
import { type OnnxGraph, type Value, float32s } from "./onnx-graph.ts";

/** What a token can't see gets this added to its score: the lowest float32. Infinity is not safe on every backend of browsers. */
const hidden = -3.4028234663852886e38;

/** What a block's parts are called. */
interface BlockNames {
  norm1: string;
  /** Queries, keys and values of all heads as one layer. */
  joined: { weight: string; bias: string };
  /** Norms over each head's query and key. */
  headNorms?: { query: string; key: string };
  out: string;
  norm2: string;
  expand: string;
  contract: string;
}

/** What a transformer is made of. */
interface BlockShape {
  width: number;
  heads: number;
  eps: number;
  activation: "gelu" | "quick-gelu";
}

/** What is read at the end of a transformer. */
interface Pooling {
  /** `[B, N, W]` -> `[B, 1, W]` */
  pick: (x: Value) => Value;
  /** To be added to the scores of that token, `[B, 1, 1, N]`. */
  mask?: Value;
}

/** Adds the towers of one model to a graph. */
export class OnnxTowers {
  readonly #graph: OnnxGraph;
  readonly #config: ClipConfig;
  readonly #weights: ReadonlyMap<string, StoredTensor>;

  /** @param weights float32, by the names of `weightShapes` */
  constructor(graph: OnnxGraph, config: ClipConfig, weights: ReadonlyMap<string, StoredTensor>) {
    this.#graph = graph;
    this.#config = config;
    this.#weights = weights;
  }

  /** float32 `[B, 3, S, S]`, normalised -> `[B, joint width]`, not normalised */
  encodeImages(pixels: Value): Value {
    const graph = this.#graph;
    const { form = "laclip", imageSize, patchSize, width, depth, heads, activation = "gelu", qkNorm } = this.#config.vision;
    const isLaclip = form === "laclip";
    const tokens = (imageSize / patchSize) ** 2 + 1;
    const eps = isLaclip ? 1e-6 : 1e-5;
    const shape: BlockShape = { width, heads, eps, activation };

    const convolution = isLaclip
      ? [this.#weight("visual.patch_embed.proj.weight"), this.#weight("visual.patch_embed.proj.bias")]
      : [this.#weight("visual.conv1.weight")];
    const side = [patchSize, patchSize];
    const patches = graph.compute("Conv", [pixels, ...convolution], { kernel_shape: side, strides: side });
    const inRows = graph.compute("Transpose", [graph.compute("Reshape", [patches, graph.ints(0, width, -1)])], { perm: [0, 2, 1] });
    const batch = graph.compute("Shape", [pixels], { start: 0, end: 1 });
    const classToken = graph.compute("Expand", [
      this.#reshaped(isLaclip ? "visual.cls_token" : "visual.class_embedding", [1, 1, width]),
      graph.compute("Concat", [batch, graph.ints(1, width)], { axis: 0 }),
    ]);
    const positions = this.#reshaped(isLaclip ? "visual.pos_embed" : "visual.positional_embedding", [1, tokens, width]);
    let x = graph.compute("Add", [graph.compute("Concat", [classToken, inRows], { axis: 1 }), positions]);
    if (!isLaclip) x = this.#norm(x, "visual.ln_pre", eps);

    const first = (of: Value): Value => graph.compute("Slice", [of, graph.ints(0), graph.ints(1), graph.ints(1)]);
    const names = (n: number): BlockNames =>
      isLaclip ? timmNames(`visual.blocks.${n}`, qkNorm) : openaiNames(`visual.transformer.resblocks.${n}`);
    for (let n = 0; n < depth; n++) x = this.#block(x, names(n), shape, undefined, n === depth - 1 ? { pick: first } : undefined);
    const [norm, projection] = isLaclip ? (["visual.norm", "image_projection"] as const) : (["visual.ln_post", "visual.proj"] as const);
    return this.#project(x, norm, projection, eps);
  }

  /** int64 `[B, N]` -> `[B, joint width]`, not normalised */
  encodeTexts(ids: Value): Value {
    const graph = this.#graph;
    const { contextLength, width, depth, heads, activation = "quick-gelu" } = this.#config.text;
    const shape: BlockShape = { width, heads, eps: 1e-5, activation };

    const length = graph.compute("Shape", [ids], { start: 1, end: 2 });
    /** The part for so many tokens of what there is for the longest text. */
    const cut = (of: Value, ...axes: number[]): Value =>
      axes.reduce((part, axis) => graph.compute("Slice", [part, graph.ints(0), length, graph.ints(axis)]), of);
    const positions = cut(this.#weight("positional_embedding"), 0);
    const mask_NN = cut(graph.weight("causal_mask", causalMask(contextLength)), 0, 1);
    // The end of a text has the largest id; where it stands twice, as padding, the first is the end.
    const end_B1 = graph.compute("ArgMax", [ids], { axis: 1, keepdims: 1, select_last_index: 0 });
    const end_B11 = graph.compute("Unsqueeze", [end_B1, graph.ints(2)]);
    const pooling: Pooling = {
      pick: (of) => graph.compute("GatherND", [of, end_B11], { batch_dims: 1 }),
      mask: graph.compute("Gather", [mask_NN, end_B11], { axis: 0 }),
    };

    let x = graph.compute("Add", [graph.compute("Gather", [this.#weight("token_embedding.weight"), ids]), positions]);
    for (let n = 0; n < depth; n++) {
      x = this.#block(x, openaiNames(`transformer.resblocks.${n}`), shape, mask_NN, n === depth - 1 ? pooling : undefined);
    }
    return this.#project(x, "ln_final", "text_projection", shape.eps);
  }

  /**
   * `[B, N, W]` -> `[B, N, W]`, or `[B, 1, W]` with `pooling`
   * @param mask `[N, N]`, added to scores
   */
  #block(x: Value, names: BlockNames, shape: BlockShape, mask: Value | undefined, pooling: Pooling | undefined): Value {
    const graph = this.#graph;
    const { width, eps, activation } = shape;
    const attended = this.#attend(this.#norm(x, names.norm1, eps), names, shape, pooling ? pooling.mask : mask, pooling);
    const sum = graph.compute("Add", [pooling ? pooling.pick(x) : x, attended]);
    const wide = this.#linear(this.#norm(sum, names.norm2, eps), names.expand, [4 * width, width]);
    return graph.compute("Add", [sum, this.#linear(this.#activate(wide, activation), names.contract, [width, 4 * width])]);
  }

  #attend(x: Value, names: BlockNames, { width, heads, eps }: BlockShape, mask: Value | undefined, pooling: Pooling | undefined): Value {
    const graph = this.#graph;
    const joined = this.#affine(x, names.joined.weight, names.joined.bias, [3 * width, width]);
    const parts = graph.computeMany("Split", [joined, graph.ints(width, width, width)], { axis: 2 }, 3);
    const [queries, keys, values] = parts as [Value, Value, Value];
    /** `[B, N, W]` -> `[B, N, H, D]` with its dimensions in another order */
    const split = (of: Value, perm: number[], norm?: string): Value => {
      const apart = graph.compute("Reshape", [of, graph.ints(0, 0, heads, width / heads)]);
      return graph.compute("Transpose", [norm === undefined ? apart : this.#norm(apart, norm, eps)], { perm });
    };
    const q_BHND = split(pooling ? pooling.pick(queries) : queries, [0, 2, 1, 3], names.headNorms?.query);
    const k_BHDN = split(keys, [0, 2, 3, 1], names.headNorms?.key);
    const v_BHND = split(values, [0, 2, 1, 3]);
    const scaled = graph.compute("Mul", [q_BHND, graph.float(Math.sqrt(heads / width))]);
    const scores = graph.compute("MatMul", [scaled, k_BHDN]);
    const seen = graph.compute("Softmax", [mask === undefined ? scores : graph.compute("Add", [scores, mask])], { axis: -1 });
    const found = graph.compute("Transpose", [graph.compute("MatMul", [seen, v_BHND])], { perm: [0, 2, 1, 3] });
    return this.#linear(graph.compute("Reshape", [found, graph.ints(0, 0, width)]), names.out, [width, width]);
  }

  #activate(x: Value, activation: BlockShape["activation"]): Value {
    const graph = this.#graph;
    if (activation === "quick-gelu") {
      const gate = graph.compute("Sigmoid", [graph.compute("Mul", [x, graph.float(1.702)])]);
      return graph.compute("Mul", [x, gate]);
    }
    const erf = graph.compute("Erf", [graph.compute("Div", [x, graph.float(Math.SQRT2)])]);
    const twice = graph.compute("Mul", [x, graph.compute("Add", [erf, graph.float(1)])]);
    return graph.compute("Mul", [twice, graph.float(0.5)]);
  }

  #norm(x: Value, name: string, eps: number): Value {
    const inputs = [x, this.#weight(`${name}.weight`), this.#weight(`${name}.bias`)];
    return this.#graph.compute("LayerNormalization", inputs, { axis: -1, epsilon: { float: eps } });
  }

  #linear(x: Value, name: string, shape: [outputs: number, inputs: number]): Value {
    return this.#affine(x, `${name}.weight`, `${name}.bias`, shape);
  }

  /** x weight^T + bias. The file has the weight with rows and columns exchanged, as runtimes multiply. */
  #affine(x: Value, weight: string, bias: string, [outputs, inputs]: [outputs: number, inputs: number]): Value {
    const graph = this.#graph;
    const turned = graph.weight(weight, this.#tensor(weight), { shape: [inputs, outputs], make: transposed });
    return graph.compute("Add", [graph.compute("MatMul", [x, turned]), this.#weight(bias)]);
  }

  /** `[B, 1, W]` -> `[B, joint width]` */
  #project(x: Value, norm: string, projection: string, eps: number): Value {
    const pooled = this.#graph.compute("Squeeze", [this.#norm(x, norm, eps), this.#graph.ints(1)]);
    return this.#graph.compute("MatMul", [pooled, this.#weight(projection)]);
  }

  #weight(name: string): Value {
    return this.#graph.weight(name, this.#tensor(name));
  }

  #reshaped(name: string, shape: number[]): Value {
    return this.#graph.weight(name, { ...this.#tensor(name), shape });
  }

  #tensor(name: string): StoredTensor {
    const tensor = this.#weights.get(name);
    invariant(tensor, `the model has no ${name}`);
    return tensor;
  }
}

/** timm's names, as LaCLIP has them. */
function timmNames(block: string, qkNorm: boolean): BlockNames {
  return {
    norm1: `${block}.norm1`,
    joined: { weight: `${block}.attn.qkv.weight`, bias: `${block}.attn.qkv.bias` },
    ...(qkNorm && { headNorms: { query: `${block}.attn.q_norm`, key: `${block}.attn.k_norm` } }),
    out: `${block}.attn.proj`,
    norm2: `${block}.norm2`,
    expand: `${block}.mlp.fc1`,
    contract: `${block}.mlp.fc2`,
  };
}

/** OpenAI's names. */
function openaiNames(block: string): BlockNames {
  return {
    norm1: `${block}.ln_1`,
    joined: { weight: `${block}.attn.in_proj_weight`, bias: `${block}.attn.in_proj_bias` },
    out: `${block}.attn.out_proj`,
    norm2: `${block}.ln_2`,
    expand: `${block}.mlp.c_fc`,
    contract: `${block}.mlp.c_proj`,
  };
}

/** `[tokens, tokens]`: a token sees itself and those before it. */
function causalMask(tokens: number): StoredTensor {
  const values = new Float32Array(tokens * tokens);
  for (let row = 0; row < tokens; row++) values.fill(hidden, row * tokens + row + 1, (row + 1) * tokens);
  return float32s([tokens, tokens], values);
}
