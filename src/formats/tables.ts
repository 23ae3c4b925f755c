/**
 * Tables on disk as batches of plain columns: csv, tsv, jsonl and parquet, read and written through DuckDB.
 *
 * DuckDB streams, so that a table larger than memory costs one batch at a time, and row order is the file's order.
 * Text formats carry no types: their values come as text, an id "007" stays "007".
 * The database itself is loaded when the first table is touched and lives in memory.
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { DuckDBConnection, DuckDBInstance, DuckDBValue } from "@duckdb/node-api";
import { DataError, LaclipError, explainWriteFailure, invariant, nearest, syncFolder } from "../support/index.ts";
import { collectGarbage } from "./collect-garbage.ts";

/** Formats of tables that are read. */
export type TableFormat = "csv" | "tsv" | "jsonl" | "parquet";

/** A value as it comes out of a table. Lists hold text. Integers beyond 2^53 come as bigint, bytes as they are. */
export type TableValue = string | number | bigint | boolean | null | readonly string[] | Uint8Array | Float32Array;

/** Some rows, column by column; all columns have `rows` values. */
export interface TableBatch {
  readonly rows: number;
  readonly columns: Readonly<Record<string, readonly TableValue[]>>;
}

/** What of a table is read, and how. */
export interface ReadTableOptions {
  /** Columns to read, in any order; `image.bytes` is the field `bytes` of a column `image` of records. Default: all. */
  columns?: readonly string[];
  /** csv and tsv: whether the first line holds names. Without one, columns are named `column0`, `column1`, ... Default true. */
  header?: boolean;
  /** csv and tsv: whether quotes around a field are not part of it. Default true. */
  quoted?: boolean;
  /** The row to begin with, 0 the first. Rows before it are passed over at a tenth of what reading them takes. Default 0. */
  from?: number;
  /** Default: by the file's extension, before `.gz` or `.zst`. */
  format?: TableFormat;
}

/** What a column holds: `text[]` is a list of text, `float32[]` of numbers, written from a Float32Array. */
export type ColumnType = "text" | "integer" | "number" | "boolean" | "text[]" | "float32[]";

const sqlTypes: Record<ColumnType, string> = {
  text: "VARCHAR",
  integer: "BIGINT",
  number: "DOUBLE",
  boolean: "BOOLEAN",
  "text[]": "VARCHAR[]",
  "float32[]": "FLOAT[]",
};

/**
 * Bytes of the longest row of a csv, tsv or jsonl file. The database takes buffers of sixteen times that for each such file; buffers of
 * nearly the same size as the longest row made it lose rows (1.5.6, 30,000 of 12 million), so their size is left to it.
 */
const longestRow = 4_194_304;

/** Chunks of a stream, of about 2,000 rows, after which those that were read are freed. */
const chunksBetweenCollections = 128;

const extensions: Record<string, TableFormat> = { csv: "csv", tsv: "tsv", tab: "tsv", jsonl: "jsonl", ndjson: "jsonl", parquet: "parquet" };

