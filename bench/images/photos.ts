/**
 * JPEGs as cameras and web sites have them: detail of all sizes, the finer the fainter, hard edges, a little sensor noise.
 *
 * Smooth gradients would not do: they compress to a tenth of a photo's bytes, and reading a JPEG costs by its bytes.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { Random } from "../../src/support/index.ts";

export interface PhotoSet {
  name: string;
  width: number;
  height: number;
  count: number;
  /** Strength of the sensor's noise, 0..1: an image that was scaled down has less. */
  grain: number;
}

/** The sizes that are measured: a web image, a larger one, a camera's. */
export const photoSets: readonly PhotoSet[] = [
  { name: "500 x 375", width: 500, height: 375, count: 60, grain: 0.012 },
  { name: "1024 x 768", width: 1024, height: 768, count: 30, grain: 0.012 },
  { name: "4000 x 3000", width: 4000, height: 3000, count: 4, grain: 0.09 },
];

/** Makes the photos of a set and returns their paths; the same ones at each call. */
export async function makePhotos(folder: string, { name, width, height, count, grain }: PhotoSet): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const paths: string[] = [];
  for (let i = 0; i < count; i++) {
    const path = join(folder, `${i}.jpg`);
    await makePhoto(Random.of(name, i), width, height, grain, path);
    paths.push(path);
  }
  return paths;
}

async function makePhoto(random: Random, width: number, height: number, grain: number, path: string): Promise<void> {
  // Some photos are full of detail and some are nearly flat.
  const strength = 0.5 + 1.3 * random.uniform();
  const layers: { input: Buffer; raw: { width: number; height: number; channels: 4 } }[] = [];
  const base = await noise(random, width, height, Math.max(width, height) / 4, 1);
  for (let cell = Math.max(width, height) / 12; cell >= 2; cell /= 3) {
    const share = Math.min(1, (strength * Math.sqrt(cell)) / 16);
    layers.push({ input: await noise(random, width, height, cell, share), raw: { width, height, channels: 4 } });
  }
  const shapes = Buffer.from(drawing(random, width, height));
  layers.push({ input: await noise(random, width, height, 1, grain * strength), raw: { width, height, channels: 4 } });
  await sharp(base, { raw: { width, height, channels: 4 } })
    .composite([...layers.slice(0, 2), { input: shapes, blend: "soft-light" }, ...layers.slice(2)])
    .removeAlpha()
    .jpeg({ quality: 90 })
    .toFile(path);
}

/** Noise in cells of this many pixels, as an opaque or half transparent layer. */
async function noise(random: Random, width: number, height: number, cell: number, alpha: number): Promise<Buffer> {
  const [w, h] = [Math.max(2, Math.ceil(width / cell)), Math.max(2, Math.ceil(height / cell))];
  const values = new Uint8Array(w * h * 3);
  for (let i = 0; i < values.length; i += 3) {
    // Neighbouring colours are alike: brightness differs more than hue.
    const light = random.bits();
    const tint = random.bits();
    for (let c = 0; c < 3; c++) values[i + c] = ((light & 255) * 3 + ((tint >> (8 * c)) & 255)) >> 2;
  }
  return sharp(values, { raw: { width: w, height: h, channels: 3 } })
    .resize(width, height, { fit: "fill", kernel: "cubic" })
    .ensureAlpha(alpha)
    .raw()
    .toBuffer();
}

function drawing(random: Random, width: number, height: number): string {
  const shapes = Array.from({ length: 12 }, () => {
    const [x, y, r] = [random.integer(width), random.integer(height), (0.03 + 0.2 * random.uniform()) * height];
    const fill = `rgb(${random.integer(256)},${random.integer(256)},${random.integer(256)})`;
    return random.uniform() < 0.5
      ? `<circle cx="${x}" cy="${y}" r="${r}" fill="${fill}"/>`
      : `<rect x="${x}" y="${y}" width="${2 * r}" height="${r}" transform="rotate(${random.integer(90)} ${x} ${y})" fill="${fill}"/>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${shapes.join("")}</svg>`;
}
