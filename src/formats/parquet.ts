/** Tables written as parquet, zstd-compressed: beside their place, synced, renamed. */
import { resolve } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { explainReadFailure, explainWriteFailure, replaceFile } from "../support/index.ts";
import { glob, identifier, literal, withConnection } from "./table-database.ts";
import { type ColumnType, jsonReader, sqlTypes } from "./table-source.ts";
import type { TableBatch } from "./tables.ts";

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
  await replaceFile(path, async (beside) => {
    try {
      await connection.run(`COPY (${query}) TO ${literal(beside)} (FORMAT parquet, COMPRESSION zstd)`);
    } catch (error) {
      throw explainDatabaseWriting(error, beside);
    }
  });
}

/**
 * Why DuckDB could not write: it gives the system's reason in words only.
 * @param path what was to be written, or the folder that it works in
 */
export function explainDatabaseWriting(error: unknown, path: string): unknown {
  const said = error instanceof Error ? error.message : "";
  const code = [...systemReasons].find(([words]) => words.test(said))?.[1];
  if (code === undefined) return error;
  const explained = Object.assign(new Error(said), { code });
  // A query that writes reads other files, which may be what it has no permission for.
  const file = /file "([^"]+)"/.exec(said)?.[1];
  // It calls files by their whole path, with links followed, whatever it was given.
  const isOwn = file === undefined || /could not write/i.test(said) || [path, resolve(path)].some((own) => file.startsWith(own));
  return isOwn ? explainWriteFailure(explained, path) : explainReadFailure(explained, file);
}

const systemReasons = new Map([
  [/no space left on device|disk quota/i, "ENOSPC"],
  [/file too large/i, "EFBIG"],
  [/read-only file system/i, "EROFS"],
  [/permission denied/i, "EACCES"],
]);
