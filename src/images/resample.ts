/**
 * Pillow's resampling (libImaging/Resample.c), bit by bit.
 *
 * The addon does it where there is one (native/images/src/resample.cc); what stands here gives the same bits without.
 *
 * Two passes, across and then down. Each output pixel is a weighted mean of the input pixels under a kernel that is widened when
 * shrinking (so it is antialiased). Weights are rounded to 22 fractional bits, sums are rounded to bytes between the passes; features
 * of a model are therefore the same as with the pixels that Python's tools would have given it.
 */
import { invariant } from "../support/index.ts";
import type { Pixels } from "./decode.ts";
import { imagesAddon, outcomes, writePlan } from "./native.ts";

/** The kernel of a resize, under Pillow's names. */
export type Interpolation = "bilinear" | "bicubic";

/** A rectangle in pixels; `x`, `y` is its upper left corner. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

const fractionBits = 22;

const kernels: Record<Interpolation, { support: number; weight: (x: number) => number }> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    weight: (value) => {
      const a = -0.5;
      const x = Math.abs(value);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
      return 0;
    },
  },
};

/**
 * Cuts `box` out of an image and resizes it: Pillow's `image.crop(box).resize((width, height), kernel)`.
 *
 * @param window compute only this part of the resized image; the same pixels as cutting it out afterwards. Default: all of it.
 * @returns `[window.height, window.width, 3]` RGB
 */
export function resizePillow(
  pixels: Pixels,
  box: Box,
  width: number,
  height: number,
  interpolation: Interpolation,
  window: Box = { x: 0, y: 0, width, height },
): Uint8Array {
  const inside = box.x >= 0 && box.y >= 0 && box.x + box.width <= pixels.width && box.y + box.height <= pixels.height;
  invariant(inside && box.width > 0 && box.height > 0, `crop ${JSON.stringify(box)} outside of ${pixels.width} x ${pixels.height}`);
  const addon = imagesAddon();
  if (addon === undefined) return resizePlain(pixels, box, width, height, interpolation, window);
  const result = new Uint8Array(window.width * window.height * 3);
  const plan = writePlan("pixels", pixels.width, pixels.height, Infinity, [{ box, width, height, window, interpolation }]);
  const outcome = addon.renderNow(plan, pixels.data, result);
  invariant(outcome === outcomes.done, `resizing ${pixels.width} x ${pixels.height} pixels ended with outcome ${outcome}`);
  return result;
}

/** The same without the addon. */
export function resizePlain(
  pixels: Pixels,
  box: Box,
  width: number,
  height: number,
  interpolation: Interpolation,
  window: Box,
): Uint8Array {
  const across = weights(box.width, width, interpolation, window.x, window.width);
  const down = weights(box.height, height, interpolation, window.y, window.height);
  // Only the rows that the second pass will look at.
  const firstRow = down.first[0]!;
  const lastRow = down.first[window.height - 1]! + down.count[window.height - 1]!;
  const rows = lastRow - firstRow;
  const start = ((box.y + firstRow) * pixels.width + box.x) * 3;
  const between = new Uint8Array(rows * window.width * 3);
  passAcross(pixels.data, start, pixels.width * 3, rows, across, window.width, between);
  const result = new Uint8Array(window.width * window.height * 3);
  passDown(between, firstRow, window.width * 3, down, window.height, result);
  return result;
}

interface Weights {
  /** First input pixel under the kernel of each output pixel. */
  first: Int32Array;
  /** Number of input pixels under it. */
  count: Int32Array;
  /** `[outputs, taps]` fixed-point weights. */
  values: Int32Array;
  taps: number;
}

function weights(inputSize: number, outputSize: number, interpolation: Interpolation, from: number, outputs: number): Weights {
  const kernel = kernels[interpolation];
  const scale = inputSize / outputSize;
  const stretch = Math.max(scale, 1);
  const support = kernel.support * stretch;
  const taps = Math.ceil(support) * 2 + 1;
  const inverse = 1 / stretch;
  const first = new Int32Array(outputs);
  const count = new Int32Array(outputs);
  const values = new Int32Array(outputs * taps);
  const exact = new Float64Array(taps);
  for (let i = 0; i < outputs; i++) {
    const center = (from + i + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - support + 0.5));
    const high = Math.min(inputSize, Math.trunc(center + support + 0.5));
    let sum = 0;
    for (let k = low; k < high; k++) {
      exact[k - low] = kernel.weight((k - center + 0.5) * inverse);
      sum += exact[k - low]!;
    }
    for (let k = 0; k < high - low; k++) {
      const share = (sum === 0 ? exact[k]! : exact[k]! / sum) * 2 ** fractionBits;
      values[i * taps + k] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    }
    first[i] = low;
    count[i] = high - low;
  }
  return { first, count, values, taps };
}

