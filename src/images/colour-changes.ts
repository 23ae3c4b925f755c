/**
 * Changes of colour that make views of an image differ: torchvision's ColorJitter, RandomGrayscale and a Gaussian blur, on Pillow's images.
 *
 * The bytes are Pillow's (Blend.c, Convert.c, BoxBlur.c): its single precision and its truncations are kept. The addon does the same
 * (native/images/src/changes.cc); what stands here works without it. So does the device that a model trains on, many views at a time
 * (src/training/view-colours.ts), from the tables and weights that are computed here.
 */

/** All kinds. The addon knows each by its place (native/images/src/view.h). */
export const changeKinds = ["brightness", "contrast", "saturation", "hue", "grayscale", "blur"] as const;

/** One change of a view's colours. */
export interface ColourChange {
  kind: (typeof changeKinds)[number];
  /**
   * Brightness, contrast, saturation: a factor, 1 changes nothing. Hue: a shift in turns, -0.5 to 0.5. Blur: Pillow's radius, which is the
   * Gaussian's standard deviation in pixels. Grayscale takes no notice of it.
   */
  amount: number;
}

/** Changes RGB pixels in place. @param pixels `[height, width, 3]` */
export function changeColours(pixels: Uint8Array, width: number, height: number, changes: readonly ColourChange[]): void {
  for (const { kind, amount } of changes) {
    if (kind === "brightness") blendAll(pixels, 0, amount);
    else if (kind === "contrast") blendAll(pixels, meanLuma(pixels), amount);
    else if (kind === "saturation") saturate(pixels, amount);
    else if (kind === "hue") turnHue(pixels, amount);
    else if (kind === "grayscale") toGray(pixels);
    else blur(pixels, width, height, amount);
  }
}

const float = Math.fround;

function luma(pixels: Uint8Array, at: number): number {
  return (pixels[at]! * 19595 + pixels[at + 1]! * 38470 + pixels[at + 2]! * 7471 + 0x8000) >> 16;
}

/** From `base` towards `value` and beyond, in single precision, cut to a byte. */
function blend(base: number, value: number, factor: number): number {
  const mixed = float(base + float(factor * (value - base)));
  return mixed <= 0 ? 0 : mixed >= 255 ? 255 : Math.trunc(mixed);
}

function blendAll(pixels: Uint8Array, base: number, amount: number): void {
  const factor = float(amount);
  const table = Uint8Array.from({ length: 256 }, (_, value) => blend(base, value, factor));
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[pixels[i]!]!;
}

function meanLuma(pixels: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < pixels.length; at += 3) sum += luma(pixels, at);
  return Math.trunc(sum / (pixels.length / 3) + 0.5);
}

function saturate(pixels: Uint8Array, amount: number): void {
  const factor = float(amount);
  for (let at = 0; at < pixels.length; at += 3) {
    const gray = luma(pixels, at);
    for (let c = at; c < at + 3; c++) pixels[c] = blend(gray, pixels[c]!, factor);
  }
}

function toGray(pixels: Uint8Array): void {
  for (let at = 0; at < pixels.length; at += 3) pixels.fill(luma(pixels, at), at, at + 3);
}

/** The shift is cut to a byte first, towards zero, and hues go round. */
function turnHue(pixels: Uint8Array, turns: number): void {
  const shift = hueShift(turns) << 16;
  for (let at = 0; at < pixels.length; at += 3) {
    const turned = rgbOf((hsvOf((pixels[at]! << 16) | (pixels[at + 1]! << 8) | pixels[at + 2]!) + shift) & 0xffffff);
    pixels[at] = turned >> 16;
    pixels[at + 1] = (turned >> 8) & 255;
    pixels[at + 2] = turned & 255;
  }
}

/** What a shift adds to the byte of a hue, which goes round. @returns 0..255 */
export function hueShift(turns: number): number {
  return Math.trunc(turns * 255) & 255;
}

/**
 * Pillow's HSV of a colour, each part a byte.
 * @param rgb red in the third byte, green in the second, blue in the lowest
 * @returns hue in the third byte, saturation in the second, value in the lowest. A gray has hue and saturation 0
 */
