/** The batch that is to be learnt by heart: the first of a run, or one that is drawn; and what can be seen in it. */
import { type Batch, openLoader, sameTextKey } from "../data/index.ts";
import type { ClipConfig } from "../models/index.ts";
import type { Objective } from "../objectives/index.ts";
import { DataError, Random } from "../support/index.ts";
import { ClipTokenizer } from "../text/index.ts";
import type { Likeness } from "./least-loss.ts";
import { type RunData, openData } from "./open-data.ts";
import type { Recipe } from "./recipe.ts";
import { loaderSettingsOf } from "./run-recipe.ts";

/** What decides the form of the batch. */
export interface BatchKind {
  recipe: Recipe;
  objective: Objective;
  shape: ClipConfig;
  /** Samples. */
  batchSize: number;
}

export type OverfitBatch = Pick<
  Batch,
  "images" | "views" | "tokens" | "tokenLength" | "ids" | "texts" | "textsPerImage" | "textKeys" | "textWeights"
>;

/**
 * The first batch of a run with these settings.
 * @throws DataError when the data hold fewer samples; see `openData`
 */
export async function firstBatch({ recipe, objective, shape, batchSize }: BatchKind, data: RunData): Promise<OverfitBatch> {
  const { samples, count, close } = await openData(recipe, data, process.cwd());
  try {
    if (count < batchSize) {
      throw new DataError(`${data.file}: ${count} samples, and the batch takes ${batchSize}.`, {
        mend: `Give --batch-size ${count} or less.`,
      });
    }
    const batches = openLoader({ ...loaderSettingsOf(recipe, objective, shape, data), samples, batchSize, totalSteps: 1 });
    try {
      for await (const batch of batches) return batch;
    } finally {
      await batches.close();
    }
  } finally {
    close();
  }
  throw new DataError(`${data.file}: no batch could be made.`);
}

const shapes = ["circles", "squares", "lines", "dots"] as const;
/** Texts of a drawing, as many as are asked for. */
const wordings = ["drawing", "picture", "sketch", "image", "print", "sheet"] as const;

/** Pictures of random squares, each with words of its own: whatever goes wrong with these is no matter of data. */
export function drawnBatch({ recipe, objective: { needs }, shape, batchSize }: BatchKind): OverfitBatch {
  const { imageSize } = shape.vision;
  const { textsPerImage = 1 } = recipe.captions;
  const bytes = imageSize * imageSize * 3;
  const images = new Uint8Array(batchSize * bytes);
  const cell = Math.max(1, imageSize / 4);
  const ids = Array.from({ length: batchSize }, (_, i) => `drawing ${i + 1}`);
  const texts = ids.flatMap((_, i) =>
    Array.from({ length: textsPerImage }, (_wording, k) => {
      const wording = wordings[k % wordings.length]!;
      return `${wording} ${i + 1} of ${shapes[i % 4]!}${k < wordings.length ? "" : `, text ${k + 1}`}`;
    }),
  );
  for (let i = 0; i < batchSize; i++) {
    const random = Random.of("overfit", i);
    const colours = Array.from({ length: 16 * 3 }, () => random.integer(256));
    for (let y = 0; y < imageSize; y++) {
      for (let x = 0; x < imageSize; x++) {
        const square = Math.min(3, Math.floor(y / cell)) * 4 + Math.min(3, Math.floor(x / cell));
        images.set(colours.slice(3 * square, 3 * square + 3), i * bytes + (y * imageSize + x) * 3);
      }
    }
  }
  const { ids: tokens, length: tokenLength } = ClipTokenizer.load().tokenizeBatch(texts, shape.text.contextLength);
  const batch: OverfitBatch = { images, tokens, tokenLength, ids, texts, textsPerImage };
  if (needs.views === true) batch.views = twoViews(images);
  if (needs.textKeys === true) batch.textKeys = BigInt64Array.from(texts, sameTextKey);
  return batch;
}

/** All images twice, a little lighter and a little darker. */
function twoViews(images: Uint8Array): Uint8Array {
  const views = new Uint8Array(2 * images.length);
  images.forEach((value, i) => {
    views[i] = Math.min(255, value + 20);
    views[images.length + i] = Math.max(0, value - 20);
  });
  return views;
}

/** What is alike in a batch, and what of that a person should know. */
export function lookAt(batch: OverfitBatch): { likeness: Likeness; findings: { what: string; mend: string }[] } {
  const { ids, texts, textsPerImage, tokens, tokenLength } = batch;
  const images = cut(batch.images, ids.length);
  const rows = texts.map((_, i) => tokens.subarray(i * tokenLength, (i + 1) * tokenLength).join(" "));
  const likeness = { images: numbered(images), texts: numbered(rows), views: batch.views && numbered(cut(batch.views, 2 * ids.length)) };
  const findings: { what: string; mend: string }[] = [];
  const owner = (row: number): number => Math.floor(row / textsPerImage);
  const sameTexts = texts.filter((_, i) => likeness.texts.some((other, j) => other === likeness.texts[i] && owner(j) !== owner(i)));
  if (sameTexts.length > 0) {
    findings.push({
      what: `${sameTexts.length} of ${texts.length} texts are equal to another, for instance "${sameTexts[0]!}": nothing can tell them apart.`,
      mend: "Some are normal. When there are many, look at the column of captions, or at rewrites that repeat themselves.",
    });
  }
  const sameImages = ids.filter((_, i) => likeness.images.some((other, j) => j !== i && other === likeness.images[i]));
  if (sameImages.length > 0) {
    findings.push({
      what: `${sameImages.length} of ${ids.length} images are equal to another, for instance that of ${sameImages[0]!}.`,
      mend: "`laclip inspect data` finds images that are there twice.",
    });
  }
  const plain = images.filter((image) => image.every((value, i) => value === image[i % 3])).length;
  if (plain > 0) {
    findings.push({
      what: `${plain} of ${ids.length} images are of one colour.`,
      mend: "Placeholders of a download, or crops of a frame? Look at some.",
    });
  }
  return { likeness, findings };
}

/** Equal parts of some bytes. */
function cut(bytes: Uint8Array, parts: number): Buffer[] {
  const size = bytes.byteLength / parts;
  return Array.from({ length: parts }, (_, i) => Buffer.from(bytes.buffer, bytes.byteOffset + i * size, size));
}

/** A number for each item, the same for equal ones. */
function numbered(items: readonly (string | Buffer)[]): number[] {
  const equal = (a: string | Buffer, b: string | Buffer): boolean => (typeof a === "string" ? a === b : a.equals(b as Buffer));
  return items.map((item) => items.findIndex((other) => equal(other, item)));
}
