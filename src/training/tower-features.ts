/** What the towers say of some images of a batch, of their texts, and of further views where there are any. */
import { type Tower, normalizeImages } from "../models/index.ts";
import { Tensor, autocast, scope } from "../torch/index.ts";
import type { StepContext, StepInput } from "./step.ts";

/** float32 throughout, or matrix products in bfloat16. */
export type Precision = "fp32" | "bf16";

/** Runs `body` in the given precision; see `autocast`. */
export function inPrecision<T>(precision: Precision, device: string, body: () => T): T {
  return precision === "bf16" ? autocast(device, "bfloat16", body) : body();
}

/** Shapes: N images, K texts of each, D joint width, W width of the image tower. */
export interface TowerFeatures {
  /** `[N, D]` */
  images: Tensor;
  /** `[N x K, D]` */
  texts: Tensor;
  /** `[N, W]` each, as they go into the view head */
  firstViews?: Tensor;
  secondViews?: Tensor;
}

/** Of the images from `from` to `to` (without it); float32 unless autocast makes it bfloat16. */
export function towerFeatures(context: StepContext, input: StepInput, from: number, to: number): TowerFeatures {
  return featuresOf(context, input, from, to, { image: true, text: true }) as TowerFeatures;
}

/** The same of those towers alone that are asked for. */
export function featuresOf(
  context: StepContext,
  input: StepInput,
  from: number,
  to: number,
  towers: Readonly<Record<Tower, boolean>>,
): Partial<TowerFeatures> {
  const { model, preprocessing, precision, device } = context;
  const { batchSize, tokenLength, textsPerImage = 1, views, patches } = input;
  const { imageSize } = model.config.vision;
  const bytes = imageSize * imageSize * 3;
  const pixels = (all: Uint8Array, first: number): Tensor =>
    normalizeImages(all.subarray((first + from) * bytes, (first + to) * bytes), to - from, imageSize, preprocessing, device);
  const kept = patches && patches.length / (batchSize * (views === undefined ? 1 : 3));
  const patchesOf = (first: number): Tensor | undefined =>
    patches && Tensor.from(patches.subarray((first + from) * kept!, (first + to) * kept!), [to - from, kept!], { device }).to("int64");
  const each = textsPerImage * tokenLength;
  return scope(() =>
    inPrecision(precision, device, (): Partial<TowerFeatures> => {
      const features: Partial<TowerFeatures> = {};
      if (towers.image) features.images = model.encodeImages(pixels(input.images, 0), patchesOf(0));
      if (towers.text) {
        const shape = [(to - from) * textsPerImage, tokenLength];
        features.texts = model.encodeTexts(Tensor.from(input.tokens.subarray(from * each, to * each), shape, { device }).to("int64"));
      }
      if (!towers.image || views === undefined || model.viewHead === undefined) return features;
      features.firstViews = model.imageFeatures(pixels(views, 0), patchesOf(batchSize));
      features.secondViews = model.imageFeatures(pixels(views, batchSize), patchesOf(2 * batchSize));
      return features;
    }),
  );
}