export function hsvOf(rgb: number): number {
  const [red, green, blue] = [rgb >> 16, (rgb >> 8) & 255, rgb & 255];
  const most = Math.max(red, green, blue);
  const range = most - Math.min(red, green, blue);
  if (range === 0) return most;
  const saturation = Math.trunc(float(range / most) * 255);
  const [noRed, noGreen, noBlue] = [float((most - red) / range), float((most - green) / range), float((most - blue) / range)];
  const sixths = red === most ? float(noBlue - noGreen) : float(green === most ? 2 + noRed - noBlue : 4 + noGreen - noRed);
  const hue = Math.trunc(float((sixths / 6 + 1) % 1) * 255);
  return (hue << 16) | (saturation << 8) | most;
}

/** The way back: the colour of hue, saturation and value; bytes lie as in `hsvOf`. */
export function rgbOf(hsv: number): number {
  const value = hsv & 255;
  const sixths = ((hsv >> 16) * 6) / 255;
  const sector = Math.floor(sixths);
  const rest = float(sixths - sector);
  const share = float(((hsv >> 8) & 255) / 255);
  const p = Math.round(value * (1 - share));
  const q = Math.round(value * (1 - float(share * rest)));
  const t = Math.round(value * (1 - share * (1 - rest)));
  switch (sector % 6) {
    case 0:
      return (value << 16) | (t << 8) | p;
    case 1:
      return (q << 16) | (value << 8) | p;
    case 2:
      return (p << 16) | (value << 8) | t;
    case 3:
      return (p << 16) | (q << 8) | value;
    case 4:
      return (t << 16) | (p << 8) | value;
    default:
      return (value << 16) | (p << 8) | q;
  }
}

/** Passes of the box along each side. */
export const blurPasses = 3;

/** The box that, passed three times, comes closest to a Gaussian. */
export interface BlurBox {
  /** Whole pixels to each side. */
  around: number;
  /** Weight of these and of the middle, and that of the pixel beyond them on each side, in 2^-24. */
  inner: number;
  outer: number;
}

/** The box for a blur. @param radius the Gaussian's standard deviation in pixels */
export function blurBox(radius: number): BlurBox {
  const deviation = float(radius);
  const variance = float(float(deviation * deviation) / blurPasses);
  const length = float(Math.sqrt(12 * variance + 1));
  const whole = float(Math.floor((length - 1) / 2));
  const above = float(float(2 * whole + 1) * float(float(whole * float(whole + 1)) - float(3 * variance)));
  const below = float(6 * float(variance - float(float(whole + 1) * float(whole + 1))));
  const reach = float(whole + float(above / below));
  const around = Math.trunc(reach);
  const inner = Math.trunc(float(2 ** 24 / float(float(reach * 2) + 1)));
  return { around, inner, outer: Math.trunc((2 ** 24 - (around * 2 + 1) * inner) / 2) };
}

/** Three passes of a box with a share of a pixel at its ends, across and then down. */
function blur(pixels: Uint8Array, width: number, height: number, radius: number): void {
  const box = blurBox(radius);
  let from = pixels;
  let to: Uint8Array = new Uint8Array(pixels.length);
  for (let pass = 0; pass < 2 * blurPasses; pass++) {
    const across = pass < blurPasses;
    for (let line = 0; line < (across ? height * 3 : width * 3); line++) {
      const start = across ? Math.floor(line / 3) * width * 3 + (line % 3) : line;
      blurLine(from, to, start, across ? 3 : width * 3, across ? width : height, box);
    }
    [from, to] = [to, from];
  }
}

function blurLine(from: Uint8Array, to: Uint8Array, start: number, step: number, length: number, { around, inner, outer }: BlurBox): void {
  const at = (i: number): number => from[start + Math.min(Math.max(i, 0), length - 1) * step]!;
  let sum = 0;
  for (let i = -around; i <= around; i++) sum += at(i);
  for (let i = 0; i < length; i++) {
    const after = at(i + around + 1);
    to[start + i * step] = (sum * inner + (at(i - around - 1) + after) * outer + 2 ** 23) / 2 ** 24;
    sum += after - at(i - around);
  }
}
