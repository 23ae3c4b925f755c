/** What the towers say of some images of a batch, of their texts, and of further views where there are any. */
import { normalizeImages } from "../models/index.ts";
import { Tensor, autocast, scope } from "../torch/index.ts";
import type { StepContext, StepInput } from "./step.ts";

/** float32 throughout, or matrix products in bfloat16 or float16. */
export type Precision = "fp32" | "bf16" | "fp16";

/** Runs `body` in the given precision; see `autocast`. */
export function inPrecision<T>(precision: Precision, device: string, body: () => T): T {
  if (precision === "fp32") return body();
  return autocast(device, precision === "bf16" ? "bfloat16" : "float16", body);
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

/** Of the images from `from` to `to` (without it); float32 unless autocast makes it something smaller. */
export function towerFeatures(context: StepContext, input: StepInput, from: number, to: number): TowerFeatures {
  const { model, preprocessing, precision, device } = context;
  const { batchSize, tokenLength, textsPerImage = 1, views } = input;
  const { imageSize } = model.config.vision;
  const bytes = imageSize * imageSize * 3;
  const pixels = (all: Uint8Array, first: number): Tensor =>
    normalizeImages(all.subarray((first + from) * bytes, (first + to) * bytes), to - from, imageSize, preprocessing, device);
  const each = textsPerImage * tokenLength;
  return scope(() => {
    const tokens = Tensor.from(input.tokens.subarray(from * each, to * each), [(to - from) * textsPerImage, tokenLength], { device });
    return inPrecision(precision, device, (): TowerFeatures => {
      const features = { images: model.encodeImages(pixels(input.images, 0)), texts: model.encodeTexts(tokens.to("int64")) };
      if (views === undefined || model.viewHead === undefined) return features;
      const [firstViews, secondViews] = [model.imageFeatures(pixels(views, 0)), model.imageFeatures(pixels(views, batchSize))];
      return { ...features, firstViews, secondViews };
    });
  });
}
