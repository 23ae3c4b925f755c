/** What the towers say of some images of a batch, of their texts, and of further views where there are any. */
import { type Tower, normalizeImages } from "../models/index.ts";
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

/**
 * float32 unless autocast makes it something smaller.
 * @param members places of images in the batch; their texts are cut to the longest of theirs. Default: the whole batch as it is
 */
export function towerFeatures(context: StepContext, input: StepInput, members?: readonly number[]): TowerFeatures {
  return featuresOf(context, input, { image: true, text: true }, members) as TowerFeatures;
}

/** The same of those towers alone that are asked for. */
export function featuresOf(
  { model, preprocessing, precision, device }: StepContext,
  input: StepInput,
  towers: Readonly<Record<Tower, boolean>>,
  members?: readonly number[],
): Partial<TowerFeatures> {
  const { batchSize, tokenLength, textsPerImage = 1, views, patches } = input;
  const { imageSize } = model.config.vision;
  const count = members?.length ?? batchSize;
  const bytes = imageSize * imageSize * 3;
  const chosen = <T extends Uint8Array | Int32Array>(all: T, width: number): T => (members ? rowsOf(all, width, members) : all);
  const pixels = (all: Uint8Array): Tensor => normalizeImages(chosen(all, bytes), count, imageSize, preprocessing, device);
  const viewed = (which: 0 | 1): Tensor =>
    model.imageFeatures(pixels(views!.subarray(which * batchSize * bytes, (which + 1) * batchSize * bytes)), kept(1 + which));
  /** Patches that are looked at: those of the images, then of one view and of the other. */
  const kept = (which: number): Tensor | undefined => {
    if (patches === undefined) return undefined;
    const each = patches.length / (batchSize * (views === undefined ? 1 : 3));
    const own = chosen(patches.subarray(which * batchSize * each, (which + 1) * batchSize * each), each);
    return Tensor.from(own, [count, each], { device }).to("int64");
  };
  const tokens = (): Tensor => {
    const rows = chosen(input.tokens, textsPerImage * tokenLength);
    const all = Tensor.from(rows, [count * textsPerImage, tokenLength], { device });
    return (members ? all.slice(1, 0, Math.max(...textLengths(rows, tokenLength))) : all).to("int64");
  };
  return scope(() =>
    inPrecision(precision, device, (): Partial<TowerFeatures> => {
      const features: Partial<TowerFeatures> = {};
      if (towers.image) features.images = model.encodeImages(pixels(input.images), kept(0));
      if (towers.text) features.texts = model.encodeTexts(tokens());
      if (!towers.image || views === undefined || model.viewHead === undefined) return features;
      return { ...features, firstViews: viewed(0), secondViews: viewed(1) };
    }),
  );
}

/** Tokens of each row: a text ends with its largest. */
export function textLengths(tokens: Int32Array, tokenLength: number): number[] {
  return Array.from({ length: tokens.length / tokenLength }, (_, row) => {
    const text = tokens.subarray(row * tokenLength, (row + 1) * tokenLength);
    let end = 0;
    for (let i = 1; i < tokenLength; i++) if (text[i]! > text[end]!) end = i;
    return end + 1;
  });
}

/** Some rows of an array, one after the other. @param width items of a row */
function rowsOf<T extends Uint8Array | Int32Array>(all: T, width: number, rows: readonly number[]): T {
  const own = new (all.constructor as new (length: number) => T)(rows.length * width);
  rows.forEach((row, i) => own.set(all.subarray(row * width, (row + 1) * width), i * width));
  return own;
}