const half = 1 << (fractionBits - 1);

// Both passes treat up to four taps, the usual case, in one expression: with loops over the taps they take twice as long.
// Taps that are not there get weight 0 and the place of the first, which is always inside of the image.

function passAcross(
  source: Uint8Array,
  start: number,
  stride: number,
  rows: number,
  { first, count, values, taps }: Weights,
  width: number,
  target: Uint8Array,
): void {
  for (let x = 0; x < width; x++) {
    const base = x * taps;
    const found = count[x]!;
    let at = start + first[x]! * 3;
    let out = x * 3;
    if (found > 4) {
      for (let y = 0; y < rows; y++) {
        let red = half;
        let green = half;
        let blue = half;
        let from = at;
        for (let k = base; k < base + found; k++) {
          const weight = values[k]!;
          red = (red + Math.imul(source[from]!, weight)) | 0;
          green = (green + Math.imul(source[from + 1]!, weight)) | 0;
          blue = (blue + Math.imul(source[from + 2]!, weight)) | 0;
          from += 3;
        }
        target[out] = clip(red);
        target[out + 1] = clip(green);
        target[out + 2] = clip(blue);
        at += stride;
        out += width * 3;
      }
      continue;
    }
    const [w0, w1, w2, w3] = [values[base]!, tap(values, base, 1, found), tap(values, base, 2, found), tap(values, base, 3, found)];
    const [s1, s2, s3] = [found > 1 ? 3 : 0, found > 2 ? 6 : 0, found > 3 ? 9 : 0];
    for (let y = 0; y < rows; y++) {
      for (let channel = 0; channel < 3; channel++) {
        const from = at + channel;
        const sum =
          half +
          Math.imul(source[from]!, w0) +
          Math.imul(source[from + s1]!, w1) +
          Math.imul(source[from + s2]!, w2) +
          Math.imul(source[from + s3]!, w3);
        target[out + channel] = clip(sum | 0);
      }
      at += stride;
      out += width * 3;
    }
  }
}

function passDown(
  source: Uint8Array,
  firstRow: number,
  stride: number,
  { first, count, values, taps }: Weights,
  height: number,
  target: Uint8Array,
): void {
  const sums = new Int32Array(stride);
  for (let y = 0; y < height; y++) {
    const found = count[y]!;
    const out = y * stride;
    // The last group writes bytes, those before it add up what they find.
    for (let k = 0; k < found; k += 4) {
      const base = y * taps + k;
      const left = found - k;
      const [w0, w1, w2, w3] = [values[base]!, tap(values, base, 1, left), tap(values, base, 2, left), tap(values, base, 3, left)];
      const r0 = (first[y]! + k - firstRow) * stride;
      const r1 = left > 1 ? r0 + stride : r0;
      const r2 = left > 2 ? r0 + 2 * stride : r0;
      const r3 = left > 3 ? r0 + 3 * stride : r0;
      if (found <= 4) {
        for (let x = 0; x < stride; x++) {
          const sum =
            half +
            Math.imul(source[r0 + x]!, w0) +
            Math.imul(source[r1 + x]!, w1) +
            Math.imul(source[r2 + x]!, w2) +
            Math.imul(source[r3 + x]!, w3);
          target[out + x] = clip(sum | 0);
        }
        continue;
      }
      if (k === 0) sums.fill(half);
      for (let x = 0; x < stride; x++) {
        sums[x] =
          sums[x]! +
          Math.imul(source[r0 + x]!, w0) +
          Math.imul(source[r1 + x]!, w1) +
          Math.imul(source[r2 + x]!, w2) +
          Math.imul(source[r3 + x]!, w3);
      }
      if (left <= 4) for (let x = 0; x < stride; x++) target[out + x] = clip(sums[x]!);
    }
  }
}

function tap(values: Int32Array, base: number, k: number, found: number): number {
  return k < found ? values[base + k]! : 0;
}

function clip(sum: number): number {
  const value = sum >> fractionBits;
  return (value & 255) === value ? value : value < 0 ? 0 : 255;
}
