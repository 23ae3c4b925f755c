/**
 * From an image file to the square that a model sees: a random crop in training, the centre in evaluation.
 *
 * Boxes follow torchvision's RandomResizedCrop, Resize and CenterCrop. Pixels stay bytes: they are scaled and normalised on the device.
 */
import type { Random } from "../support/index.ts";
import type { DecodeOptions, Pixels } from "./decode.ts";
import type { View } from "./native.ts";
import { renderInto, type RenderOptions } from "./render.ts";
import { type Box, type Interpolation, resizePillow } from "./resample.ts";

/** Range of a random crop. */
export interface CropOptions {
  /** Range of the crop's share of the image's area. Default [0.5, 1] (LaCLIP). */
  scale?: readonly [number, number];
  /** Range of the crop's width / height. Default [3/4, 4/3]. */
  ratio?: readonly [number, number];
}

/** A random crop (torchvision's RandomResizedCrop.get_params): up to ten tries, then the largest centred box of an allowed shape. */
export function randomResizedCropBox(random: Random, width: number, height: number, options: CropOptions = {}): Box {
  const { scale = [0.5, 1], ratio = [3 / 4, 4 / 3] } = options;
  const [lowest, highest] = [Math.log(ratio[0]), Math.log(ratio[1])];
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = width * height * (scale[0] + (scale[1] - scale[0]) * random.uniform());
    const shape = Math.exp(lowest + (highest - lowest) * random.uniform());
    const w = roundHalfEven(Math.sqrt(area * shape));
    const h = roundHalfEven(Math.sqrt(area / shape));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    return { x: random.integer(width - w + 1), y: random.integer(height - h + 1), width: w, height: h };
  }
  const shape = width / height;
  const w = shape > ratio[1] ? Math.max(1, roundHalfEven(height * ratio[1])) : width;
  const h = shape < ratio[0] ? Math.max(1, roundHalfEven(width / ratio[0])) : height;
  return { x: Math.floor((width - w) / 2), y: Math.floor((height - h) / 2), width: w, height: h };
}

/** Size, resize and range of a random crop. */
export interface TrainingImageOptions extends CropOptions, DecodeOptions {
  /** Side of the result in pixels. */
  size: number;
  /** Default "bilinear" (LaCLIP). */
  interpolation?: Interpolation;
  /** Decides the crop. */
  random: Random;
}

/**
 * A random crop of an image at the model's size: `[size, size, 3]` RGB, the pixels of a whole decode.
 * @throws DataError when it can't be decoded
 */
export async function trainingImage(input: string | Uint8Array, options: TrainingImageOptions): Promise<Uint8Array> {
  const target = new Uint8Array(options.size ** 2 * 3);
  await trainingViewInto(input, { ...options, exact: true }, target);
  return target;
}

/** The same of pixels that are already decoded. */
export function trainingView(pixels: Pixels, { size, interpolation = "bilinear", random, ...crop }: TrainingImageOptions): Uint8Array {
  return resizePillow(pixels, randomResizedCropBox(random, pixels.width, pixels.height, crop), size, size, interpolation);
}

/** A random crop that may be mirrored. */
export interface TrainingViewOptions extends TrainingImageOptions, RenderOptions {
  /** Left and right changed places half of the time, drawn after the crop. Default false (LaCLIP). */
  flip?: boolean;
  /**
   * True: the pixels of a whole decode. False lets a JPEG be decoded at a half, a quarter or an eighth where the crop has more than enough
   * pixels, several times faster for large photos. The crop is the same. Default false.
   */
  exact?: boolean;
}

/**
 * A random crop of an image, written into `target`: `[size, size, 3]` RGB. Many may be under way at once, into parts of one batch.
 *
 * @param target at least `size * size * 3` bytes; a part of a SharedArrayBuffer is written where it lies
 * @throws DataError when the image can't be decoded, UsageError when the target is too small
 */
export async function trainingViewInto(input: string | Uint8Array, options: TrainingViewOptions, target: Uint8Array): Promise<void> {
  const { size, interpolation = "bilinear", random, flip = false, exact = false } = options;
  const choose = (width: number, height: number): View[] => {
    const box = randomResizedCropBox(random, width, height, options);
    return [square(box, size, interpolation, flip && random.uniform() < 0.5)];
  };
  await renderInto(input, options, choose, exact, target);
}

/** The view of all of a box at `size` x `size`. */
export function square(box: Box, size: number, interpolation: Interpolation, mirrored = false): View {
  return { box, width: size, height: size, window: { x: 0, y: 0, width: size, height: size }, interpolation, mirrored };
}

/** Size and resize of the centre view. */
export interface EvaluationImageOptions extends DecodeOptions {
  /** Side of the result in pixels. */
  size: number;
  /** Default "bilinear". */
  interpolation?: Interpolation;
}

/** The centre of an image whose shorter side became `size`: `[size, size, 3]` RGB. @throws DataError when it can't be decoded */
export async function evaluationImage(input: string | Uint8Array, options: EvaluationImageOptions): Promise<Uint8Array> {
  const target = new Uint8Array(options.size ** 2 * 3);
  await evaluationImageInto(input, options, target);
  return target;
}

/**
 * The same, written into `target`.
 *
 * @param target at least `size * size * 3` bytes; a part of a SharedArrayBuffer is written where it lies
 * @throws DataError when the image can't be decoded, UsageError when the target is too small
 */
export async function evaluationImageInto(input: string | Uint8Array, options: EvaluationImageOptions, target: Uint8Array): Promise<void> {
  await renderInto(input, options, (width, height) => [centre(width, height, options)], true, target);
}

/** The same of pixels that are already decoded: torchvision's Resize(size) and CenterCrop(size). */
export function evaluationView(pixels: Pixels, options: EvaluationImageOptions): Uint8Array {
  const { box, width, height, interpolation, window } = centre(pixels.width, pixels.height, options);
  return resizePillow(pixels, box, width, height, interpolation, window);
}

function centre(imageWidth: number, imageHeight: number, { size, interpolation = "bilinear" }: EvaluationImageOptions): View {
  const long = Math.trunc((size * Math.max(imageWidth, imageHeight)) / Math.min(imageWidth, imageHeight));
  const width = imageWidth <= imageHeight ? size : long;
  const height = imageWidth <= imageHeight ? long : size;
  const window = { x: roundHalfEven((width - size) / 2), y: roundHalfEven((height - size) / 2), width: size, height: size };
  return { box: { x: 0, y: 0, width: imageWidth, height: imageHeight }, width, height, window, interpolation };
}

/** Python's round(): a half goes to the even neighbour. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
