/**
 * CLIP's text tower as LaCLIP trains it (models.py of LijieFan/LaCLIP): pre-norm causal blocks with QuickGELU by default, LayerNorm eps 1e-5
 * computed in float32, pooled at the end-of-text token, which has the highest id of all.
 *
 * Nothing that fills up the shorter texts of a batch is computed: attention is causal and nothing after end-of-text is read, so the
 * result is the same up to rounding. Only attention sees rows, see `Ragged`; all else works on the T tokens of all texts.
 *
 * Shapes: B batch, L tokens of the longest text, T tokens of all texts, W width.
 */
import {
  Embedding,
  LayerNorm,
  Mlp,
  Module,
  MultiheadAttention,
  Ragged,
  type RaggedSize,
  type Residual,
  gelu,
  init,
  quickGelu,
  raggedLayout,
  raggedSize,
  summed,
  throughBlocks,
} from "../nn/index.ts";
import { UsageError } from "../support/index.ts";
import { Tensor, ops, packsAttention, recomputed, scope } from "../torch/index.ts";
import type { ClipConfig, TextConfig } from "./config.ts";

class Block extends Module {
  readonly #norm1: LayerNorm;
  readonly #attention: MultiheadAttention;
  readonly #norm2: LayerNorm;
  readonly #mlp: Mlp;

  constructor({ width, depth, heads, activation = "quick-gelu" }: TextConfig) {
    super();
    this.#attention = this.child("attn", new MultiheadAttention(width, heads));
    this.#norm1 = this.child("ln_1", new LayerNorm(width));
    this.#mlp = this.child(
      "mlp",
      new Mlp(width, 4 * width, activation === "gelu" ? gelu : quickGelu, { expand: "c_fc", contract: "c_proj" }),
    );
    this.#norm2 = this.child("ln_2", new LayerNorm(width));
    const residualStd = width ** -0.5 * (2 * depth) ** -0.5;
    init.normal(this.#attention.inProjWeight, width ** -0.5);
    init.normal(this.#attention.outProj.weight, residualStd);
    init.constant(this.#attention.outProj.bias!, 0);
    init.normal(this.#mlp.expand.weight, (2 * width) ** -0.5);
    init.normal(this.#mlp.contract.weight, residualStd);
  }

  /** `[T, W]` -> `[T, W]` */
  forward(x_TW: Residual, ragged: Ragged): Residual {
    const [sum_TW, normed_TW] = this.#norm1.add(x_TW);
    return this.#feedForward([sum_TW, this.#attention.forwardRagged(normed_TW, ragged)]);
  }

  /** `[T, W]` -> `[B, W]`: the last token of each text of `forward`, without computing the others. */
  forwardLast(x_TW: Residual, ragged: Ragged): Residual {
    const [sum_TW, normed_TW] = this.#norm1.add(x_TW);
    const last = (x: Tensor): Tensor => x.indexSelect(0, ragged.lasts);
    return this.#feedForward([last(sum_TW), this.#attention.forwardRagged(normed_TW, ragged, last(normed_TW))]);
  }

  #feedForward(x: Residual): Residual {
    const [sum, normed] = this.#norm2.add(x);
    return [sum, this.#mlp.forward(normed)];
  }
}

/** Which tokens the texts of a batch have: what `raggedLayout` says of them, on the device of the ids. */
export interface TextLayout {
  layout: Tensor;
  size: RaggedSize;
}

/** The blocks alone: in the state dict they lie under `transformer`, beside the embeddings of the model. */
export class TextTransformer extends Module {
  readonly #blocks: readonly Block[];
  /** Whether blocks are computed again in the backward pass instead of being remembered, see `recomputed`. */
  recomputes = false;

  constructor(config: TextConfig) {
    super();
    this.#blocks = this.children("resblocks", config.depth, () => new Block(config));
  }

  /**
   * `[T, W]` float32 -> `[B, W]`: the last token of each text; the last block computes no other.
   * @param describe makes anew what the blocks know of the texts
   */
  forward(x_TW: Tensor, ragged: Ragged, layout: Tensor, describe: (layout: Tensor) => Ragged): Residual {
    const last = this.#blocks.at(-1);
    const forward = (block: Block, x: Residual, of: Ragged): Residual => (block === last ? block.forwardLast(x, of) : block.forward(x, of));
    return throughBlocks(this.#blocks, x_TW, (block, x) => {
      if (!this.recomputes) return forward(block, x, ragged);
      // Of a block that is computed again its input is kept: one tensor is less than sum and change. What the blocks know of the texts is gone by
      // the backward pass; it costs next to nothing to make anew.
      return [recomputed((sum, same) => summed(forward(block, [sum], describe(same))), [summed(x), layout], block.parameters())];
    });
  }
}

/** Embeddings and final norm around the blocks. Not a module of its own: LaCLIP's names have no level for the text tower. */
export interface TextTowerParts {
  config: TextConfig;
  embedding: Embedding;
  /** `[context length, W]` */
  positions: Tensor;
  transformer: TextTransformer;
  norm: LayerNorm;
}

/**
 * @param ids int64 `[B, L]`, L at most the context length; each row ends its text with the end-of-text id, which is its largest
 * @param texts which tokens are theirs, of rows of L. Default: it is read from the ids, for which the device is waited for
 * @returns `[B, W]` float32: the normalised state at end-of-text, before the projection
 */
export function encodeTokens({ config, embedding, positions, transformer, norm }: TextTowerParts, ids: Tensor, texts?: TextLayout): Tensor {
  const length = ids.sizeOf(1);
  if (length > config.contextLength) {
    throw new UsageError(
      `A batch of texts has ${length} tokens a row, the model takes ${config.contextLength}. Cut texts when tokenizing.`,
    );
  }
  const packs = packsTexts(config, ids.device);
  return scope(() => {
    const { layout, size } = texts ?? layoutOf(ids);
    const describe = (of: Tensor): Ragged => new Ragged(of, size, packs);
    const ragged = describe(layout);
    const x_TW = scope(() => embedding.forward(ragged.pack(ids)).add(ops.embedding(positions, ragged.positions)));
    return norm.forward(summed(transformer.forward(x_TW, ragged, layout, describe)));
  });
}

/** Whether attention takes the texts of a model end to end on a device, and so has room for tokens of no text. */
export function takesPackedTexts({ text }: Pick<ClipConfig, "text">, device: string): boolean {
  return packsTexts(text, device);
}

function packsTexts({ width, heads }: TextConfig, device: string): boolean {
  return packsAttention(device, width / heads);
}

function layoutOf(ids: Tensor): TextLayout {
  const longest = ids.sizeOf(1);
  const lengths = ids
    .argmax(-1)
    .toArray()
    .map((end) => end + 1);
  const layout = raggedLayout(lengths, longest);
  return { layout: Tensor.from(layout, [layout.length], { device: ids.device }), size: raggedSize(lengths, longest) };
}
