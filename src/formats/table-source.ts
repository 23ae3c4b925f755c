/** A file as the database reads it: its format, its columns, the types they are read with. */
import { existsSync, statSync } from "node:fs";
import type { DuckDBConnection } from "@duckdb/node-api";
import { DataError } from "../support/index.ts";
import { glob, identifier, literal } from "./table-database.ts";

/** Formats of tables that are read. */
export type TableFormat = "csv" | "tsv" | "jsonl" | "parquet";

/** What of a table is read, and how. */
export interface ReadTableOptions {
  /** Columns to read, in any order; `image.bytes` is the field `bytes` of a column `image` of records. Default: all. */
  columns?: readonly string[];
  /** Columns of these that must hold one value in each row: lists and records are refused. Default: none. */
  flat?: readonly string[];
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

/** The database's names of these. */
export const sqlTypes: Record<ColumnType, string> = {
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

const extensions: Record<string, TableFormat> = { csv: "csv", tsv: "tsv", tab: "tsv", jsonl: "jsonl", ndjson: "jsonl", parquet: "parquet" };

/** The format that a file's name promises, or undefined where it promises none of ours. */
export function tableFormat(path: string): TableFormat | undefined {
  const extension = /\.([a-z0-9]+)$/i.exec(path.replace(/\.(gz|zst)$/i, ""))?.[1];
  return extension === undefined ? undefined : extensions[extension.toLowerCase()];
}

/** A table in the words of a query. */
export interface TableSource {
  readonly format: TableFormat;
  /** The table as it describes itself. */
  readonly plain: string;
  /** The same without regard to quotes, for when the first way fails. */
  readonly plainUnquoted?: string;
  /** The table with the types we want to read, once its columns are known. */
  typed(columns: readonly string[]): string;
}

/** @throws DataError when there is no such file, or its name says no format */
export function tableSource(path: string, options: Omit<ReadTableOptions, "columns">): TableSource {
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

/** A jsonl file with columns of these types, in the words of a query; `json` leaves values as they stand in the file. */
export function jsonReader(path: string, columns: Readonly<Record<string, ColumnType | "json">>): string {
  const types = Object.entries(columns).map(([name, type]) => `${literal(name)}: '${type === "json" ? "JSON" : sqlTypes[type]}'`);
  return `read_json(${literal(glob(path))}, format='newline_delimited', maximum_object_size=${longestRow}, columns={${types.join(", ")}})`;
}

/** Columns of a table with their types. */
export async function types(connection: DuckDBConnection, { plain }: TableSource): Promise<[name: string, type: string][]> {
  const rows = await (await connection.run(`DESCRIBE SELECT * FROM ${plain}`)).getRows();
  return rows.map((row) => [String(row[0]), String(row[1])]);
}

/** The fields of columns of records, and how a query names them. */
export async function fieldsOf(connection: DuckDBConnection, source: TableSource): Promise<[name: string, expression: string][]> {
  const fields: [string, string][] = [];
  for (const [name, type] of await types(connection, source)) {
    if (!type.startsWith("STRUCT(")) continue;
    for (const field of ["bytes", "path"]) {
      if (new RegExp(`\\b${field}\\b`).test(type)) fields.push([`${name}.${field}`, `${identifier(name)}.${identifier(field)}`]);
    }
  }
  return fields;
}

/** Names of a table's columns. */
export async function describe(connection: DuckDBConnection, { plain, plainUnquoted }: TableSource): Promise<string[]> {
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