/** The format that a file's name promises, or undefined where it promises none of ours. */
export function tableFormat(path: string): TableFormat | undefined {
  const extension = /\.([a-z0-9]+)$/i.exec(path.replace(/\.(gz|zst)$/i, ""))?.[1];
  return extension === undefined ? undefined : extensions[extension.toLowerCase()];
}

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
 * @throws DataError when the file or a column is missing (it lists the columns there are), or a row can't be read
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
    const textual = source.format === "csv" || source.format === "tsv";
    // Columns are named by position in the query, so that any name a file may use needs no further care in JavaScript objects.
    const query = `SELECT ${wanted.map((column) => fields.get(column) ?? identifier(column)).join(", ")} FROM ${source.typed(known)} OFFSET ${options.from ?? 0}`;
    for await (const chunk of streamColumns(connection, path, query, wanted.length)) {
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
 * Writes rows as zstd-compressed parquet: beside its place, synced, renamed.
 * @param columns name and type of each column; batches hold a value for each of them
 * @returns number of rows written
 */
export async function writeParquet(
  path: string,
  columns: Readonly<Record<string, ColumnType>>,
  batches: AsyncIterable<TableBatch> | Iterable<TableBatch>,
): Promise<number> {
  const names = Object.keys(columns);
  return await withConnection(path, async (connection) => {
    const table = `rows_${Math.random().toString(36).slice(2)}`;
    await connection.run(
      `CREATE TEMP TABLE ${table} (${names.map((name) => `${identifier(name)} ${sqlTypes[columns[name]!]}`).join(", ")})`,
    );
    const { FLOAT, LIST, VARCHAR, listValue } = await import("@duckdb/node-api");
    const appender = await connection.createAppender(table, null, "temp");
    let rows = 0;
    for await (const batch of batches) {
      for (let row = 0; row < batch.rows; row++) {
        for (const name of names) {
          const value = batch.columns[name]?.[row] ?? null;
          if (value === null) appender.appendNull();
          else if (columns[name] === "text[]") appender.appendList(listValue([...(value as readonly string[])]), LIST(VARCHAR));
          else if (columns[name] === "float32[]") appender.appendList(listValue([...(value as Float32Array)]), LIST(FLOAT));
          else if (columns[name] === "integer") appender.appendBigInt(BigInt(value as number | bigint));
          else if (columns[name] === "number") appender.appendDouble(Number(value));
          else if (columns[name] === "boolean") appender.appendBoolean(value === true);
          else appender.appendVarchar(value as string);
        }
        appender.endRow();
      }
      rows += batch.rows;
    }
    appender.closeSync();
    await copyToParquet(connection, `SELECT * FROM ${table}`, path);
    await connection.run(`DROP TABLE ${table}`);
    return rows;
  });
}

/**
 * Turns a jsonl file into zstd-compressed parquet without passing the rows through JavaScript. Beside its place, synced, renamed.
 * @throws DataError when a line is not a JSON object with values of these types
 */
export async function jsonlToParquet(jsonl: string, path: string, columns: Readonly<Record<string, ColumnType>>): Promise<void> {
  await withConnection(path, async (connection) => {
    await copyToParquet(connection, `SELECT * FROM ${jsonReader(jsonl, columns)}`, path);
  });
}

/**
 * Joins parquet files with the same columns, or some of them, into one, row after row, without passing the rows through JavaScript.
 * Beside its place, synced, renamed.
 * @throws DataError when one of them is damaged
 */
export async function joinParquet(paths: readonly string[], path: string): Promise<void> {
  await withConnection(path, async (connection) => {
    const list = paths.map((one) => literal(glob(one))).join(", ");
    await copyToParquet(connection, `SELECT * FROM read_parquet([${list}], union_by_name=true)`, path);
  });
}

/** Writes what a query of DuckDB gives as zstd-compressed parquet: beside its place, synced, renamed. */
export async function copyToParquet(connection: DuckDBConnection, query: string, path: string): Promise<void> {
  const beside = `${path}.tmp-${process.pid}`;
  try {
    await connection.run(`COPY (${query}) TO ${literal(beside)} (FORMAT parquet, COMPRESSION zstd)`);
    const file = openSync(beside, "r+");
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    // The database reports a full disk in words only.
    const full = error instanceof Error && /no space left on device|disk quota/i.test(error.message);
    throw explainWriteFailure(full ? Object.assign(new Error(error.message), { code: "ENOSPC" }) : error, path);
  }
  syncFolder(dirname(path));
}

interface TableSource {
  readonly format: TableFormat;
  /** The table as it describes itself. */
  readonly plain: string;
  /** The same without regard to quotes, for when the first way fails. */
  readonly plainUnquoted?: string;
  /** The table with the types we want to read, once its columns are known. */
  typed(columns: readonly string[]): string;
}

function tableSource(path: string, options: Omit<ReadTableOptions, "columns">): TableSource {
  const format = options.format ?? tableFormat(path);
  if (format === undefined) {
    throw new DataError(`${path}: can't tell the format of this table from its name.`, {
      mend: "Use a file ending in .csv, .tsv, .jsonl or .parquet (the first three also with .gz).",
    });
  }
  if (!existsSync(path)) throw new DataError(`${path}: no such file.`);
  if (statSync(path).isDirectory()) throw new DataError(`${path}: this is a folder, expected a ${format} file.`);
  if (format === "parquet")
    return { format, plain: `read_parquet(${literal(glob(path))})`, typed: () => `read_parquet(${literal(glob(path))})` };
  if (format === "jsonl") {
    return {
      format,
      plain: `read_json(${literal(glob(path))}, format='newline_delimited', maximum_object_size=${longestRow})`,
      typed: (columns) => jsonReader(path, Object.fromEntries(columns.map((column) => [column, "text" as const]))),
    };
  }
  // Whatever is left open the database guesses from the first rows: a caption that begins with # would make it pass over all such rows.
  const { header = true, quoted = true } = options;
  const settings = `delim='${format === "csv" ? "," : "\t"}', comment='', skip=0, header=${header}, max_line_size=${longestRow}`;
  const reader = (quote: boolean, more: string): string =>
    `read_csv(${literal(glob(path))}, ${settings}, ${quote ? `quote='"', escape='"'` : "quote='', escape=''"}, ${more})`;
  return {
    format,
    // Rows that do not fit must not keep the names from being read: reading the rows says which line it is.
    plain: reader(quoted, "all_varchar=true, sample_size=1, ignore_errors=true"),
    // A first line with a quote that opens and never closes: no header, but enough to tell Conceptual Captions by.
    plainUnquoted: reader(false, "all_varchar=true, sample_size=1, ignore_errors=true"),
    typed: (columns) => reader(quoted, `auto_detect=false, columns={${columns.map((name) => `${literal(name)}: 'VARCHAR'`).join(", ")}}`),
  };
}

function jsonReader(path: string, columns: Readonly<Record<string, ColumnType>>): string {
  const types = Object.entries(columns).map(([name, type]) => `${literal(name)}: '${sqlTypes[type]}'`);
  return `read_json(${literal(glob(path))}, format='newline_delimited', maximum_object_size=${longestRow}, columns={${types.join(", ")}})`;
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
      if (/^STRUCT\(.*\bbytes\b"? BLOB/.test(type)) {
        found.set(name, { bytes: `${name}.bytes`, ...(/\bpath\b"? VARCHAR/.test(type) ? { path: `${name}.path` } : {}) });
      }
    }
  });
  return found;
}

async function types(connection: DuckDBConnection, { plain }: TableSource): Promise<[name: string, type: string][]> {
  const rows = await (await connection.run(`DESCRIBE SELECT * FROM ${plain}`)).getRows();
  return rows.map((row) => [String(row[0]), String(row[1])]);
}

/** The fields of columns of records, and how a query names them. */
async function fieldsOf(connection: DuckDBConnection, source: TableSource): Promise<[name: string, expression: string][]> {
  const fields: [string, string][] = [];
  for (const [name, type] of await types(connection, source)) {
    if (!type.startsWith("STRUCT(")) continue;
    for (const field of ["bytes", "path"]) {
      if (new RegExp(`\\b${field}\\b`).test(type)) fields.push([`${name}.${field}`, `${identifier(name)}.${identifier(field)}`]);
    }
  }
  return fields;
}

async function describe(connection: DuckDBConnection, { plain, plainUnquoted }: TableSource): Promise<string[]> {
  const names = async (table: string): Promise<string[]> => {
    const rows = await (await connection.run(`DESCRIBE SELECT * FROM ${table}`)).getRows();
    return rows.map((row) => String(row[0]));
  };
  try {
    return await names(plain);
  } catch (error) {
    if (plainUnquoted === undefined) throw error;
    return await names(plainUnquoted);
  }
}

function plain(value: DuckDBValue, textual: boolean): TableValue {
  if (value === null) return textual ? "" : null;
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "object" && "bytes" in value && value.bytes instanceof Uint8Array) return value.bytes;
  if (typeof value === "object" && "items" in value && Array.isArray(value.items)) return value.items.map((item) => String(item));
  return String(value);
}

let database: Promise<DuckDBInstance> | undefined;

async function connect(): Promise<DuckDBConnection> {
  // Extensions are never fetched: everything used here is built in, and a reader of files has no business on the network.
  database ??= import("@duckdb/node-api").then(({ DuckDBInstance }) =>
    DuckDBInstance.create(":memory:", { autoinstall_known_extensions: "false", autoload_known_extensions: "false" }),
  );
  return await (await database).connect();
}

async function withConnection<T>(path: string, work: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
  const connection = await connect();
  try {
    return await guarded(path, () => work(connection));
  } finally {
    connection.closeSync();
  }
}

/** Runs a query; what the database says about a bad file becomes a DataError about that file. */
async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (LaclipError.is(error) || !(error instanceof Error) || "code" in error) throw error;
    const [, line, text, reason] =
      /CSV Error on Line: (\d+)\nOriginal Line: ([^]*?)\n+([^\n]+)\n+Possible/.exec(error.message.replaceAll("\r", "")) ?? [];
    if (line !== undefined) {
      const otherEncoding = /^Invalid unicode/i.test(reason!);
      const plainly = reason!
        .replace(/^Invalid unicode.*$/i, "it is not valid UTF-8")
        .replace(/^Expected Number of Columns: (\d+) Found: (\d+)$/, "expected $1 fields, found $2")
        .replace(/^Value with unterminated quote found\.$/, "a quoted field does not end, or goes on after its quote")
        .replace(/\.$/, "");
      const start = text!.length > 100 ? `${text!.slice(0, 100)}...` : text!;
      throw new DataError(`${path}: line ${line} can't be read: ${plainly}. It begins: ${JSON.stringify(start)}.`, {
        mend: otherEncoding
          ? "Convert the file, for instance with `iconv -f WINDOWS-1252 -t UTF-8`, or mend that line."
          : "A field with a comma, a quote or a line break stands in quotes, and a quote in it is written twice.",
        cause: error,
      });
    }
    const said = error.message
      .split(/\n\s*\n|\n(?=LINE \d)|\nThe search space/)[0]!
      .replace(/\s+/g, " ")
      .trim();
    throw new DataError(`${path}: this table can't be read: ${said}`, {
      mend: "Check that the file is complete and of the format that its name says.",
      cause: error,
    });
  }
}

/** Brackets, stars and question marks in a name are meant as such, never as a pattern. */
function glob(path: string): string {
  return path.replace(/[[*?]/g, "[$&]");
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
