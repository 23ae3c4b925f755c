/**
 * What the first bytes of an image say about it, without decoding it.
 *
 * JPEG and PNG are read here, since they are most of all images and a crop must know the size before it decodes; sharp is asked for others.
 */
import sharp from "sharp";
import { DataError } from "../support/index.ts";
import { netpbmHeader } from "./netpbm.ts";

export interface ImageHeader {
  /** "jpeg", "png", "webp", "gif", "tiff", or another that sharp knows. */
  format: string;
  width: number;
  height: number;
  /** Of the file: gray 1, gray and alpha 2, colour 3, colour and alpha, or four inks, 4. A palette counts as the colours in it. */
  channels: number;
}

/** What the frame header of a JPEG says. */
export interface JpegHeader {
  width: number;
  height: number;
  components: number;
  /** Bits of a sample: 8 in nearly all files. */
  precision: number;
  /** Which process: 0 baseline, 1 extended, 2 progressive; others are lossless or arithmetic. */
  process: number;
}

/**
 * Format, size and channels of an image of which at least the beginning is there. Of several frames it is the first.
 *
 * @param name what messages call the image; default "image"
 * @throws DataError when it is no image of a known format
 */
export async function imageHeader(bytes: Uint8Array, name = "image"): Promise<ImageHeader> {
  const jpeg = jpegHeader(bytes);
  if (jpeg !== undefined) return { format: "jpeg", width: jpeg.width, height: jpeg.height, channels: jpeg.components };
  const png = pngHeader(bytes);
  if (png !== undefined) return png;
  const pixmap = netpbmHeader(bytes);
  if (pixmap !== undefined) return { format: pixmap.format, width: pixmap.width, height: pixmap.height, channels: pixmap.channels };
  try {
    const { format, width, height, pageHeight, channels } = await sharp(bytes, { limitInputPixels: false }).metadata();
    return { format, width, height: pageHeight ?? height, channels };
  } catch (error) {
    throw new DataError(`${name}: not an image of a known format.`, { cause: error });
  }
}

/** The frame header of a JPEG; undefined for other files, and where none is found. */
export function jpegHeader(bytes: Uint8Array): JpegHeader | undefined {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return undefined;
  for (let at = 2; at + 9 < bytes.byteLength && bytes[at] === 0xff;) {
    const marker = bytes[at + 1]!;
    if (marker === 0xff) {
      at++;
      continue;
    }
    // C4, C8 and CC share the range of the frame headers but are tables.
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      const short = (offset: number): number => (bytes[at + offset]! << 8) | bytes[at + offset + 1]!;
      return { width: short(7), height: short(5), components: bytes[at + 9]!, precision: bytes[at + 4]!, process: marker - 0xc0 };
    }
    at += 2 + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
  }
  return undefined;
}

const pngSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** The header of a PNG; undefined for other files and damaged ones. */
function pngHeader(bytes: Uint8Array): ImageHeader | undefined {
  if (bytes.byteLength < 33 || pngSignature.some((byte, i) => bytes[i] !== byte)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunk = (at: number): string => String.fromCharCode(...bytes.subarray(at + 4, at + 8));
  if (chunk(8) !== "IHDR") return undefined;
  const colours = [1, undefined, 3, 3, 2, undefined, 4][bytes[25]!];
  if (colours === undefined) return undefined;
  let transparent = false;
  for (let at = 33; at + 8 <= bytes.byteLength && chunk(at) !== "IDAT"; at += 12 + view.getUint32(at)) {
    transparent ||= chunk(at) === "tRNS";
  }
  return { format: "png", width: view.getUint32(16), height: view.getUint32(20), channels: colours + (transparent ? 1 : 0) };
}
