/**
 * LaCLIP's image tower: timm's vision transformer with a LayerNorm on each head's query and key (models.py of LijieFan/LaCLIP).
 *
 * Class token, learned positions, pre-norm blocks with exact GELU, LayerNorm eps 1e-6, output = class token after the last norm.
 * Initial weights: class token and positions truncated normal 0.02; linear layers and the patch layer PyTorch's default, since LaCLIP
 * replaces the blocks after timm has initialised them.
 *
 * Shapes: B batch, P patches, N = P + 1 tokens, W width. The residual stream is float32 also under autocast.
 */
import { LayerNorm, Mlp, Module, SelfAttention, gelu, init } from "../nn/index.ts";
import { UsageError } from "../support/index.ts";
import { Tensor, cat, empty, ops, scope } from "../torch/index.ts";
import type { VisionConfig } from "./config.ts";

const eps = 1e-6;

class Block extends Module {
  readonly #norm1: LayerNorm;
  readonly #attention: SelfAttention;
  readonly #norm2: LayerNorm;
  readonly #mlp: Mlp;

  constructor({ width, heads, qkNorm }: VisionConfig) {
    super();
    this.#norm1 = this.child("norm1", new LayerNorm(width, { eps }));
    this.#attention = this.child("attn", new SelfAttention(width, heads, { qkNorm, eps }));
    this.#norm2 = this.child("norm2", new LayerNorm(width, { eps }));
    this.#mlp = this.child("mlp", new Mlp(width, 4 * width, gelu, { expand: "fc1", contract: "fc2" }));
  }

  /** `[B, N, W]` float32 -> `[B, N, W]` float32 */
  forward(x_BNW: Tensor): Tensor {
    const [same_BNW, normed_BNW] = this.#norm1.add(x_BNW);
    return this.#feedForward(same_BNW, this.#attention.forward(normed_BNW));
  }

  /** `[B, N, W]` float32 -> `[B, 1, W]` float32: the first token of `forward`, without computing the others. */
  forwardFirst(x_BNW: Tensor): Tensor {
    const [same_BNW, normed_BNW] = this.#norm1.add(x_BNW);
    return this.#feedForward(same_BNW.slice(1, 0, 1), this.#attention.forward(normed_BNW, normed_BNW.slice(1, 0, 1)));
  }

  #feedForward(x: Tensor, change: Tensor): Tensor {
    const [sum, normed] = this.#norm2.add(x, change);
    return sum.add(this.#mlp.forward(normed));
  }
}

/** Cuts an image into patches and maps each to a vector. A convolution with stride = kernel, computed as one matrix product. */
export class PatchEmbedding extends Module {
  readonly #weight: Tensor;
  readonly #bias: Tensor;
  readonly #patch: number;

  constructor({ patchSize, width }: VisionConfig) {
    super();
    this.#patch = patchSize;
    const fanIn = 3 * patchSize * patchSize;
    this.#weight = this.parameter("proj.weight", init.fanInUniform(empty([width, 3, patchSize, patchSize])));
    this.#bias = this.parameter("proj.bias", init.uniform(empty([width]), 1 / Math.sqrt(fanIn)));
  }

  /** `[B, 3, S, S]` -> `[B, P, W]` */
  forward(images: Tensor): Tensor {
    const [batch, channels, height, width] = images.shape as [number, number, number, number];
    const patch = this.#patch;
    const rows = height / patch;
    const columns = width / patch;
    const patches = images
      .reshape(batch, channels, rows, patch, columns, patch)
      .permute(0, 2, 4, 1, 3, 5)
      .reshape(batch, rows * columns, channels * patch * patch);
    return ops.linear(patches, this.#weight.flatten(1), this.#bias);
  }
}

export class VisionTransformer extends Module {
  readonly #imageSize: number;
  readonly #classToken: Tensor;
  readonly #positions: Tensor;
  readonly #patches: PatchEmbedding;
  readonly #blocks: readonly Block[];
  readonly #norm: LayerNorm;

  constructor(config: VisionConfig) {
    super();
    const { imageSize, patchSize, width, depth } = config;
    this.#imageSize = imageSize;
    const tokens = (imageSize / patchSize) ** 2 + 1;
    this.#classToken = this.parameter("cls_token", init.truncatedNormal(empty([1, 1, width]), 0.02));
    this.#positions = this.parameter("pos_embed", init.truncatedNormal(empty([1, tokens, width]), 0.02));
    this.#patches = this.child("patch_embed", new PatchEmbedding(config));
    this.#blocks = this.children("blocks", depth, () => new Block(config));
    this.#norm = this.child("norm", new LayerNorm(width, { eps }));
  }

  /**
   * @param images `[B, 3, S, S]` float32, normalised
   * @returns `[B, W]` float32: what a linear probe reads, before the projection
   * @throws UsageError when the images have not the model's size
   */
  forward(images: Tensor): Tensor {
    const [batch, ...sizes] = images.shape;
    if (batch === undefined || sizes.join() !== [3, this.#imageSize, this.#imageSize].join()) {
      throw new UsageError(
        `Images of shape [${images.shape.join(", ")}]: the model takes [batch, 3, ${this.#imageSize}, ${this.#imageSize}].`,
      );
    }
    let x_BNW = scope(() => {
      const patches_BPW = this.#patches.forward(images);
      const classToken_B1W = this.#classToken.expand(batch, -1, -1);
      return cat([classToken_B1W, patches_BPW.to("float32")], 1).add(this.#positions);
    });
    for (const block of this.#blocks.slice(0, -1)) x_BNW = scope(() => block.forward(x_BNW));
    // Only the class token is read at the end: the last block need not compute the others, some 6 % of a B/16 step.
    return scope(() => this.#norm.forward(this.#blocks.at(-1)!.forwardFirst(x_BNW).squeeze(1)));
  }
}
