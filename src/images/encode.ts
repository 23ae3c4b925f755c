/**
 * Pixels to image files: smaller copies of large photos, and other forms of what most readers don't know.
 *
 * What is encoded is what `decodeImage` gives, so that a copy shows what training would have seen of the original: no colour profile,
 * no rotation, alpha dropped.
 */
import sharp, { type Sharp } from "sharp";
import type { Pixels } from "./decode.ts";

/** How a JPEG is made. */
export interface EncodeJpegOptions {
  /** Pixels of the shorter side; the aspect is kept. Images that are no larger stay as large as they are. Default: no change. */
  shorterSide?: number | undefined;
  /** 1..100. Default 95. */
  quality?: number | undefined;
}

/** The pixels as a JPEG file, scaled down by bicubic filtering where asked for. */
export async function encodeJpeg(pixels: Pixels, { shorterSide, quality = 95 }: EncodeJpegOptions = {}): Promise<Buffer> {
  const factor = Math.min(1, (shorterSide ?? Infinity) / Math.min(pixels.width, pixels.height));
  const image = ofPixels(pixels);
  if (factor < 1) {
    const [width, height] = [pixels.width, pixels.height].map((side) => Math.max(1, Math.round(side * factor)));
    image.resize({ width: width!, height: height!, fit: "fill", kernel: "cubic" });
  }
  return await image.jpeg({ quality }).toBuffer();
}

/** The pixels as a PNG file: nothing is lost. */
export async function encodePng(pixels: Pixels): Promise<Buffer> {
  return await ofPixels(pixels).png().toBuffer();
}

function ofPixels({ width, height, data }: Pixels): Sharp {
  return sharp(data, { raw: { width, height, channels: 3 }, limitInputPixels: false });
}
