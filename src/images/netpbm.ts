/**
 * Portable pixmaps and graymaps (Netpbm's "ppm" and "pgm" pages): GTSRB's images are such files, and sharp's usual build can't read them.
 *
 * The binary kinds, P5 and P6, with up to 255 or 65,535 levels; of 16 bits the high byte is kept.
 */
import { DataError } from "../support/index.ts";
import type { Pixels } from "./decode.ts";

/** Format, size and channels of a pixmap. */
export interface NetpbmHeader {
  format: "ppm" | "pgm";
  width: number;
  height: number;
  /** Gray 1, colour 3. */
  channels: 1 | 3;
  /** The value of full light, 1..65,535. */
  full: number;
  /** Where the pixels begin. */
  start: number;
}

/** The header; undefined for other files and damaged ones. */
export function netpbmHeader(bytes: Uint8Array): NetpbmHeader | undefined {
  if (bytes[0] !== 0x50 || (bytes[1] !== 0x35 && bytes[1] !== 0x36)) return undefined;
  // Numbers are set apart by white space or comments; a single white space comes before the pixels.
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 4096)).toString("latin1");
  const apart = String.raw`(?:\s|#[^\n\r]*[\n\r])+`;
  const found = new RegExp(String.raw`^P[56]${apart}(\d{1,9})${apart}(\d{1,9})${apart}(\d{1,5})(?:#[^\n\r]*)?\s`).exec(text);
  if (found === null) return undefined;
  const [width, height, full] = found.slice(1).map(Number) as [number, number, number];
  if (width === 0 || height === 0 || full === 0 || full > 65_535) return undefined;
  const colour = bytes[1] === 0x36;
  return { format: colour ? "ppm" : "pgm", width, height, channels: colour ? 3 : 1, full, start: found[0].length };
}

/** RGB pixels, 0..255. @throws DataError when there are fewer bytes than the header says */
export function decodeNetpbm(bytes: Uint8Array, { width, height, channels, full, start }: NetpbmHeader, name: string): Pixels {
  const wide = full > 255 ? 2 : 1;
  const values = width * height * channels;
  if (bytes.byteLength < start + values * wide) {
    throw new DataError(`${name}: cut short or damaged.`, { mend: "Fetch or copy the file again." });
  }
  const data = new Uint8Array(width * height * 3);
  const value = (i: number): number => {
    if (wide === 2) return full === 65_535 ? bytes[start + 2 * i]! : scaled((bytes[start + 2 * i]! << 8) | bytes[start + 2 * i + 1]!);
    return full === 255 ? bytes[start + i]! : scaled(bytes[start + i]!);
  };
  const scaled = (level: number): number => Math.round((Math.min(level, full) * 255) / full);
  for (let i = 0; i < data.length; i++) data[i] = value(channels === 3 ? i : Math.floor(i / 3));
  return { width, height, data };
}
