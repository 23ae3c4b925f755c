/**
 * The captions to rewrite: a table (csv, tsv, jsonl, parquet), a text file with one caption a line, RedCaps' or COCO's annotation
 * files, or the tars of a webdataset.
 *
 * Rewrites are joined to captions by id. Tables are read as training reads them (src/data/caption-table.ts), so that both have the
 * same ids: the `id` column, else the image path, else a hash of the image's address. A webdataset has its keys, or in tars that
 * `laclip data pack` has made the `id` of each `.json` (src/data/index-beside.ts). A text file, or a
 * table of captions alone, has the hash of each caption as id.
 */
import { existsSync, statSync } from "node:fs";
import { basename } from "node:path";
import {
  annotationFiles,
  annotationIdsFrom,
  annotationRows,
  captionColumns,
  defaultIdColumn,
  describeIds,
  findColumn,
  hashedId,
  imageColumns,
  isAddress,
  isAnnotated,
  listShards,
  namesTars,
  openCaptionTable,
  readCaptionRows,
  shownShards,
  urlColumns,
} from "../../data/index.ts";
import type { CaptionTable, FilePart, HeldImages } from "../../data/index.ts";
import { tableColumns } from "../../formats/index.ts";
import { DataError, LaclipError, UsageError, readFolder } from "../../support/index.ts";
import { surveyCaptions } from "./captions-survey.ts";
import type { CaptionsSurvey } from "./captions-survey.ts";
import { readLines } from "./text-lines.ts";
import { tarIdsFrom, tarRows, tarRowsWithImages } from "./webdataset-captions.ts";

/** A caption to rewrite. */
export interface CaptionRow {
  readonly id: string;
  /** As written; may be empty. */
  readonly caption: string;
  /** Another caption of the same image, where such were asked for; "" where this one has none. */
  readonly second?: string;
  /** Path of its image as the table has it; "" where the row, or the table, has none. */
  readonly image?: string;
  /** Where its image is, of those that `rowsWithImages` gives; null where there is none. */
  readonly stored?: FilePart | null;
  /** Where it stands, in words, in data sets of several files; a row of a table is known by its number. */
  readonly where?: string;
}

/** Which column (or key of a JSON object) is which, where the names say too little. */
export interface CaptionsOptions {
  /**
   * Column with the ids; `hash:NAME` or `hash:NAME,NAME` for a hash of columns. Default for tables: `id`, else the image path, else
   * a hash of the image's address, else a hash of the caption; for a webdataset: see `defaultIdColumn`.
   */
  idColumn?: string;
  /** Column with the captions. Default: `caption`, `title` or `text`. */
  captionColumn?: string;
  /** Column with another caption of the same image, for prompts that merge two. Default: none is read. */
  secondColumn?: string;
}

/** A file of captions that can be read again and again. */
export interface CaptionsInput {
  /** As it was named; of addresses, without what may be secret. */
  readonly path: string;
  /** The files that are read; those of tars may be addresses. */
  readonly files: readonly string[];
  /** Where ids come from, in words: `column "id"`. */
  readonly idFrom: string;
  /** Where second captions come from, in words; undefined where there are none. */
  readonly secondFrom?: string | undefined;
  /** The tars that the captions are in, where they are in tars, each with a row for each of its samples. */
  readonly tars?: readonly { readonly path: string; rows(): AsyncGenerator<CaptionRow[]> }[];
  /** All rows in file order, in batches, from row `from` on (default 0, the first). */
  rows(from?: number): AsyncGenerator<CaptionRow[]>;
  /**
   * All rows with their images, where these lie together with the captions, in a parquet file or in tars; undefined where they don't.
   * @param held takes images of which not any part can be read where it lies
   * @param wanted whether the image of a row is needed, by its number from 0. Default: all are.
   */
  rowsWithImages?(held: HeldImages, wanted?: (row: number) => boolean): AsyncGenerator<CaptionRow[]>;
  /**
   * Reads everything once: counts, fingerprint, checks.
   * @param signal gives up
   * @throws DataError when an id is empty or stands for two different captions, InterruptedError when stopped
   */
  survey(signal?: AbortSignal): Promise<CaptionsSurvey>;
}

/**
 * Opens a file of captions; or a folder that holds `captions.csv` (or .tsv, .jsonl, .parquet), the tars of a webdataset, or
 * RedCaps' annotation files, itself or in `annotations/`; or tars by address or pattern, `s3://bucket/shards/{00000..00012}.tar`, see `listShards`.
 * @throws DataError when the file or a column is missing, or it is not clear which column holds the captions
 */
