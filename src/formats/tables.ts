/**
 * Tables on disk as batches of plain columns: csv, tsv, jsonl and parquet, read through DuckDB; parquet.ts writes.
 *
 * DuckDB streams, so that a table larger than memory costs one batch at a time, and row order is the file's order.
 * Text formats carry no types: their values come as text, an id "007" stays "007".
 */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import type { DuckDBConnection, DuckDBValue } from "@duckdb/node-api";
import { DataError, invariant, nearest } from "../support/index.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { FlatColumns } from "./flat-columns.ts";
import { connect, glob, guarded, identifier, literal, withConnection } from "./table-database.ts";
import { type ReadTableOptions, describe, fieldsOf, tableFormat, tableSource, types } from "./table-source.ts";

/** A value as it comes out of a table. Lists hold text. Integers beyond 2^53 come as bigint, bytes as they are. */
export type TableValue = string | number | bigint | boolean | null | readonly string[] | Uint8Array | Float32Array;

/** Some rows, column by column; all columns have `rows` values. */
export interface TableBatch {
  readonly rows: number;
  readonly columns: Readonly<Record<string, readonly TableValue[]>>;
}

/** Chunks of a stream, of about 2,000 rows, after which those that were read are freed. */
const chunksBetweenCollections = 128;

/**
 * Names of a table's columns, in file order.
 * @throws DataError when there is no such file, or it is not a table of that format
 */
export async function tableColumns(path: string, options: Omit<ReadTableOptions, "columns"> = {}): Promise<string[]> {
  const source = tableSource(path, options);
  return await withConnection(path, async (connection) => await describe(connection, source));
}

/**
 * Reads a table in batches of about 2,000 rows, in file order.
 * In csv and tsv an empty field is the empty text; in jsonl and parquet a missing value is null.
 * @throws DataError when the file or a column is missing (it lists the columns there are), a row can't be read, or a column that must be
 *   flat holds lists or records
 */
export async function* readTable(path: string, options: ReadTableOptions = {}): AsyncGenerator<TableBatch> {
  const source = tableSource(path, options);
  const connection = await connect();
  try {
    const known = await guarded(path, () => describe(connection, source));
    const wanted = options.columns ?? known;
    const fields = new Map(wanted.some((column) => !known.includes(column)) ? await guarded(path, () => fieldsOf(connection, source)) : []);
    for (const column of wanted) if (!known.includes(column) && !fields.has(column)) throw missingColumn(path, column, known);
    if (wanted.length === 0) return;
    const { flat = [] } = options;
    const flatColumns = await FlatColumns.of(connection, path, source, flat);
    const textual = source.format === "csv" || source.format === "tsv";
    // Columns are named by position in the query, so that any name a file may use needs no further care in JavaScript objects.
    const query = `SELECT ${wanted.map((column) => fields.get(column) ?? identifier(column)).join(", ")} FROM ${source.typed(known)} OFFSET ${options.from ?? 0}`;
    for await (const chunk of streamColumns(connection, path, query, wanted.length)) {
      for (const column of flat) await flatColumns.check(column, chunk[wanted.indexOf(column)]!);
      const columns: Record<string, readonly TableValue[]> = Object.create(null) as Record<string, readonly TableValue[]>;
      chunk.forEach((values, i) => (columns[wanted[i]!] = values.map((value) => plain(value, textual))));
      yield { rows: chunk[0]!.length, columns };
    }
  } finally {
    connection.closeSync();
  }
}

/** What `readTextMasks` looks for: columns of text, and which values of `column` matter. */
export interface TextMaskOptions {
  readonly key: string;
  readonly column: string;
  /** At most 52. */
  readonly values: readonly string[];
}

/**
 * Which of some values stand beside each key in parquet files, found without handing every row to JavaScript.
 *
 * Bit i of a mask (2^i) means that `values[i]` does. Each key comes once, in no order; keys beside no such value don't come.
 * @throws DataError when a file or column is missing, or a file is damaged
 */
