/**
 * A table of captions on disk, row by row: which columns mean what, and what id each row has.
 *
 * Tables: csv, tsv, jsonl and parquet; also LaCLIP's own csv, which has no header line and holds `relative image path,caption`, and
 * the tsv of Conceptual Captions, without one too, with `caption<TAB>address` or the other way round.
 * A row's id is its `id` column, else the image path as written, else a hash of the image's address. Rewriting and training must
 * agree on it: both read tables here.
 */
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { extname, join, resolve } from "node:path";
import { bytesColumns, missingColumn, readTable, tableColumns, tableFormat, type TableValue } from "../formats/index.ts";
import { DataError } from "../support/index.ts";
import { describeHash, hashedColumns, hashedId } from "./hashed-ids.ts";

/** Names tried for the captions, in this order and in any case, where no column is named. */
export const captionColumns: readonly string[] = ["caption", "title", "text"];
/** Names tried for the image paths, likewise. */
export const imageColumns: readonly string[] = ["image", "filepath", "path", "file", "file_name", "filename", "image_path"];
/** Names tried for the addresses of images, likewise; hashed, they are ids where there is nothing better. */
export const urlColumns: readonly string[] = ["url", "image_url"];
/** Extensions of the image files that can be decoded. */
export const imageExtensions: ReadonlySet<string> = new Set([".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif"]);
/** Tables looked for where a folder is given. */
const tableNames = ["csv", "tsv", "jsonl", "parquet"].map((extension) => `captions.${extension}`);

/** A table and, where its names say too little, which column is which. */
export interface CaptionTableOptions {
  /** The table; or a folder that holds `captions.csv` (or .tsv, .jsonl, .parquet). */
  file: string;
  /** Default: the first of image, filepath, path, file, file_name, filename, image_path that there is. */
  imageColumn?: string | undefined;
  /** Default: the first of caption, title, text that there is. */
  captionColumn?: string | undefined;
  /**
   * Default: `id` where there is such a column, else the image path as written, else a hash of `url` or `image_url`.
   * `hash:NAME` or `hash:NAME,NAME` is a hash of these columns.
   */
  idColumn?: string | undefined;
  /** Column with another caption of the same image, as a captioning model writes it. Default: none is read. */
  secondColumn?: string | undefined;
}

/** A row of a table of captions. */
export interface CaptionRow {
  /** Row of the table, from 1, without the header line. */
  row: number;
  /** "" where the row has none. */
  id: string;
  /** Image path as written; "" where the row, or the table, has none. */
  image: string;
  /** The image file itself, where the table holds it and it was asked for. */
  bytes?: Uint8Array | undefined;
  /** As written; may be empty. */
  caption: string;
  /** Another caption of the same image; only where a column for it was named, "" where the row has none. */
  second?: string;
}

/** The columns of a table of captions. */
export interface CaptionTable {
  /** Absolute path of the table. */
  file: string;
  header: boolean;
  captionColumn: string;
  /** Column of the images' paths. Undefined where the table has ids but no images, which is enough for rewriting. */
  imageColumn: string | undefined;
  /** Column of the images themselves, where a parquet file holds them. */
  bytesColumn?: string | undefined;
  /** Undefined where the image path, or a hash, serves as id. */
  idColumn: string | undefined;
  /** Columns whose hash serves as id. */
  hashColumns?: readonly string[] | undefined;
  /** Undefined where no second caption was asked for. */
  secondColumn?: string | undefined;
}

/**
 * Finds out which columns of a table are which.
 *
 * @throws DataError when there is no table, or a column is missing; it lists the columns there are
 */
