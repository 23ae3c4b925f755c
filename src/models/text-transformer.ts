/**
 * CLIP's text tower as LaCLIP trains it (models.py of LijieFan/LaCLIP): pre-norm causal blocks with QuickGELU, LayerNorm eps 1e-5
 * computed in float32, pooled at the end-of-text token, which has the highest id of all.
 *
 * The batch may be cut to its longest text: attention is causal and nothing after end-of-text is read, so the result is the same
 * up to rounding, and positions beyond are never touched.
 *
 * Shapes: B batch, L tokens of the longest text, W width.
 */
import { CausalSelfAttention, Embedding, LayerNorm, Mlp, Module, init, quickGelu } from "../nn/index.ts";
import { UsageError } from "../support/index.ts";
import { Tensor, arange, ops, scope } from "../torch/index.ts";
import type { TextConfig } from "./config.ts";

class Block extends Module {
  readonly #norm1: LayerNorm;
  readonly #attention: CausalSelfAttention;
  readonly #norm2: LayerNorm;
  readonly #mlp: Mlp;

  constructor({ width, depth, heads }: TextConfig) {
    super();
    this.#attention = this.child("attn", new CausalSelfAttention(width, heads));
    this.#norm1 = this.child("ln_1", new LayerNorm(width));
    this.#mlp = this.child("mlp", new Mlp(width, 4 * width, quickGelu, { expand: "c_fc", contract: "c_proj" }));
    this.#norm2 = this.child("ln_2", new LayerNorm(width));
    const residualStd = width ** -0.5 * (2 * depth) ** -0.5;
    init.normal(this.#attention.inProjWeight, width ** -0.5);
    init.normal(this.#attention.outProj.weight, residualStd);
    init.constant(this.#attention.outProj.bias!, 0);
    init.normal(this.#mlp.expand.weight, (2 * width) ** -0.5);
    init.normal(this.#mlp.contract.weight, residualStd);
  }

  /** `[B, L, W]` float32 -> `[B, L, W]` float32 */
  forward(x_BLW: Tensor): Tensor {
    const attended_BLW = x_BLW.add(this.#attention.forward(this.#norm1.forward(x_BLW)));
    return attended_BLW.add(this.#mlp.forward(this.#norm2.forward(attended_BLW)));
  }
}

/** The blocks alone: in the state dict they lie under `transformer`, beside the embeddings of the model. */
export class TextTransformer extends Module {
  readonly #blocks: readonly Block[];

  constructor(config: TextConfig) {
    super();
    this.#blocks = this.children("resblocks", config.depth, () => new Block(config));
  }

  forward(x_BLW: Tensor): Tensor {
    return this.#blocks.reduce((x, block) => scope(() => block.forward(x)), x_BLW);
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
 * @returns `[B, W]` float32: the normalised state at end-of-text, before the projection
 */
export function encodeTokens({ config, embedding, positions, transformer, norm }: TextTowerParts, ids: Tensor): Tensor {
  const [batch, length] = ids.shape as [number, number];
  if (length > config.contextLength) {
    throw new UsageError(
      `A batch of texts has ${length} tokens a row, the model takes ${config.contextLength}. Cut texts when tokenizing.`,
    );
  }
  const x_BLW = scope(() => embedding.forward(ids).add(positions.slice(0, 0, length)));
  const out_BLW = transformer.forward(x_BLW);
  return scope(() => {
    const rows_B = arange(0, batch, { device: ids.device });
    return norm.forward(ops.indexTensor(out_BLW, [rows_B, ids.argmax(-1)]));
  });
}
