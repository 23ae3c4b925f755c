/**
 * The pictures of small copies of data sets: the left half has the colour of its class; the right half is white above and black below, so that
 * a picture that was turned, or got another's label, is seen.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp from "sharp";

/** The colour of a class. */
export function classColour(label: number): [number, number, number] {
  return [(label * 67 + 30) % 220, (label * 131 + 90) % 220, (label * 29 + 150) % 220];
}

/** `[side, side, 3]` RGB */
function picture(label: number, side: number): Uint8Array {
  const data = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const right = y < side / 2 ? 255 : 0;
      data.set(x < side / 2 ? classColour(label) : [right, right, right], (y * side + x) * 3);
    }
  }
  return data;
}

/** The three planes of a picture one after the other, by rows or by columns. */
export function planes(label: number, side: number, byColumns = false): Uint8Array {
  const pixels = picture(label, side);
  const data = new Uint8Array(pixels.length);
  let at = 0;
  for (let plane = 0; plane < 3; plane++) {
    for (let a = 0; a < side; a++) {
      for (let b = 0; b < side; b++) data[at++] = pixels[(byColumns ? b * side + a : a * side + b) * 3 + plane]!;
    }
  }
  return data;
}

export function put(root: string, name: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(root, name)), { recursive: true });
  writeFileSync(join(root, name), content);
}

export async function photo(root: string, name: string, label: number): Promise<void> {
  const raw = { width: 32, height: 32, channels: 3 } as const;
  put(root, name, await sharp(picture(label, 32), { raw }).jpeg({ quality: 95, chromaSubsampling: "4:4:4" }).toBuffer());
}

export function pixmap(root: string, name: string, label: number): void {
  put(root, name, Buffer.concat([Buffer.from("P6\n32 32\n255\n"), picture(label, 32)]));
}

export const lines = (list: readonly string[]): string => `${list.join("\n")}\n`;
export const padded = (value: number, digits: number): string => String(value).padStart(digits, "0");

/** For class folders: so many images of each class below `parent`. */
export async function classFolders(
  root: string,
  parent: string,
  classes: readonly string[],
  each: number,
  prefix = "image_",
): Promise<void> {
  for (const [label, name] of classes.entries()) {
    for (let i = 1; i <= each; i++) await photo(root, `${parent}/${name}/${prefix}${padded(i, 4)}.jpg`, label);
  }
}