export async function* readTextMasks(
  paths: readonly string[],
  { key, column, values }: TextMaskOptions,
): AsyncGenerator<{ keys: readonly string[]; masks: readonly number[] }> {
  invariant(values.length <= 52, "a mask has no room for more than 52 values");
  if (paths.length === 0 || values.length === 0) return;
  for (const path of paths) if (!existsSync(path)) throw new DataError(`${path}: no such file.`);
  const bits = values.map((value, i) => `WHEN ${literal(value)} THEN ${2 ** i}::BIGINT`).join(" ");
  const query =
    `SELECT ${identifier(key)}, bit_or(CASE ${identifier(column)} ${bits} END)::DOUBLE ` +
    `FROM read_parquet([${paths.map((path) => literal(glob(path))).join(", ")}]) ` +
    `WHERE ${identifier(column)} IN (${values.map((value) => literal(value)).join(", ")}) GROUP BY 1`;
  const connection = await connect();
  try {
    const where = paths.length === 1 ? paths[0]! : dirname(paths[0]!);
    for await (const [keys, masks] of streamColumns(connection, where, query, 2)) {
      yield { keys: keys as string[], masks: masks as number[] };
    }
  } finally {
    connection.closeSync();
  }
}

/**
 * What a query gives, about 2,000 rows at a time, column by column.
 *
 * A stream that meets a row it can't read ends as if that were the end of the table. So a row of our own follows the query's: where it
 * does not come, something went wrong, and asking anew without a stream says what.
 */
async function* streamColumns(
  connection: DuckDBConnection,
  path: string,
  query: string,
  width: number,
): AsyncGenerator<readonly DuckDBValue[][]> {
  const last = `SELECT ${"NULL, ".repeat(width)}true`;
  const result = await guarded(path, () => connection.stream(`SELECT *, false FROM (${query}) UNION ALL ${last}`));
  for (let count = 1; ; count++) {
    const chunk = await guarded(path, () => result.fetchChunk());
    if (chunk === null || chunk.rowCount === 0) break;
    if (count % chunksBetweenCollections === 0) collectGarbage();
    // One by one and not all columns at once: the last is looked at in its last row only.
    const ended = chunk.getColumnVector(width).getItem(chunk.rowCount - 1) === true;
    const rows = ended ? chunk.rowCount - 1 : chunk.rowCount;
    const columns = Array.from({ length: width }, (_, column) => {
      const vector = chunk.getColumnVector(column);
      const values: DuckDBValue[] = [];
      for (let row = 0; row < rows; row++) values.push(vector.getItem(row));
      return values;
    });
    if (rows > 0) yield columns;
    if (ended) return;
  }
  await guarded(path, () => connection.run(`SELECT bit_xor(hash("a row")) FROM (${query}) "a row"`));
  throw new DataError(`${path}: reading this table ended before its last row.`, { mend: "Check that the file is not being changed." });
}

/** The error for a column that a table lacks: it lists the columns there are. */
export function missingColumn(path: string, column: string, known: readonly string[]): DataError {
  return new DataError(`${path}: there is no column "${column}". Its columns are: ${known.join(", ") || "none"}.`, {
    mend:
      known.length > 0
        ? `Did you mean "${nearest(column, known, 1)[0]}"? Name the right column, or check the first line of the file.`
        : "Check the file.",
  });
}

/** A line of csv, with its end. Fields that would be read as something else stand in quotes: an empty one would be a missing value. */
export function csvLine(fields: readonly string[]): string {
  return `${fields.map((text) => (/[",\r\n]|^\s|\s$|^$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)).join(",")}\n`;
}

/**
 * The columns of a parquet file that hold bytes: columns of their own, or the field `bytes` of a column of records, as Hugging Face's data
 * sets store images. By the name to read them with; `path` is that of the field beside them that names the file they come from.
 * @throws DataError when there is no such file, or it is damaged
 */
export async function bytesColumns(path: string): Promise<Map<string, { bytes: string; path?: string }>> {
  const found = new Map<string, { bytes: string; path?: string }>();
  if (tableFormat(path) !== "parquet") return found;
  const source = tableSource(path, {});
  await withConnection(path, async (connection) => {
    for (const [name, type] of await types(connection, source)) {
      if (type === "BLOB") found.set(name, { bytes: name });
      // Not a list of such records: whose image would it be?
      if (/^STRUCT\(.*\bbytes\b"? BLOB.*\)$/.test(type)) {
        found.set(name, { bytes: `${name}.bytes`, ...(/\bpath\b"? VARCHAR/.test(type) ? { path: `${name}.path` } : {}) });
      }
    }
  });
  return found;
}

function plain(value: DuckDBValue, textual: boolean): TableValue {
  if (value === null) return textual ? "" : null;
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "object" && "bytes" in value && value.bytes instanceof Uint8Array) return value.bytes;
  if (typeof value === "object" && "items" in value && Array.isArray(value.items)) return value.items.map((item) => String(item));
  return String(value);
}
