/**
 * What an image file says of itself before any pixel is decoded: its format and size.
 */
import { DataError } from "../support/index.ts";
import { imageHeader } from "./header.ts";

/** Formats that are decoded here. */
export type ImageFormat = "jpeg" | "png" | "webp" | "gif" | "tiff" | "avif";

/** Format and size of an image. */
export interface ImageHeader {
  format: ImageFormat;
  /** Pixels, as stored: the camera's rotation is not applied. */
  width: number;
  height: number;
}

/** The format that the first bytes of a file promise, whatever the file is called; undefined where it is none of ours. */
export function imageFormat(bytes: Uint8Array): ImageFormat | undefined {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 12)).toString("latin1");
  if (start.startsWith("\xff\xd8\xff")) return "jpeg";
  if (start.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (start.startsWith("RIFF") && start.startsWith("WEBP", 8)) return "webp";
  if (start.startsWith("GIF8")) return "gif";
  if (start.startsWith("II*\0") || start.startsWith("MM\0*")) return "tiff";
  return /^ftypavi[fs]/.test(start.slice(4)) ? "avif" : undefined;
}

/**
 * Reads the header of an image.
 * @param bytes the whole file
 * @param name of the image in messages
 * @throws DataError when it is empty, no image of a format that is decoded here, or its header is damaged
 */
export async function readImageHeader(bytes: Uint8Array, name = "image"): Promise<ImageHeader> {
  if (bytes.byteLength === 0) throw new DataError(`${name}: the file is empty, expected an image.`);
  const format = imageFormat(bytes);
  if (format === undefined) throw new DataError(`${name}: not an image of a known format.`);
  try {
    const { width, height } = await imageHeader(bytes, name);
    return { format, width, height };
  } catch (error) {
    throw new DataError(`${name}: the header of this ${format} image is damaged.`, { mend: "Fetch or copy the file again.", cause: error });
  }
}
