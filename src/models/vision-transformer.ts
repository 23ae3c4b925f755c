/**
 * The image tower in two forms, which differ in details and in the names of their weights.
 *
 * "laclip": timm's vision transformer with a LayerNorm on each head's query and key (models.py of LijieFan/LaCLIP). LayerNorm eps 1e-6.
 * Initial weights: class token and positions truncated normal 0.02; linear layers and the patch layer PyTorch's default, since LaCLIP
 * replaces the blocks after timm has initialised them.
 * "open-clip": the vision transformer of OpenAI's CLIP and open_clip: a norm before the blocks, patches without bias, LayerNorm eps 1e-5.
 * Initial weights: class token and positions N(0, 1 / width), the rest PyTorch's default of its layers.
 *
 * Both: class token, learned positions, pre-norm blocks, output = class token after the last norm.
 *
 * Shapes: B batch, P patches, K patches that are looked at, N = P + 1 or K + 1 tokens, W width. The residual stream is float32 also under
 * autocast.
 */
import {
  LayerNorm,
  Mlp,
  Module,
  MultiheadAttention,
  type Residual,
  SelfAttention,
  gelu,
  init,
  quickGelu,
  summed,
  throughBlocks,
} from "../nn/index.ts";
import { UsageError } from "../support/index.ts";
import { Tensor, arange, canCutPatches, cat, cutPatches, empty, ops, recomputed, scope, zeros } from "../torch/index.ts";
import type { VisionConfig } from "./config.ts";
import { type ByteImages, colourScales, normalizeImages } from "./preprocessing.ts";

/** What each form calls its parts. */
const forms = {
  laclip: {
    classToken: "cls_token",
    positions: "pos_embed",
    patches: "patch_embed.proj",
    normBefore: undefined,
    blocks: "blocks",
    normAfter: "norm",
    eps: 1e-6,
    block: { norm1: "norm1", norm2: "norm2", mlp: { expand: "fc1", contract: "fc2" } },
  },
  "open-clip": {
    classToken: "class_embedding",
    positions: "positional_embedding",
    patches: "conv1",
    normBefore: "ln_pre",
    blocks: "transformer.resblocks",
    normAfter: "ln_post",
    eps: 1e-5,
    block: { norm1: "ln_1", norm2: "ln_2", mlp: { expand: "c_fc", contract: "c_proj" } },
  },
} as const;

/** Name of the position embedding in the state dict of a model. Its first row is the class token's, the others lie row by row. */
export function positionsName({ form = "laclip" }: VisionConfig): string {
  return `visual.${forms[form].positions}`;
}

class Block extends Module {
  readonly #norm1: LayerNorm;
  readonly #attend: (x: Tensor, queries?: Tensor) => Tensor;
  readonly #norm2: LayerNorm;
  readonly #mlp: Mlp;

  constructor({ form = "laclip", width, heads, qkNorm, activation = "gelu" }: VisionConfig) {
    super();
    const { eps, block: names } = forms[form];
    this.#norm1 = this.child(names.norm1, new LayerNorm(width, { eps }));
    if (form === "laclip") {
      const attention = this.child("attn", new SelfAttention(width, heads, { qkNorm, eps }));
      this.#attend = (x, queries) => attention.forward(x, queries);
    } else {
      const attention = this.child("attn", new MultiheadAttention(width, heads));
      init.xavierUniform(attention.inProjWeight);
      init.constant(attention.outProj.bias!, 0);
      this.#attend = (x, queries) => attention.forward(x, undefined, queries);
    }
    this.#norm2 = this.child(names.norm2, new LayerNorm(width, { eps }));
    this.#mlp = this.child("mlp", new Mlp(width, 4 * width, activation === "gelu" ? gelu : quickGelu, names.mlp));
  }

  /** `[B, N, W]` -> `[B, N, W]` */
  forward(x_BNW: Residual): Residual {
    const [sum_BNW, normed_BNW] = this.#norm1.add(x_BNW);
    return this.#feedForward([sum_BNW, this.#attend(normed_BNW)]);
  }

  /** `[B, N, W]` -> `[B, 1, W]`: the first token of `forward`, without computing the others. */
  forwardFirst(x_BNW: Residual): Residual {
    const [sum_BNW, normed_BNW] = this.#norm1.add(x_BNW);
    return this.#feedForward([sum_BNW.slice(1, 0, 1), this.#attend(normed_BNW, normed_BNW.slice(1, 0, 1))]);
  }

  #feedForward(x: Residual): Residual {
    const [sum, normed] = this.#norm2.add(x);
    return [sum, this.#mlp.forward(normed)];
  }
}

/** Cuts an image into patches and maps each to a vector. A convolution with stride = kernel, computed as one matrix product. */
export class PatchEmbedding extends Module {
  readonly #weight: Tensor;
  readonly #bias: Tensor | undefined;
  readonly #patch: number;

  constructor({ form = "laclip", patchSize, width }: VisionConfig) {
    super();
    this.#patch = patchSize;
    const fanIn = 3 * patchSize * patchSize;
    this.#weight = this.parameter("weight", init.fanInUniform(empty([width, 3, patchSize, patchSize])));
    this.#bias = form === "laclip" ? this.parameter("bias", init.uniform(empty([width]), 1 / Math.sqrt(fanIn))) : undefined;
  }

