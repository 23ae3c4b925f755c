/**
 * Files and bytes to RGB pixels, the same pixels as Pillow's `Image.open(...).convert("RGB")`.
 *
 * JPEGs are decoded by the addon for images where there is one, PPM and PGM here, everything else by sharp.
 * sharp's decoders agree with Pillow's bit by bit as long as nothing else is done: no colour profile, no rotation by the camera's tag,
 * alpha dropped and not blended. CMYK is the exception: there Pillow multiplies the inks, so that is done here.
 * 16-bit gray keeps the high byte (Pillow clips it to white).
 */
import { readFile } from "node:fs/promises";
import sharp, { type Sharp } from "sharp";
import { DataError, explainReadFailure } from "../support/index.ts";
import { type JpegHeader, jpegHeader } from "./header.ts";
import { decodeNetpbm, netpbmHeader } from "./netpbm.ts";
import { jpegAddon, outcomes, owned, writeDecodePlan } from "./native.ts";

/** An image in memory. */
export interface Pixels {
  width: number;
  height: number;
  /** `[height, width, 3]` RGB, 0..255. */
  data: Uint8Array;
}

/** How an image is decoded, and what messages call it. */
export interface DecodeOptions {
  /** Refuse larger images, by pixel count: a small file can unfold to gigabytes. Default 50 million. */
  maxPixels?: number;
  /** Name of the image in messages. Default: the path, or "image". */
  name?: string;
}

// One image a thread: parallel work comes from many images in flight. Without the cache a file that changed is read anew.
sharp.concurrency(1);
sharp.cache(false);

/**
 * Decodes JPEG, PNG, WebP, GIF (first frame), TIFF, AVIF, PPM or PGM.
 *
 * @param input path of a file, or its bytes
 * @throws DataError with the path and the reason: missing, empty, not an image, cut short, too large
 */
export async function decodeImage(input: string | Uint8Array, options: DecodeOptions = {}): Promise<Pixels> {
  const image = await openImage(input, options);
  const addon = jpegAddon();
  if (addon !== undefined && image.jpeg !== undefined) {
    const { width, height } = image.jpeg;
    const data = new Uint8Array(width * height * 3);
    const whose = image.ownBytes ? owned.both : owned.target;
    const outcome = await addon.render(writeDecodePlan(width, height), image.bytes, data, whose);
    if (outcome === outcomes.done) return { width, height, data };
  }
  return decodeWithSharp(image);
}

/** An image before it is decoded. */
export interface OpenImage {
  name: string;
  bytes: Uint8Array;
  /** True when nobody else knows the bytes. */
  ownBytes: boolean;
  maxPixels: number;
  /** Its header, where it is a JPEG of the kind that the addon decodes. */
  jpeg: JpegHeader | undefined;
}

/** Reads the file, and refuses what is no image, and a JPEG with too many pixels. @throws DataError */
export async function openImage(input: string | Uint8Array, options: DecodeOptions): Promise<OpenImage> {
  const { maxPixels = 50e6, name = typeof input === "string" ? input : "image" } = options;
  const bytes = typeof input === "string" ? await readImageFile(input, name) : input;
  refuseOtherFiles(bytes, name);
  const header = jpegHeader(bytes);
  // Inks, lossless and arithmetic coding, 12 bits: rare enough to be sharp's.
  const usual = header !== undefined && header.process <= 2 && header.precision === 8 && [1, 3].includes(header.components);
  const jpeg = usual && header.width > 0 && header.height > 0 ? header : undefined;
  if (jpeg !== undefined && jpeg.width * jpeg.height > maxPixels) throw tooLarge(name, maxPixels);
  return { name, bytes, ownBytes: typeof input === "string", maxPixels, jpeg };
}

/**
 * The same pixels, through sharp, or the reader of pixmaps. A JPEG that the addon gave up on comes here too: sharp says what a whole image is.
 * @throws DataError when it can't be decoded
 */
export async function decodeWithSharp({ name, bytes, maxPixels }: OpenImage): Promise<Pixels> {
  const pixmap = netpbmHeader(bytes);
  if (pixmap !== undefined) {
    if (pixmap.width * pixmap.height > maxPixels) throw tooLarge(name, maxPixels);
    return decodeNetpbm(bytes, pixmap, name);
  }
  try {
    // "error" refuses files that are cut short, yet takes the many JPEGs with harmless oddities, as Pillow does.
    const image = sharp(bytes, { failOn: "error", ignoreIcc: true, limitInputPixels: maxPixels, autoOrient: false });
    if (await isCmyk(bytes, image)) {
      const { data, info } = await image.pipelineColourspace("cmyk").toColourspace("cmyk").raw().toBuffer({ resolveWithObject: true });
      return { width: info.width, height: info.height, data: cmykToRgb(data, info.channels) };
    }
    const { data, info } = await image.removeAlpha().toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data };
  } catch (error) {
    throw explainDecodeFailure(error, name, maxPixels);
  }
}

/** The bytes of an image file. @throws DataError when it is missing, a folder, or can't be read */
export async function readImageFile(path: string, name = path): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw explainReadFailure(error, name);
  }
}

/** What is often found where an image was expected, told apart so that the message helps. */
function refuseOtherFiles(bytes: Uint8Array, name: string): void {
  if (bytes.byteLength === 0) throw new DataError(`${name}: the file is empty, expected an image.`);
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 512)).toString("latin1").trimStart().toLowerCase();
  if (start.startsWith("<svg") || (start.startsWith("<?xml") && start.includes("<svg"))) {
    throw new DataError(`${name}: an SVG drawing, expected pixels.`, { mend: "Render it to PNG first." });
  }
  if (start.startsWith("<!doctype html") || start.startsWith("<html")) {
    throw new DataError(`${name}: a web page, expected an image.`, {
      mend: "The download probably ended on an error page: fetch it again.",
    });
  }
}

function tooLarge(name: string, maxPixels: number, cause?: unknown): DataError {
  return new DataError(`${name}: more than ${maxPixels} pixels, the limit for one image.`, { mend: "Scale it down.", cause });
}

function explainDecodeFailure(error: unknown, name: string, maxPixels: number): DataError {
  const reason = (error as Error).message;
  if (reason.includes("exceeds pixel limit")) {
    return tooLarge(name, maxPixels, error);
  }
  if (reason.includes("unsupported image format")) return new DataError(`${name}: not an image of a known format.`, { cause: error });
  // What the codec says is kept in a place that all threads share: it may be about another image, so it is no part of the message.
  return new DataError(`${name}: cut short or damaged.`, { mend: "Fetch or copy the file again.", cause: error });
}

/** Asks the decoder only where the file's first bytes leave it open: reading all headers twice costs a fifth of the speed. */
async function isCmyk(bytes: Uint8Array, image: Sharp): Promise<boolean> {
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return jpegHeader(bytes)?.components === 4;
  const tiff = (bytes[0] === 0x49 && bytes[1] === 0x49) || (bytes[0] === 0x4d && bytes[1] === 0x4d);
  return tiff && (await image.metadata()).space === "cmyk";
}

/** Pillow's conversion (Convert.c): each ink darkens what black left, in 8-bit arithmetic. */
function cmykToRgb(inks: Uint8Array, channels: number): Uint8Array {
  const count = inks.byteLength / channels;
  const rgb = new Uint8Array(count * 3);
  for (let i = 0; i < count; i++) {
    const light = 255 - inks[i * channels + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = inks[i * channels + c]! * light + 128;
      rgb[i * 3 + c] = Math.max(0, light - (((product >> 8) + product) >> 8));
    }
  }
  return rgb;
}
