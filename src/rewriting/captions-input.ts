/**
 * The captions to rewrite: a table (csv, tsv, jsonl, parquet) or a text file with one caption a line.
 *
 * Rewrites are joined to captions by id. Tables are read as training reads them (src/data/caption-table.ts), so that both have the
 * same ids: the `id` column, else the image path. A text file, or a table of captions alone, has the hash of each caption as id.
 */
import { createReadStream, existsSync, statSync } from "node:fs";
import { basename } from "node:path";
import { captionColumns, findColumn, openCaptionTable, readCaptionRows } from "../data/index.ts";
import type { CaptionTable } from "../data/index.ts";
import { tableColumns } from "../formats/index.ts";
import { DataError, LaclipError, sha256 } from "../support/index.ts";
import { surveyCaptions } from "./captions-survey.ts";
import type { CaptionsSurvey } from "./captions-survey.ts";

/** A caption to rewrite. */
export interface CaptionRow {
  readonly id: string;
  /** As written; may be empty. */
  readonly caption: string;
  /** Another caption of the same image, where such were asked for; "" where this one has none. */
  readonly second?: string;
}

/** Which column is which, where the names say too little. */
export interface CaptionsOptions {
  /** Column with the ids. Default: `id`, else the image path, else none: then the id is a hash of the caption. */
  idColumn?: string;
  /** Column with the captions. Default: `caption`, `title` or `text`. */
  captionColumn?: string;
  /** Column with another caption of the same image, for prompts that merge two. Default: none is read. */
  secondColumn?: string;
}

/** A file of captions that can be read again and again. */
export interface CaptionsInput {
  readonly path: string;
  /** Where ids come from, in words: `column "id"`. */
  readonly idFrom: string;
  /** Where second captions come from, in words; undefined where there are none. */
  readonly secondFrom?: string | undefined;
  /** All rows in file order, in batches. */
  rows(): AsyncGenerator<CaptionRow[]>;
  /**
   * Reads everything once: counts, fingerprint, checks.
   * @throws DataError when an id is empty or stands for two different captions
   */
  survey(): Promise<CaptionsSurvey>;
}

/**
 * Opens a file of captions, or a folder that holds `captions.csv` (or .tsv, .jsonl, .parquet).
 * @throws DataError when the file or a column is missing, or it is not clear which column holds the captions
 */
export async function openCaptions(path: string, options: CaptionsOptions = {}): Promise<CaptionsInput> {
  if (!existsSync(path)) throw new DataError(`${path}: no such file of captions.`);
  if (/\.txt$/i.test(path) && options.secondColumn === undefined) return input(path, "a hash of the caption", () => lineRows(path));
  const { table, hashed } = await openTable(path, options);
  const idFrom = hashed ? "a hash of the caption" : `column "${table.idColumn ?? table.imageColumn}"`;
  const secondFrom = table.secondColumn === undefined ? undefined : `column "${table.secondColumn}"`;
  return { ...input(table.file, idFrom, () => tableRows(table, hashed)), secondFrom };
}

function input(path: string, idFrom: string, rows: () => AsyncGenerator<CaptionRow[]>): CaptionsInput {
  return { path, idFrom, rows, survey: async () => await surveyCaptions(path, rows()) };
}

async function openTable(path: string, options: CaptionsOptions): Promise<{ table: CaptionTable; hashed: boolean }> {
  const { idColumn, captionColumn, secondColumn } = options;
  try {
    return { table: await openCaptionTable({ file: path, idColumn, captionColumn, secondColumn }), hashed: false };
  } catch (error) {
    if (!LaclipError.is(error) || idColumn !== undefined || statSync(path).isDirectory()) throw error;
    // A table of captions alone is enough for rewriting; its captions stand in for the ids that it lacks.
    const known = await tableColumns(path);
    const column = captionColumn ?? findColumn(known, captionColumns);
    if (column === undefined || !known.includes(column)) throw error;
    return { table: await openCaptionTable({ file: path, captionColumn: column, idColumn: column, secondColumn }), hashed: true };
  }
}

async function* tableRows(table: CaptionTable, hashed: boolean): AsyncGenerator<CaptionRow[]> {
  for await (const batch of readCaptionRows(table)) {
    yield batch.map(({ id, caption, second }) => ({
      id: hashed ? idOfCaption(caption) : id,
      caption,
      ...(second === undefined ? {} : { second }),
    }));
  }
}

/** Lines as Python's `readlines()` has them: \n, \r\n and \r end a line, nothing else does. */
async function* lineRows(path: string): AsyncGenerator<CaptionRow[]> {
  let rest = "";
  const toRows = (lines: readonly string[]): CaptionRow[] => lines.map((caption) => ({ id: idOfCaption(caption), caption }));
  for await (const chunk of createReadStream(path, "utf8")) {
    rest += chunk as string;
    // A \r at the end may be the first half of \r\n.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop()!;
    if (lines.length > 0) yield toRows(lines);
  }
  if (rest !== "") yield toRows([rest.replace(/\r$/, "")]);
}

/** Name of the data set for people: the file's name. */
export function datasetName(path: string): string {
  return basename(path);
}

function idOfCaption(caption: string): string {
  return sha256(caption).slice(0, 16);
}
