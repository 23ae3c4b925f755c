/**
 * CLIP's text tower as LaCLIP trains it (models.py of LijieFan/LaCLIP): pre-norm causal blocks with QuickGELU, LayerNorm eps 1e-5
 * computed in float32, pooled at the end-of-text token, which has the highest id of all.
 *
 * The batch may be cut to its longest text: attention is causal and nothing after end-of-text is read, so the result is the same
 * up to rounding, and positions beyond are never touched.
 *
 * Shapes: B batch, L tokens of the longest text, W width.
 */
import { Embedding, LayerNorm, Mlp, Module, MultiheadAttention, causalMask, init, quickGelu } from "../nn/index.ts";
import { UsageError } from "../support/index.ts";
import { Tensor, arange, ops, scope, zeros } from "../torch/index.ts";
import type { TextConfig } from "./config.ts";

class Block extends Module {
  readonly #norm1: LayerNorm;
  readonly #attention: MultiheadAttention;
  readonly #norm2: LayerNorm;
  readonly #mlp: Mlp;

  constructor({ width, depth, heads }: TextConfig) {
    super();
    this.#attention = this.child("attn", new MultiheadAttention(width, heads));
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
  forward(x_BLW: Tensor, causal_LL: Tensor): Tensor {
    return this.#feedForward(x_BLW.add(this.#attention.forward(this.#norm1.forward(x_BLW), causal_LL)));
  }

  /** `[B, L, W]` float32 -> `[B, 1, W]` float32: the token at `end` of each row of `forward`, without computing the others. */
  forwardAt(x_BLW: Tensor, end: TokenChoice): Tensor {
    const normed_BLW = this.#norm1.forward(x_BLW);
    const attended_B1W = this.#attention.forward(normed_BLW, end.mask_B11L, chosen(normed_BLW, end));
    return this.#feedForward(chosen(x_BLW, end).add(attended_B1W));
  }

  #feedForward(x: Tensor): Tensor {
    return x.add(this.#mlp.forward(this.#norm2.forward(x)));
  }
}

/** One token of each row. */
interface TokenChoice {
  /** int64 `[B]`: 0, 1, 2, ... and the position of the token in that row. */
  rows_B: Tensor;
  positions_B: Tensor;
  /** `[B, 1, 1, L]`: -infinity behind the token. */
  mask_B11L: Tensor;
}

/** `[B, L, W]` -> `[B, 1, W]` */
function chosen(x_BLW: Tensor, { rows_B, positions_B }: TokenChoice): Tensor {
  return ops.indexTensor(x_BLW, [rows_B, positions_B]).unsqueeze(1);
}

function choose(positions_B: Tensor, length: number): TokenChoice {
  const { device } = positions_B;
  const behind_BL = ops.gtTensor(arange(0, length, { device }).unsqueeze(0), positions_B.unsqueeze(1));
  const mask_BL = ops.maskedFillScalar(zeros(behind_BL.shape, { device }), behind_BL, -Infinity);
  return { rows_B: arange(0, positions_B.sizeOf(0), { device }), positions_B, mask_B11L: mask_BL.unsqueeze(1).unsqueeze(1) };
}

/** The blocks alone: in the state dict they lie under `transformer`, beside the embeddings of the model. */
export class TextTransformer extends Module {
  readonly #blocks: readonly Block[];

  constructor(config: TextConfig) {
    super();
    this.#blocks = this.children("resblocks", config.depth, () => new Block(config));
  }

  /** `[B, L, W]` and int64 `[B]` -> `[B, W]`: the token at that position of each row; the last block computes no other. */
  forward(x_BLW: Tensor, positions_B: Tensor): Tensor {
    return scope(() => {
      const causal_LL = causalMask(x_BLW.sizeOf(1), x_BLW.device);
      const before_BLW = this.#blocks.slice(0, -1).reduce((x, block) => scope(() => block.forward(x, causal_LL)), x_BLW);
      return this.#blocks
        .at(-1)!
        .forwardAt(before_BLW, choose(positions_B, x_BLW.sizeOf(1)))
        .squeeze(1);
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
 * @returns `[B, W]` float32: the normalised state at end-of-text, before the projection
 */
export function encodeTokens({ config, embedding, positions, transformer, norm }: TextTowerParts, ids: Tensor): Tensor {
  const length = ids.sizeOf(1);
  if (length > config.contextLength) {
    throw new UsageError(
      `A batch of texts has ${length} tokens a row, the model takes ${config.contextLength}. Cut texts when tokenizing.`,
    );
  }
  const x_BLW = scope(() => embedding.forward(ids).add(positions.slice(0, 0, length)));
  return scope(() => norm.forward(transformer.forward(x_BLW, ids.argmax(-1))));
}
