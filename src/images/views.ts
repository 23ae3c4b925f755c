/**
 * From an image file to the square that a model sees: a random crop in training, the centre in evaluation.
 *
 * Boxes follow torchvision's RandomResizedCrop, Resize and CenterCrop. Pixels stay bytes: they are scaled and normalised on the device.
 */
import type { Random } from "../support/index.ts";
import { decodeImage, type DecodeOptions, type Pixels } from "./decode.ts";
import { type Box, type Interpolation, resizePillow } from "./resample.ts";

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

export interface TrainingImageOptions extends CropOptions, DecodeOptions {
  /** Side of the result in pixels. */
  size: number;
  /** Default "bilinear" (LaCLIP). */
  interpolation?: Interpolation;
  /** Decides the crop. */
  random: Random;
}

/** A random crop of an image at the model's size: `[size, size, 3]` RGB. @throws DataError when it can't be decoded */
export async function trainingImage(input: string | Uint8Array, options: TrainingImageOptions): Promise<Uint8Array> {
  return trainingView(await decodeImage(input, options), options);
}

/** The same of pixels that are already decoded. */
export function trainingView(pixels: Pixels, { size, interpolation = "bilinear", random, ...crop }: TrainingImageOptions): Uint8Array {
  return resizePillow(pixels, randomResizedCropBox(random, pixels.width, pixels.height, crop), size, size, interpolation);
}

export interface EvaluationImageOptions extends DecodeOptions {
  /** Side of the result in pixels. */
  size: number;
  /** Default "bilinear". */
  interpolation?: Interpolation;
}

/** The centre of an image whose shorter side became `size`: `[size, size, 3]` RGB. @throws DataError when it can't be decoded */
export async function evaluationImage(input: string | Uint8Array, options: EvaluationImageOptions): Promise<Uint8Array> {
  return evaluationView(await decodeImage(input, options), options);
}

/** The same of pixels that are already decoded: torchvision's Resize(size) and CenterCrop(size). */
export function evaluationView(pixels: Pixels, { size, interpolation = "bilinear" }: EvaluationImageOptions): Uint8Array {
  const long = Math.trunc((size * Math.max(pixels.width, pixels.height)) / Math.min(pixels.width, pixels.height));
  const width = pixels.width <= pixels.height ? size : long;
  const height = pixels.width <= pixels.height ? long : size;
  const window = { x: roundHalfEven((width - size) / 2), y: roundHalfEven((height - size) / 2), width: size, height: size };
  const whole = { x: 0, y: 0, width: pixels.width, height: pixels.height };
  return resizePillow(pixels, whole, width, height, interpolation, window);
}

/** Python's round(): a half goes to the even neighbour. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