  /**
   * `[B, 3, S, S]`, or bytes -> `[B, P, W]`
   * @param kept int64 `[B, K]`: patches to look at; then `[B, K, W]`. Default all
   */
  forward(images: Tensor | ByteImages, kept?: Tensor): Tensor {
    return ops.linear(imagePatches(images, this.#patch, kept), this.#weight.flatten(1), this.#bias ?? null);
  }
}

/**
 * `[B, 3, S, S]`, or bytes -> `[B, P or K, 3 x patch x patch]`; of bytes, in the dtype of matrix products where it comes for nothing.
 * @param patch pixels of a side
 * @param kept as of `PatchEmbedding.forward`
 */
export function imagePatches(images: Tensor | ByteImages, patch: number, kept?: Tensor): Tensor {
  if (!(images instanceof Tensor)) {
    const { bytes, preprocessing } = images;
    // The same numbers, in one pass.
    if (canCutPatches(bytes.device)) return cutPatches(bytes, colourScales(preprocessing), patch, kept);
    return imagePatches(normalizeImages(images), patch, kept);
  }
  const [batch, channels, height, width] = images.shape as [number, number, number, number];
  const [rows, columns] = [height / patch, width / patch];
  const patches = images
    .reshape(batch, channels, rows, patch, columns, patch)
    .permute(0, 2, 4, 1, 3, 5)
    .reshape(batch, rows * columns, channels * patch * patch);
  return kept === undefined ? patches : rowsOf(patches, kept);
}

/** `[B, P, X]` and int64 `[B, K]` -> `[B, K, X]` */
function rowsOf(x: Tensor, kept: Tensor): Tensor {
  const [batch, places, width] = x.shape as [number, number, number];
  const first_B1 = arange(0, batch, { device: x.device }).mul(places).unsqueeze(1);
  return x.flatten(0, 1).indexSelect(0, kept.add(first_B1).flatten()).view(batch, kept.sizeOf(1), width);
}

export class VisionTransformer extends Module {
  readonly #imageSize: number;
  readonly #classToken: Tensor;
  readonly #positions: Tensor;
  readonly #patches: PatchEmbedding;
  readonly #normBefore: LayerNorm | undefined;
  readonly #blocks: readonly Block[];
  readonly #norm: LayerNorm;
  /** Whether blocks are computed again in the backward pass instead of being remembered, see `recomputed`. */
  recomputes = false;

  constructor(config: VisionConfig) {
    super();
    const { form = "laclip", imageSize, patchSize, width, depth } = config;
    const names = forms[form];
    this.#imageSize = imageSize;
    const tokens = (imageSize / patchSize) ** 2 + 1;
    const drawn = (shape: number[]): Tensor =>
      form === "laclip" ? init.truncatedNormal(empty([1, ...shape]), 0.02) : init.normal(empty(shape), width ** -0.5);
    this.#classToken = this.parameter(names.classToken, drawn(form === "laclip" ? [1, width] : [width]));
    this.#positions = this.parameter(names.positions, drawn([tokens, width]));
    this.#patches = this.child(names.patches, new PatchEmbedding(config));
    this.#normBefore = names.normBefore && this.child(names.normBefore, new LayerNorm(width, { eps: names.eps }));
    this.#blocks = this.children(names.blocks, depth, () => new Block(config));
    this.#norm = this.child(names.normAfter, new LayerNorm(width, { eps: names.eps }));
  }

  /**
   * @param images `[B, 3, S, S]` float32, normalised; or bytes, which are normalised here
   * @param kept int64 `[B, K]`: the patches of each image that are looked at, counted row by row. Default all
   * @returns `[B, W]` float32: what a linear probe reads, before the projection
   * @throws UsageError when the images have not the model's size
   */
  forward(images: Tensor | ByteImages, kept?: Tensor): Tensor {
    const size = this.#imageSize;
    const [{ shape }, expected] = images instanceof Tensor ? [images, [3, size, size]] : [images.bytes, [size, size, 3]];
    if (shape.length !== 4 || shape.slice(1).join() !== expected.join()) {
      throw new UsageError(`Images of shape [${shape.join(", ")}]: the model takes [batch, ${expected.join(", ")}].`);
    }
    if (!(images instanceof Tensor) && images.bytes.dtype !== "uint8") {
      throw new UsageError(`Bytes of images in ${images.bytes.dtype}: the model takes uint8, and normalises them itself.`);
    }
    return scope(() => {
      const x_BNW = scope(() => this.#embed(images, kept));
      const x_B1W = throughBlocks(this.#blocks, x_BNW, (block, x) => this.#through(block, x));
      return this.#norm.forward(summed(x_B1W).squeeze(1));
    });
  }

  #through(block: Block, x: Residual): Residual {
    // Only the class token is read at the end: the last block need not compute the others, some 6 % of a B/16 step.
    const forward = (stream: Residual): Residual => (block === this.#blocks.at(-1) ? block.forwardFirst(stream) : block.forward(stream));
    if (!this.recomputes) return forward(x);
    // Of a block that is computed again its input is kept: one tensor is less than sum and change.
    return [recomputed((sum) => summed(forward([sum])), [summed(x)], block.parameters())];
  }

  /** -> `[B, N, W]` float32 */
  #embed(images: Tensor | ByteImages, kept: Tensor | undefined): Tensor {
    const patches_BPW = this.#patches.forward(images, kept);
    const classToken_B1W = this.#classToken.view(1, 1, -1).expand(patches_BPW.sizeOf(0), -1, -1);
    const tokens_BNW = cat([classToken_B1W, patches_BPW.to("float32")], 1);
    const embedded = tokens_BNW.add(kept === undefined ? this.#positions : this.#positionsOf(kept));
    return this.#normBefore?.forward(embedded) ?? embedded;
  }

  /** int64 `[B, K]` -> `[B, K + 1, W]`: the positions of the class token and of these patches. */
  #positionsOf(kept: Tensor): Tensor {
    const classToken_B1 = zeros([kept.sizeOf(0), 1], { dtype: "int64", device: kept.device });
    return ops.embedding(this.#positions.flatten(0, -2), cat([classToken_B1, kept.add(1)], 1));
  }
}
