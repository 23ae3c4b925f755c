/** What the towers say of some images of a batch, of their texts, and of further views where there are any. */
import { type ByteImages, type TextLayout, type Tower, byteImages } from "../models/index.ts";
import { raggedLayout, raggedSize } from "../nn/index.ts";
import { invariant } from "../support/index.ts";
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

/** Those of a whole batch; float32 unless autocast makes them something smaller. */
export function towerFeatures(context: StepContext, input: StepInput): TowerFeatures {
  return featuresOf(context, input, ["image", "text"]) as TowerFeatures;
}

/**
 * The same of some towers alone.
 * @param members places of images in the batch; their texts are cut to the longest of theirs. Default: the whole batch as it is
 */
export function featuresOf(
  { model, preprocessing, precision, device }: StepContext,
  input: StepInput,
  towers: readonly Tower[],
  members?: readonly number[],
): Partial<TowerFeatures> {
  const { batchSize, tokenLength, textsPerImage = 1, views, viewColours, patches, there } = input;
  invariant(
    viewColours === undefined || there !== undefined,
    "the colours of views are still to be changed: bring the batch to the device",
  );
  const { imageSize } = model.config.vision;
  const count = members?.length ?? batchSize;
  const bytes = imageSize * imageSize * 3;
  const chosen = <T extends Uint8Array | Int32Array>(all: T, width: number): T => (members ? rowsOf(all, width, members) : all);
  const chosenThere = (all: Tensor, which = 0): Tensor => {
    const part = all.slice(0, which * batchSize, (which + 1) * batchSize);
    if (members === undefined) return part;
    return part.indexSelect(0, Tensor.from(BigInt64Array.from(members, BigInt), [count], { device }));
  };
  /** Pixels of the images, or of one view and of the other. */
  const pixels = (which: 0 | 1 | 2): ByteImages => {
    const from = (which - 1) * batchSize * bytes;
    const here = (): Uint8Array => chosen(which === 0 ? input.images : views!.subarray(from, from + batchSize * bytes), bytes);
    const wanted = there === undefined ? here() : which === 0 ? chosenThere(there.images) : chosenThere(there.views!, which - 1);
    return wanted instanceof Tensor ? { bytes: wanted, preprocessing } : byteImages(wanted, count, imageSize, preprocessing, device);
  };
  const viewed = (which: 1 | 2): Tensor => model.imageFeatures(pixels(which), kept(which));
  /** Patches that are looked at: those of the images, then of one view and of the other. */
  const kept = (which: number): Tensor | undefined => {
    if (patches === undefined) return undefined;
    if (there?.patches !== undefined) return chosenThere(there.patches, which).to("int64");
    const each = patches.length / (batchSize * (views === undefined ? 1 : 3));
    const own = chosen(patches.subarray(which * batchSize * each, (which + 1) * batchSize * each), each);
    return Tensor.from(own, [count, each], { device }).to("int64");
  };
  const tokens = (): [ids: Tensor, texts: TextLayout] => {
    const rows = chosen(input.tokens, textsPerImage * tokenLength);
    const all =
      there === undefined
        ? Tensor.from(rows, [count * textsPerImage, tokenLength], { device })
        : chosenThere(there.tokens.view(batchSize, -1)).view(-1, tokenLength);
    const lengths = textLengths(rows, tokenLength);
    const longest = members ? Math.max(...lengths) : tokenLength;
    const size = raggedSize(lengths, longest, input.tokenStep);
    if (members === undefined && there !== undefined) return [all.to("int64"), { layout: there.texts, size }];
    const layout = raggedLayout(lengths, longest, input.tokenStep);
    return [all.slice(1, 0, longest).to("int64"), { layout: Tensor.from(layout, [layout.length], { device }), size }];
  };
  return scope(() =>
    inPrecision(precision, device, (): Partial<TowerFeatures> => {
      const features: Partial<TowerFeatures> = {};
      if (towers.includes("image")) features.images = model.encodeImages(pixels(0), kept(0));
      if (towers.includes("text")) features.texts = model.encodeTexts(...tokens());
      if (!towers.includes("image") || views === undefined || model.viewHead === undefined) return features;
      return { ...features, firstViews: viewed(1), secondViews: viewed(2) };
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
