/**
 * The captions to rewrite: a table (csv, tsv, jsonl, parquet) or a text file with one caption a line.
 *
 * Rewrites are joined to captions by id: the table's `id` column, else its image path, else a hash of the caption itself.
 * The names that are tried are those of src/data/pairs.ts, so that the ids are those that training will ask for.
 */
import { createReadStream, existsSync, statSync } from "node:fs";
import { basename, extname } from "node:path";
import { FingerprintBuilder, HashedKeys, hash64 } from "../data/index.ts";
import type { CaptionsFingerprint } from "../data/index.ts";
import { missingColumn, readTable, tableColumns, tableFormat } from "../formats/index.ts";
import type { TableValue } from "../formats/index.ts";
import { DataError, sha256 } from "../support/index.ts";

const imageColumns = ["image", "filepath", "path", "file", "file_name", "filename", "image_path"];
const captionColumns = ["caption", "title", "text"];
const imageExtensions = new Set([".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif"]);

export interface CaptionRow {
  readonly id: string;
  /** As written; may be empty. */
  readonly caption: string;
}

export interface CaptionsOptions {
  /** Column with the ids. Default: `id`, else the image path, else none: then the id is a hash of the caption. */
  idColumn?: string;
  /** Column with the captions. Default: `caption`, `title` or `text`. */
  captionColumn?: string;
}

/** What reading all captions once has shown. */
export interface CaptionsSurvey {
  readonly fingerprint: CaptionsFingerprint;
  /** Rows without a caption: they are neither rewritten nor part of the fingerprint. */
  readonly empty: number;
  /** Rows that repeat the id and the caption of an earlier one. */
  readonly repeated: number;
}

export interface CaptionsInput {
  readonly path: string;
  /** Where ids come from, in words: `column "id"`. */
  readonly idFrom: string;
  /** All rows in file order, in batches. */
  rows(): AsyncGenerator<CaptionRow[]>;
  /**
   * Reads everything once: counts, fingerprint, checks.
   * @throws DataError when an id is empty or stands for two different captions
   */
  survey(): Promise<CaptionsSurvey>;
}

/**
 * Opens a file of captions.
 * @throws DataError when the file or a column is missing, or it is not clear which column holds the captions
 */
export async function openCaptions(path: string, options: CaptionsOptions = {}): Promise<CaptionsInput> {
  if (!existsSync(path)) throw new DataError(`${path}: no such file of captions.`);
  if (statSync(path).isDirectory())
    throw new DataError(`${path}: this is a folder, expected a file of captions.`, {
      mend: "Give the table inside it: csv, tsv, jsonl or parquet, or a text file.",
    });
  const layout = /\.txt$/i.test(path) ? undefined : await findLayout(path, options);
  const rows = (): AsyncGenerator<CaptionRow[]> => (layout ? tableRows(path, layout) : lineRows(path));
  return {
    path,
    idFrom: layout === undefined ? "a hash of the caption" : layout.id === undefined ? "a hash of the caption" : `column "${layout.id}"`,
    rows,
    survey: async () => await survey(path, rows()),
  };
}

interface Layout {
  header: boolean;
  caption: string;
  id: string | undefined;
}

async function findLayout(path: string, options: CaptionsOptions): Promise<Layout> {
  const known = await tableColumns(path);
  for (const name of [options.idColumn, options.captionColumn])
    if (name !== undefined && !known.includes(name)) throw missingColumn(path, name, known);
  const find = (names: readonly string[]): string | undefined =>
    names.map((name) => known.find((column) => column.toLowerCase() === name)).find((column) => column !== undefined);
  const image = find(imageColumns);
  const caption = options.captionColumn ?? find(captionColumns);
  if (caption !== undefined) return { header: true, caption, id: options.idColumn ?? find(["id"]) ?? image };
  // LaCLIP's own files have no header line: relative image path, caption.
  const format = tableFormat(path);
  if ((format === "csv" || format === "tsv") && known.length === 2 && imageExtensions.has(extname(known[0]!).toLowerCase())) {
    const [first, second] = await tableColumns(path, { header: false });
    return { header: false, caption: second!, id: first! };
  }
  throw new DataError(
    `${path}: which column holds the captions? Expected one of: ${captionColumns.join(", ")}. Its columns are: ${known.join(", ")}.`,
    { mend: "Name it with --caption-column." },
  );
}

async function* tableRows(path: string, { header, caption, id }: Layout): AsyncGenerator<CaptionRow[]> {
  const columns = [...new Set(id === undefined ? [caption] : [caption, id])];
  for await (const batch of readTable(path, { columns, header })) {
    yield Array.from({ length: batch.rows }, (_, i) => {
      const text = asText(batch.columns[caption]![i]!);
      return { caption: text, id: id === undefined ? idOfCaption(text) : asText(batch.columns[id]![i]!) };
    });
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

async function survey(path: string, batches: AsyncIterable<readonly CaptionRow[]>): Promise<CaptionsSurvey> {
  const fingerprint = new FingerprintBuilder();
  const captions = new HashedKeys();
  let [row, empty, repeated] = [0, 0, 0];
  for await (const batch of batches) {
    for (const { id, caption } of batch) {
      row++;
      if (isEmpty(caption)) {
        empty++;
        continue;
      }
      if (id === "")
        throw new DataError(`${path}: row ${row} has no id.`, { mend: "Fill in its id, or name another column with --id-column." });
      const [hash] = hash64(caption);
      const before = captions.get(id);
      if (before !== undefined && before !== hash) {
        throw new DataError(`${path}: row ${row}: the id ${JSON.stringify(id)} occurs twice with different captions.`, {
          mend: "Ids join rewrites to captions. Name a column with --id-column whose values are unique.",
        });
      }
      if (before !== undefined) repeated++;
      captions.set(id, hash);
      fingerprint.add(id, caption);
    }
  }
  if (row === 0) throw new DataError(`${path}: there is no caption in this file.`);
  return { fingerprint: fingerprint.finish(), empty, repeated };
}

/** A caption of nothing but spaces can't be rewritten. */
export function isEmpty(caption: string): boolean {
  return caption.trim() === "";
}

/** Name of the data set for people: the file's name. */
export function datasetName(path: string): string {
  return basename(path);
}

function idOfCaption(caption: string): string {
  return sha256(caption).slice(0, 16);
}

function asText(value: TableValue): string {
  return value === null ? "" : String(value);
}
