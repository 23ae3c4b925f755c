/** A small data set of real image files with odd ids and captions, and rewrites of it, for tests of what packs and looks at data. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { RewritesWriter, openPairs } from "../../src/data/index.ts";
import type { Rewrite } from "../../src/data/index.ts";
import { csvLine } from "../../src/formats/index.ts";
import { Random } from "../../src/support/index.ts";

/** A row of the table, in its order. */
export interface CollectionRow {
  id: string;
  /** Relative to the folder. */
  image: string;
  caption: string;
}

/** The bytes of a picture that no other number gives. */
export async function picture(
  number: number,
  format: "jpeg" | "png" | "webp" | "gif",
  [width, height] = [40 + (number % 30), 30],
): Promise<Buffer> {
  const random = Random.of("picture", number);
  const data = Buffer.from(Array.from({ length: 4 * 3 * 3 }, () => random.integer(256)));
  const image = sharp(data, { raw: { width: 4, height: 3, channels: 3 } }).resize(width, height, { fit: "fill", kernel: "cubic" });
  return await image.toFormat(format).toBuffer();
}

/** Writes images and `captions.csv` into a folder; ids hold dots, slashes, quotes and letters of several scripts. */
export async function writeCollection(folder: string, count: number): Promise<CollectionRow[]> {
  const formats = ["jpeg", "png", "webp"] as const;
  const rows: CollectionRow[] = [];
  for (let i = 0; i < count; i++) {
    const format = formats[i % 3]!;
    // Names say nothing of the format: many files on the web are called what they are not.
    const image = `images/${i % 5}/p.${i}.jpg`;
    mkdirSync(dirname(join(folder, image)), { recursive: true });
    writeFileSync(join(folder, image), await picture(i, format));
    rows.push({ id: `shop.example/"${i}".a/\u00e9\u{1f600}`, image, caption: `picture ${i}, "said" \u4e2d\n<b>&amp;` });
  }
  const lines = rows.map(({ id, image, caption }) => csvLine([id, image, caption]));
  writeFileSync(join(folder, "captions.csv"), csvLine(["id", "image", "caption"]) + lines.join(""));
  return rows;
}

/** Writes a rewrites folder for the captions of a folder. */
export async function writeRewrites(
  collection: string,
  path: string,
  rewrites: readonly (Pick<Rewrite, "id" | "source" | "text" | "weight"> & { flags?: string[] })[],
): Promise<string> {
  const { file, fingerprint } = await openPairs({ file: collection, checkImages: false, maximumSkipped: 1 });
  const made = { engine: "people", model: "", modelHash: "", promptHash: "", provenance: "a test", sampling: {}, seed: 0 };
  const sources = Object.fromEntries([...new Set(rewrites.map(({ source }) => source))].map((source) => [source, made]));
  const writer = await RewritesWriter.open(path, { dataset: file, fingerprint, sources, createdWith: "test" });
  await writer.append(rewrites.map((rewrite) => ({ flags: [], finish: "none", tokens: 0, seed: 0, examples: [], ...rewrite })));
  await writer.finish();
  return path;
}