export async function openCaptions(path: string, options: CaptionsOptions = {}): Promise<CaptionsInput> {
  const kind = kindOf(path);
  const { idColumn, captionColumn, secondColumn } = options;
  const secondFrom = secondColumn === undefined ? undefined : `column "${secondColumn}"`;
  if (kind === "lines") {
    const named = idColumn ?? captionColumn ?? secondColumn;
    if (named !== undefined) throw new UsageError(`${path}: a text file has no column "${named}": each line is a caption.`);
    return input(path, [path], "a hash of the caption", (from = 0) => without(from, lineRows(path)));
  }
  if (kind === "tars") {
    const shards = await listShards(path);
    const given = idColumn === undefined ? await defaultIdColumn(shards.map(({ address }) => address)) : idColumn;
    const columns = given === undefined ? options : { ...options, idColumn: given };
    const tars = shards.map(({ address }) => ({ path: address, rows: () => tarRows(address, columns) }));
    const rowsWithImages: CaptionsInput["rowsWithImages"] = async function* (held, wanted = () => true) {
      let row = 0;
      for (const { address } of shards) yield* tarRowsWithImages(address, columns, { held, wanted: () => wanted(row++) });
    };
    const rows = (from = 0): AsyncGenerator<CaptionRow[]> => without(from, inTurn(tars));
    return {
      ...input(
        shownShards(path),
        tars.map((tar) => tar.path),
        tarIdsFrom(columns),
        rows,
      ),
      rowsWithImages,
      tars,
      secondFrom,
    };
  }
  if (kind === "annotations") {
    const files = annotationFiles(path);
    return {
      ...input(path, files, annotationIdsFrom(options), (from = 0) => without(from, annotatedCaptions(files, options))),
      secondFrom,
    };
  }
  const table = await openTable(path, options);
  const inside = table.bytesColumn === undefined ? {} : { rowsWithImages: heldRows.bind(undefined, table) };
  return { ...input(table.file, [table.file], describeIds(table), (from) => tableRows(table, from)), ...inside, secondFrom };
}

type Kind = "table" | "lines" | "tars" | "annotations";

function kindOf(path: string): Kind {
  if (!existsSync(path)) {
    if (namesTars(path)) return "tars";
    if (isAddress(path)) {
      throw new UsageError(`${shownShards(path)}: only tars are read from addresses, and this does not end as the name of one does.`, {
        mend: "Download it first; a folder of a bucket is written with a / at its end.",
      });
    }
    throw new DataError(`${path}: no such file of captions.`);
  }
  if (statSync(path).isDirectory()) {
    const names = readFolder(path);
    if (names.some((name) => /^captions\.(csv|tsv|jsonl|parquet)$/.test(name))) return "table";
    if (names.some((name) => namesTars(name))) return "tars";
    if (names.some((name) => /\.json$/i.test(name)) || isAnnotated(path)) return "annotations";
    throw new DataError(`${path}: this folder holds no captions.`, {
      mend: "Expected captions.csv (or .tsv, .jsonl, .parquet), the tars of a webdataset, or RedCaps' annotation files (.json) in it.",
    });
  }
  if (/\.txt$/i.test(path)) return "lines";
  if (namesTars(path)) return "tars";
  return /\.json$/i.test(path) ? "annotations" : "table";
}

function input(
  path: string,
  files: readonly string[],
  idFrom: string,
  rows: (from?: number) => AsyncGenerator<CaptionRow[]>,
): CaptionsInput {
  return { path, files, idFrom, rows, survey: async (signal) => await surveyCaptions(path, rows(), signal) };
}

/** Rows without the first so many, of files that can only be read from their beginning. */
async function* without(count: number, batches: AsyncIterable<CaptionRow[]>): AsyncGenerator<CaptionRow[]> {
  let left = count;
  for await (const batch of batches) {
    if (left < batch.length) yield left === 0 ? batch : batch.slice(left);
    left = Math.max(0, left - batch.length);
  }
}

async function openTable(path: string, options: CaptionsOptions): Promise<CaptionTable> {
  const { idColumn, captionColumn, secondColumn } = options;
  try {
    return await openCaptionTable({ file: path, idColumn, captionColumn, secondColumn });
  } catch (error) {
    if (!LaclipError.is(error) || idColumn !== undefined || statSync(path).isDirectory()) throw error;
    // A table of captions alone is enough for rewriting; its captions stand in for the ids that it lacks.
    const known = await tableColumns(path);
    const column = captionColumn ?? findColumn(known, captionColumns);
    // Where there are ids, something else is wrong with them.
    const hasIds = findColumn(known, ["id", ...imageColumns, ...urlColumns]) !== undefined;
    if (hasIds || column === undefined || !known.includes(column)) throw error;
    return await openCaptionTable({ file: path, captionColumn: column, idColumn: `hash:${column}`, secondColumn });
  }
}

async function* tableRows(table: CaptionTable, from?: number): AsyncGenerator<CaptionRow[]> {
  for await (const batch of readCaptionRows(table, from))
    yield batch.map(({ id, caption, image, second }) => (second === undefined ? { id, caption, image } : { id, caption, image, second }));
}

async function* heldRows(
  table: CaptionTable,
  held: HeldImages,
  wanted: (row: number) => boolean = () => true,
): AsyncGenerator<CaptionRow[]> {
  for await (const batch of readCaptionRows(table, 0, true)) {
    yield batch.map(({ row, id, caption, image, bytes, second }) => {
      const stored = bytes && wanted(row - 1) ? held.add(bytes, `${table.file}, row ${row}`) : null;
      return second === undefined ? { id, caption, image, stored } : { id, caption, image, stored, second };
    });
  }
}

async function* inTurn(tars: NonNullable<CaptionsInput["tars"]>): AsyncGenerator<CaptionRow[]> {
  for (const tar of tars) yield* tar.rows();
}

async function* annotatedCaptions(files: readonly string[], options: CaptionsOptions): AsyncGenerator<CaptionRow[]> {
  for await (const batch of annotationRows(files, options)) yield batch.map(({ image: _image, ...caption }) => caption);
}

async function* lineRows(path: string): AsyncGenerator<CaptionRow[]> {
  for await (const lines of readLines(path)) yield lines.map((caption) => ({ id: hashedId(caption), caption }));
}

/** Name of the data set for people: the file's name. */
export function datasetName(path: string): string {
  return basename(path);
}
