/**
 * CLIP (Radford et al. 2021): two towers, two projections into one space, one learned scale.
 *
 * Weight names are those of LaCLIP's and SLIP's checkpoints, or of open_clip's, by the form of the image tower. Knows nothing of captions,
 * losses or training.
 */
import { z } from "zod";
import { Embedding, LayerNorm, Module, init } from "../nn/index.ts";
import { UsageError } from "../support/index.ts";
import { Tensor, empty, full, manualSeed, scope } from "../torch/index.ts";
import { clipConfigSchema, type ClipConfig } from "./config.ts";
import type { ByteImages } from "./preprocessing.ts";
import { type TextLayout, TextTransformer, type TextTowerParts, encodeTokens } from "./text-transformer.ts";
import { ViewHead } from "./view-head.ts";
import { VisionTransformer } from "./vision-transformer.ts";

/** The logit scale starts at 1 / 0.07, as in CLIP. */
const initialScale = 1 / 0.07;

function checked(config: ClipConfig): ClipConfig {
  const parsed = clipConfigSchema.safeParse(config);
  if (!parsed.success) throw new UsageError(`These sizes make no model:\n${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/**
 * A CLIP model: images and texts to features `[batch, jointWidth]`, not normalised, and the logarithm of the scale of their similarities.
 * Float32 on the CPU until it is moved.
 */
export class Clip extends Module {
  readonly config: ClipConfig;
  readonly #visual: VisionTransformer;
  readonly #text: TextTowerParts;
  readonly #imageProjection: Tensor;
  readonly #textProjection: Tensor;
  /** Logarithm of the factor on cosine similarities, a scalar parameter. */
  readonly logitScale: Tensor;
  /** What is added to every scaled similarity, a scalar parameter; only where the configuration has it. */
  readonly logitBias: Tensor | undefined;
  /** For SimCLR's loss; only where the configuration has it. */
  readonly viewHead: ViewHead | undefined;

  /**
   * @param seed seeds the library's generator before the weights are drawn; without it they follow from its present state
   * @throws UsageError naming the sizes that make no model
   */
  constructor(config: ClipConfig, { seed }: { seed?: number } = {}) {
    super();
    this.config = checked(config);
    const { vision, text, jointWidth } = this.config;
    if (seed !== undefined) manualSeed(seed);
    this.#visual = this.child("visual", new VisionTransformer(vision));
    const transformer = this.child("transformer", new TextTransformer(text));
    const embedding = this.child("token_embedding", new Embedding(text.vocabularySize, text.width));
    init.normal(embedding.weight, 0.02);
    const positions = this.parameter("positional_embedding", init.normal(empty([text.contextLength, text.width]), 0.01));
    const norm = this.child("ln_final", new LayerNorm(text.width));
    this.#text = { config: text, embedding, positions, transformer, norm };
    const projection = vision.form === "open-clip" ? "visual.proj" : "image_projection";
    this.#imageProjection = this.parameter(projection, init.normal(empty([vision.width, jointWidth]), vision.width ** -0.5));
    this.#textProjection = this.parameter("text_projection", init.normal(empty([text.width, jointWidth]), text.width ** -0.5));
    this.logitScale = this.parameter("logit_scale", full([], Math.log(this.config.logitScale ?? initialScale)));
    const { logitBias, viewHead } = this.config;
    this.logitBias = logitBias === undefined ? undefined : this.parameter("logit_bias", full([], logitBias));
    // Last, so that the towers begin with the same weights with and without it.
    this.viewHead = viewHead && this.child("image_mlp", new ViewHead(vision.width, viewHead));
  }

  /**
   * Whether the blocks of both towers are computed again in the backward pass instead of being remembered, see `recomputed`: less memory,
   * more time, the same gradients. Default false; without gradients it changes nothing.
   */
  set recomputesBlocks(on: boolean) {
    this.#visual.recomputes = on;
    this.#text.transformer.recomputes = on;
  }
  get recomputesBlocks(): boolean {
    return this.#visual.recomputes || this.#text.transformer.recomputes;
  }

  /**
   * `[B, 3, S, S]` float32, normalised, or bytes -> `[B, width]` float32, the pre-projection feature that probes read
   * @param kept int64 `[B, K]`: the patches of each image that are looked at, see `VisionTransformer`. Default all
   */
  imageFeatures(images: Tensor | ByteImages, kept?: Tensor): Tensor {
    return this.#visual.forward(images, kept);
  }

  /** `[B, 3, S, S]` float32, normalised, or bytes -> `[B, joint width]`, not normalised. @param kept see `imageFeatures` */
  encodeImages(images: Tensor | ByteImages, kept?: Tensor): Tensor {
    return scope(() => this.imageFeatures(images, kept).matmul(this.#imageProjection));
  }

  /** `[B, width]` of `imageFeatures` -> `[B, joint width]`, not normalised */
  projectImages(features: Tensor): Tensor {
    return features.matmul(this.#imageProjection);
  }

  /**
   * int64 `[B, L]` -> `[B, joint width]`, not normalised
   * @param texts which tokens are theirs, see `encodeTokens`. Default: it is read from the ids
   */
  encodeTexts(ids: Tensor, texts?: TextLayout): Tensor {
    return scope(() => encodeTokens(this.#text, ids, texts).matmul(this.#textProjection));
  }
}
