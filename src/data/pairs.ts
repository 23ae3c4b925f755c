/**
 * Image-text pairs from a table of captions, or from annotation files, and a folder of images.
 *
 * Rows that can't be used are left out, counted and reported; too many of them, and the table or the folder is the wrong one.
 */
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { DataError, UsageError, log, shortPercent } from "../support/index.ts";
import { annotatedImages, annotationFiles, annotationIdsFrom, annotationRows, isAnnotated } from "./annotation-rows.ts";
import {
  type CaptionTableOptions,
  describeIds,
  isTableFolder,
  mendIds,
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
  /** Folder that image paths are relative to. Default: the table's folder; for annotation files the `images` beside theirs. */
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
 * Reads a table of captions (csv, tsv, jsonl, parquet), or RedCaps' annotation files (see annotation-rows.ts).
 *
 * @throws DataError when the table or a column is missing, ids repeat, or too many rows had to be left out
 */
export async function openPairs(options: OpenPairsOptions): Promise<Pairs> {
  if (!isTableFolder(options.file) && isAnnotated(options.file)) return await openAnnotatedPairs(options);
  const table = await openCaptionTable(options);
  if (table.imageColumn === undefined && table.bytesColumn === undefined) throw await noImageColumn(table);
  const held = table.bytesColumn === undefined ? undefined : new HeldImages(options.workFolder);
  const rows = readCaptionRows(table, 0, held !== undefined);
  const imageFolder = resolve(options.images ?? dirname(table.file));
  const places = `Image paths are taken relative to ${imageFolder}.`;
  const about = { name: table.file, imageFolder, idsFrom: describeIds(table), idMend: mendIds(table), what: "rows", places, held };
  return await collectPairs(rows, about, options);
}

async function openAnnotatedPairs(options: OpenPairsOptions): Promise<Pairs> {
  const { file, imageColumn } = options;
  if (imageColumn !== undefined)
    throw new UsageError(`${file}: in RedCaps' annotations, "subreddit" and "image_id" say where an image is; no column does.`);
  const imageFolder = resolve(options.images ?? annotatedImages(file));
  const about = {
    name: resolve(file),
    imageFolder,
    idsFrom: annotationIdsFrom(options),
    idMend: "Fill it in, or name another key with --id-column.",
    what: "annotations",
    places: `The image of an annotation is looked for as SUBREDDIT/IMAGE_ID.jpg in ${imageFolder}, by RedCaps' keys "subreddit" and "image_id".`,
  };
  return await collectPairs(annotationRows(annotationFiles(file), options), about, options);
}

/** A row with a caption, an image, or both. */
interface PairRow {
  id: string;
  /** Path of the image as written; "" where there is none. */
  image: string;
  caption: string;
  /** The image itself, where the table holds it. */
  bytes?: Uint8Array | undefined;
  /** Where it stands, in words. Default: its number. */
  where?: string;
}

interface PairsSource {
  /** What messages call it. */
  name: string;
  imageFolder: string;
  /** Where its ids come from, in words. */
  idsFrom: string;
  /** What to do about a row without one. */
  idMend: string;
  /** What its rows are. */
  what: string;
  /** Where images are looked for, as a sentence. */
  places: string;
  /** Takes the images that the table itself holds; undefined where images are files. */
  held?: HeldImages | undefined;
}

async function collectPairs(
  batches: AsyncIterable<PairRow[]>,
  { name, imageFolder, idsFrom, idMend, what, places, held }: PairsSource,
  { maximumSkipped = 0.01, checkImages = true, workFolder }: OpenPairsOptions,
): Promise<Pairs> {
  if (!existsSync(imageFolder)) throw new DataError(`${imageFolder}: no such folder of images.`);
  const builder = new SampleTableBuilder(imageFolder, { folder: workFolder });
  const rowOf = new HashedKeys();
  const repeated = { count: 0, ids: [] as string[] };
  const skipped: SkippedRows = { emptyCaptions: 0, missingImages: 0, examples: [] };
  const fingerprint = new FingerprintBuilder();
  let rows = 0;
  const place = (where: string | undefined): string => where ?? `row ${rows}`;
  const skip = (where: string | undefined, reason: string): void => {
    if (skipped.examples.length < 5) skipped.examples.push(`${place(where)}: ${reason}`);
  };
  for await (const batch of batches) {
    for (const { where, id, image, caption, bytes } of batch) {
      rows++;
      if (caption.trim() === "") {
        skipped.emptyCaptions++;
        skip(where, `no caption (${image || "no image either"})`);
        continue;
      }
      if (id !== "") fingerprint.add(id, caption);
      if (held && !bytes) {
        skipped.missingImages++;
        skip(where, "no image");
        continue;
      }
      const looked = !held && checkImages && (rows <= checkedRows || rows % checkedAfter === 0);
      if ((image === "" && !held) || (looked && !existsSync(isAbsolute(image) ? image : join(imageFolder, image)))) {
        skipped.missingImages++;
        skip(where, image === "" ? "no image path" : `no file ${image}`);
        continue;
      }
      if (id === "") throw new DataError(`${name}: ${place(where)} has no id (${idsFrom}).`, { mend: idMend });
      builder.add(id, held ? held.add(bytes!, image || place(where)) : image, caption);
      const known = rowOf.size;
      rowOf.intern(id);
      if (rowOf.size > known) continue;
      repeated.count++;
      if (repeated.ids.length < 3) repeated.ids.push(id);
    }
  }
  checkSkipped(
    name,
    { rows, skipped, maximum: maximumSkipped, what, image: checkImages ? "an image file" : "an image path" },
    `${places} Name another folder, mend the ${what}, or allow a larger share (--max-skipped).`,
  );
  const samples = builder.finish();
  refuseRepeated({ name, idsFrom }, samples.length, repeated);
  return { file: name, rows, skipped, fingerprint: fingerprint.finish(), samples, rowOf };
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
  const share = `${count} of ${rows} ${what} (${shortPercent(count / rows, 2)})`;
  const details = `${skipped.emptyCaptions} without a caption, ${skipped.missingImages} without ${image}`;
  const examples = skipped.examples.map((example) => `\n  ${example}`).join("");
  if (count > rows * maximum) {
    throw new DataError(`${name}: ${share} can't be used: ${details}; allowed are ${shortPercent(maximum)}.${examples}`, { mend });
  }
  log.warn(`${name}: left out ${share}: ${details}.${examples}`);
}

function refuseRepeated(
  { name, idsFrom }: Pick<PairsSource, "name" | "idsFrom">,
  rows: number,
  { count, ids }: { count: number; ids: string[] },
): void {
  if (count === 0) return;
  const first = ids.map((id) => JSON.stringify(id)).join(", ");
  throw new DataError(`${name}: ${count} of ${rows} ids (${idsFrom}) were there before. First: ${first}.`, {
    mend:
      "Give each row an id of its own (a column `id`, or with `--id-column hash:NAME,NAME` a hash of columns that tell the rows apart), " +
      "or remove the repeated rows.",
  });
}
