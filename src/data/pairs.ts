/**
 * Image-text pairs from a table of captions and a folder of images.
 *
 * Rows that can't be used are left out, counted and reported; too many of them, and the table or the folder is the wrong one.
 */
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { DataError, log } from "../support/index.ts";
import {
  type CaptionTable,
  type CaptionTableOptions,
  describeIds,
  noImageColumn,
  openCaptionTable,
  readCaptionRows,
} from "./caption-table.ts";
import { type CaptionsFingerprint, FingerprintBuilder } from "./captions-fingerprint.ts";
import { HeldImages } from "./held-images.ts";
import { HashedKeys } from "./hashed-keys.ts";
import { type SampleTable, SampleTableBuilder } from "./sample-table.ts";

/** A table of captions, where its images are, and how many may be missing. */
export interface OpenPairsOptions extends CaptionTableOptions {
  /** Folder that image paths are relative to. Default: the table's folder. */
  images?: string | undefined;
  /** Share of rows without a caption or an image file that is still accepted, 0..1. Default 0.01. */
  maximumSkipped?: number | undefined;
  /**
   * Whether to look for the image files now; without it, missing ones show when they are read. Of a large table, only the files of the
   * first 100,000 rows and of every hundredth after them are looked for. Default true.
   */
  checkImages?: boolean | undefined;
  /** Folder for what a large table, or the images that it holds, are kept in while it is open; nothing is seen there. Default: the system's folder for temporary files. */
  workFolder?: string | undefined;
}

/** Rows whose image file is looked for in any case; of those that follow, every so many. */
const [checkedRows, checkedAfter] = [100_000, 100];

/** Rows that were left out. */
export interface SkippedRows {
  emptyCaptions: number;
  missingImages: number;
  /** The first few, each with row and reason. */
  examples: string[];
}

/** A table of image-text pairs that was opened. */
export interface Pairs {
  /** Absolute path of the table that was read. */
  file: string;
  /** Rows of the table, with those left out. */
  rows: number;
  skipped: SkippedRows;
  /** Of all rows that have a caption, also those whose image is missing: as rewriting sees the table. */
  fingerprint: CaptionsFingerprint;
  samples: SampleTable;
  /** Number under which each sample was added to the table, by its id: what a RewritesBuilder knows it by. */
  rowOf: HashedKeys;
}

/**
 * Reads a table of captions (csv, tsv, jsonl, parquet).
 *
 * @throws DataError when the table or a column is missing, ids repeat, or too many rows had to be left out
 */
export async function openPairs(options: OpenPairsOptions): Promise<Pairs> {
  const { maximumSkipped = 0.01, checkImages = true } = options;
  const table = await openCaptionTable(options);
  if (table.imageColumn === undefined && table.bytesColumn === undefined) throw await noImageColumn(table);
  const held = table.bytesColumn === undefined ? undefined : new HeldImages(options.workFolder);
  const imageFolder = resolve(options.images ?? dirname(table.file));
  if (!existsSync(imageFolder)) throw new DataError(`${imageFolder}: no such folder of images.`);

  const builder = new SampleTableBuilder(imageFolder, { folder: options.workFolder });
  const rowOf = new HashedKeys();
  const repeated = { count: 0, ids: [] as string[] };
  const skipped: SkippedRows = { emptyCaptions: 0, missingImages: 0, examples: [] };
  const fingerprint = new FingerprintBuilder();
  const skip = (row: number, reason: string): void => {
    if (skipped.examples.length < 5) skipped.examples.push(`row ${row}: ${reason}`);
  };
  let rows = 0;
  for await (const batch of readCaptionRows(table, 0, held !== undefined)) {
    rows += batch.length;
    for (const { row, id, image, caption, bytes } of batch) {
      if (caption.trim() === "") {
        skipped.emptyCaptions++;
        skip(row, `no caption (${image || "no image either"})`);
        continue;
      }
      if (id !== "") fingerprint.add(id, caption);
      if (held && !bytes) {
        skipped.missingImages++;
        skip(row, "no image");
        continue;
      }
      const looked = !held && checkImages && (row <= checkedRows || row % checkedAfter === 0);
      if ((image === "" && !held) || (looked && !existsSync(isAbsolute(image) ? image : join(imageFolder, image)))) {
        skipped.missingImages++;
        skip(row, image === "" ? "no image path" : `no file ${image}`);
        continue;
      }
      if (id === "") throw new DataError(`${table.file}: row ${row} has no id (${describeIds(table)}).`);
      const position = builder.add(id, held ? held.add(bytes!, image || `row ${row}`) : image, caption);
      if (rowOf.intern(id) === position) continue;
      repeated.count++;
      if (repeated.ids.length < 3) repeated.ids.push(id);
    }
  }
  checkSkipped(
    table.file,
    { rows, skipped, maximum: maximumSkipped, what: "rows", image: "an image file" },
    `Image paths are taken relative to ${imageFolder}. Name another folder, mend the table, or allow a larger share (--max-skipped).`,
  );
  const samples = builder.finish();
  refuseRepeated(table, samples.length, repeated);
  return { file: table.file, rows, skipped, fingerprint: fingerprint.finish(), samples, rowOf };
}

/**
 * Reports what was left out.
 * @param mend what to do when it is too much
 * @throws DataError when it is too much, or there is nothing at all
 */
export function checkSkipped(
  name: string,
  { rows, skipped, maximum, what, image }: { rows: number; skipped: SkippedRows; maximum: number; what: string; image: string },
  mend: string,
): void {
  if (rows === 0) throw new DataError(`${name}: there are no ${what} in it.`);
  const count = skipped.emptyCaptions + skipped.missingImages;
  if (count === 0) return;
  const share = `${count} of ${rows} ${what} (${((count / rows) * 100).toPrecision(2)} %)`;
  const details = `${skipped.emptyCaptions} without a caption, ${skipped.missingImages} without ${image}`;
  const examples = skipped.examples.map((example) => `\n  ${example}`).join("");
  if (count > rows * maximum) {
    throw new DataError(`${name}: ${share} can't be used: ${details}; allowed are ${maximum * 100} %.${examples}`, { mend });
  }
  log.warn(`${name}: left out ${share}: ${details}.${examples}`);
}

function refuseRepeated(table: CaptionTable, rows: number, { count, ids }: { count: number; ids: string[] }): void {
  if (count === 0) return;
  const first = ids.map((id) => JSON.stringify(id)).join(", ");
  throw new DataError(`${table.file}: ${count} of ${rows} ids (${describeIds(table)}) were there before. First: ${first}.`, {
    mend: "Give each row an id of its own (a column `id`), or remove the repeated rows.",
  });
}