export async function openCaptionTable(options: CaptionTableOptions): Promise<CaptionTable> {
  const file = findTable(resolve(options.file));
  refuseNoText(file);
  const known = await tableColumns(file);
  const { secondColumn } = options;
  const hashed = hashedColumns(options.idColumn);
  const named = [options.imageColumn, options.captionColumn, ...(hashed ?? [options.idColumn]), secondColumn].filter(
    (name) => name !== undefined,
  );
  for (const name of named) if (!known.includes(name)) throw missingColumn(file, name, known);
  const namedImage = options.imageColumn ?? findColumn(known, imageColumns);
  // A column of images is read for its bytes; what it says of their names may serve as id.
  const held = (await bytesColumns(file)).get(namedImage ?? "");
  const imageColumn = held ? held.path : namedImage;
  const inside = held ? { bytesColumn: held.bytes } : {};
  const captionColumn = options.captionColumn ?? findColumn(known, captionColumns);
  const idColumn = hashed ? undefined : (options.idColumn ?? findColumn(known, ["id"]));
  const url = findColumn(known, urlColumns);
  // Images that lie in the table need no name; then the caption may tell its row from others.
  const hashable = url ?? (held ? captionColumn : undefined);
  const hashColumns = hashed ?? ((imageColumn ?? idColumn) === undefined && hashable !== undefined ? [hashable] : undefined);
  if (captionColumn !== undefined && (imageColumn ?? idColumn ?? hashColumns) !== undefined) {
    const chosen = [captionColumn, imageColumn, idColumn, ...(hashColumns ?? []), secondColumn].filter((name) => name !== undefined);
    await refuseRepeated(file, chosen, known);
    const second = secondColumn === undefined ? {} : { secondColumn };
    return { file, header: true, imageColumn, captionColumn, idColumn, ...inside, ...(hashColumns ? { hashColumns } : {}), ...second };
  }

  const format = tableFormat(file);
  const textual = format === "csv" || format === "tsv";
  if (textual && named.length === 0 && known.length === 2) {
    const names = { file, header: false, idColumn: undefined };
    const [first, second] = ["column0", "column1"];
    const address = known.findIndex((name) => /^https?:\/\//i.test(name));
    if (address === 1) return { ...names, imageColumn: undefined, captionColumn: first, hashColumns: [second] };
    if (address === 0) return { ...names, imageColumn: undefined, captionColumn: second, hashColumns: [first] };
    if (imageExtensions.has(extname(known[0]!).toLowerCase())) return { ...names, imageColumn: first, captionColumn: second };
  }
  throw captionColumn === undefined
    ? unknownColumn(file, "caption", captionColumns, known)
    : unknownColumn(file, "image", imageColumns, known);
}

/**
 * The rows of a table, some thousands at a time, in its order.
 * @param from row to begin with, 0 the first
 * @param withBytes whether images that the table holds are read too
 * @throws DataError when a row can't be read, or a column that is read as text holds lists, records or, for captions, bytes
 */
export async function* readCaptionRows(table: CaptionTable, from = 0, withBytes = false): AsyncGenerator<CaptionRow[]> {
  const { file, header, imageColumn, captionColumn, idColumn, hashColumns, secondColumn } = table;
  const bytesColumn = withBytes ? table.bytesColumn : undefined;
  const flat = [
    ...new Set([captionColumn, imageColumn, idColumn, ...(hashColumns ?? []), secondColumn].filter((name) => name !== undefined)),
  ];
  const columns = bytesColumn === undefined ? flat : [...new Set([...flat, bytesColumn])];
  // Conceptual Captions' tsv knows no quotes: one that opens a caption is part of it.
  const quoted = header || imageColumn !== undefined;
  let before = from;
  for await (const batch of readTable(file, { columns, flat, header, quoted, from })) {
    const captions = batch.columns[captionColumn]!;
    const images = imageColumn === undefined ? undefined : batch.columns[imageColumn]!;
    const ids = hashColumns ? undefined : idColumn === undefined ? images! : batch.columns[idColumn]!;
    const idOf = (i: number): string => {
      if (ids) return asText(ids[i]);
      const parts = hashColumns!.map((name) => asText(batch.columns[name]![i]));
      return parts.includes("") ? "" : hashedId(...parts);
    };
    const written = (value: TableValue | undefined, i: number, column: string): string => {
      if (!(value instanceof Uint8Array)) return asText(value);
      const mend = "Write text there: in DuckDB, decode(...) makes it of UTF-8. Or name another column.";
      throw new DataError(`${file}: row ${before + i + 1} has bytes in column "${column}"; expected text.`, { mend });
    };
    const bytes = bytesColumn === undefined ? undefined : batch.columns[bytesColumn]!;
    const seconds = secondColumn === undefined ? undefined : batch.columns[secondColumn]!;
    // Millions of rows pass here: no second object for each.
    yield captions.map((text, i) => {
      const [row, id, image, caption] = [before + i + 1, idOf(i), asText(images?.[i]), written(text, i, captionColumn)];
      const second = seconds && written(seconds[i], i, secondColumn!);
      if (bytes) {
        const own = bytes[i] instanceof Uint8Array ? bytes[i] : undefined;
        return second === undefined ? { row, id, image, caption, bytes: own } : { row, id, image, caption, bytes: own, second };
      }
      return second === undefined ? { row, id, image, caption } : { row, id, image, caption, second };
    });
    before += batch.rows;
  }
}

/** Where the ids of a table's rows come from, in words: `column "id"`. */
export function describeIds({ header, idColumn, imageColumn, captionColumn, hashColumns }: CaptionTable): string {
  if (!hashColumns) return `column "${idColumn ?? imageColumn}"`;
  if (hashColumns.length === 1 && hashColumns[0] === captionColumn) return "a hash of the caption";
  return header ? describeHash(hashColumns) : "a hash of the image's address";
}

/** What to do about a row of the table that has no id. */
export function mendIds({ captionColumn }: CaptionTable): string {
  return `Fill it in, or name another column with --id-column; \`--id-column hash:${captionColumn}\` takes a hash of the caption as id.`;
}

/** The column that has one of these names, in any case; the first name that there is. */
export function findColumn(known: readonly string[], names: readonly string[]): string | undefined {
  return names.map((name) => known.find((column) => column.toLowerCase() === name)).find((column) => column !== undefined);
}

/**
 * Which of two columns with one name is meant, in small letters or capitals, nobody can tell. The database calls the second `caption_1`,
 * as a column may be called in the file: only its first line tells.
 * @param known the columns as the database calls them
 * @throws DataError when several columns have the name of one that is read
 */
async function refuseRepeated(file: string, chosen: readonly string[], known: readonly string[]): Promise<void> {
  const format = tableFormat(file);
  if (format !== "csv" && format !== "tsv") return;
  const bare = new Set(known.flatMap((name) => (/_\d+$/.test(name) ? [name.replace(/_\d+$/, "").toLowerCase()] : [])));
  if (!chosen.some((name) => bare.has(name.toLowerCase()))) return;
  const names = await tableColumns(file, { header: false });
  for await (const { rows, columns } of readTable(file, { columns: names, header: false })) {
    if (rows === 0) return;
    const first = names.map((name) => String(columns[name]![0]).replace(/^\ufeff/, ""));
    for (const name of chosen) {
      const alike = [...first.keys()].filter((i) => first[i]!.toLowerCase() === name.toLowerCase());
      if (alike.length < 2) continue;
      const places = alike.map((i) => `${i + 1} ("${first[i]}")`).join(" and ");
      throw new DataError(`${file}: several columns are called "${name}": columns ${places} of its first line.`, {
        mend: "Rename all but one of them in the first line.",
      });
    }
    return;
  }
}

/** The error for a table in which no column can be told to hold what is needed. */
function unknownColumn(file: string, kind: "image" | "caption", tried: readonly string[], known: readonly string[]): DataError {
  const what = kind === "image" ? "image path" : "caption";
  return new DataError(
    `${file}: which column holds the ${what}? Expected one of: ${tried.join(", ")}. Its columns are: ${known.join(", ") || "none"}.`,
    { mend: `Name the ${kind} column. A csv without a header line must hold two columns: relative image path, caption.` },
  );
}

/** The error for a table that has ids but no column of image paths. */
export async function noImageColumn(table: CaptionTable): Promise<DataError> {
  const known = await tableColumns(table.file, { header: table.header });
  if (table.header && findColumn(known, urlColumns) === undefined) return unknownColumn(table.file, "image", imageColumns, known);
  return new DataError(`${table.file}: this is a list of addresses, which holds no images and names no files.`, {
    mend:
      "Download the images, with img2dataset for instance, and give the tars that it leaves, with `--id-column hash:url` for rewrites of " +
      "this list. Or name the column of image paths.",
  });
}

/** True for a folder in which a table lies. */
export function isTableFolder(path: string): boolean {
  return tableNames.some((name) => existsSync(join(path, name)));
}

function findTable(path: string): string {
  if (!existsSync(path)) throw new DataError(`${path}: no such file or folder.`);
  if (!statSync(path).isDirectory()) return path;
  const found = tableNames.map((name) => join(path, name)).find((candidate) => existsSync(candidate));
  if (found !== undefined) return found;
  throw new DataError(`${path}: this folder holds no table of captions.`, {
    mend: `Put one of ${tableNames.join(", ")} there, or give the path of the table.`,
  });
}

function asText(value: TableValue | undefined): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : String(value);
}

/** Files that would be read as a table of odd columns: those with nothing in them, and those in the encoding of spreadsheets' "Unicode text". */
function refuseNoText(file: string): void {
  const mark = Buffer.alloc(2);
  const opened = openSync(file, "r");
  try {
    if (readSync(opened, mark) === 0)
      throw new DataError(`${file}: this file is empty.`, { mend: "Check that it was written to its end." });
  } finally {
    closeSync(opened);
  }
  if (mark.equals(Buffer.of(0xff, 0xfe)) || mark.equals(Buffer.of(0xfe, 0xff))) {
    throw new DataError(`${file}: this file is UTF-16; expected UTF-8.`, {
      mend: "Convert it, for instance with `iconv -f UTF-16 -t UTF-8`.",
    });
  }
}
