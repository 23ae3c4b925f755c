/**
 * Texts put beside rows by key, for more of both than memory holds: DuckDB joins them in a file of its own and sorts the rows back
 * into their order.
 */
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { DuckDBAppender, DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { explainWriteFailure, invariant } from "../support/index.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { copyToParquet, explainDatabaseWriting } from "./parquet.ts";

/** A key and a text. */
export interface KeyedText {
  readonly key: string;
  readonly text: string;
}

/** A row with what stands beside it: for each column its text, or undefined where there is none. */
export interface JoinedRow extends KeyedText {
  readonly texts: readonly (string | undefined)[];
}

/** What the database may take; what has no room in its memory goes to its folder. More threads would need more memory each. */
const limits = { memory_limit: "256MB", threads: "2" };

/** Chunks of the result, of about 2,000 rows, after which those that were read are freed. */
const chunksBetweenCollections = 32;

/**
 * Where the database is. DuckDB takes what follows a question mark in a path for settings, also where it follows links to it, and then
 * looks for its log elsewhere: there it has no file, and puts what its memory has no room for, uncompressed, where it puts what it spills.
 */
function databasePath(folder: string): string {
  return realpathSync(folder).includes("?") ? ":memory:" : join(folder, "join.duckdb");
}

/** Rows and columns of texts that are being collected, then joined once. */
export class TextJoin {
  readonly #folder: string;
  readonly #database: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #rows: DuckDBAppender;
  readonly #columns: readonly DuckDBAppender[];
  #count = 0;

  private constructor(
    folder: string,
    database: DuckDBInstance,
    connection: DuckDBConnection,
    appenders: readonly [rows: DuckDBAppender, ...columns: DuckDBAppender[]],
  ) {
    this.#folder = folder;
    this.#database = database;
    this.#connection = connection;
    [this.#rows, ...this.#columns] = appenders;
  }

  /**
   * Begins a join.
   * @param beside folder in which the database's own folder is made; it needs room for all texts, and is left as it was
   * @param columns number of columns of texts
   * @throws UsageError when there is no such folder, LaclipError when the disk is full or not to be written to
   */
  static async create(beside: string, columns: number): Promise<TextJoin> {
    const { DuckDBInstance } = await import("@duckdb/node-api");
    let folder: string;
    try {
      folder = mkdtempSync(join(beside, ".join-"));
    } catch (error) {
      throw explainWriteFailure(error, join(beside, ".join"));
    }
    let database: DuckDBInstance | undefined;
    try {
      database = await DuckDBInstance.create(databasePath(folder), {
        ...limits,
        temp_directory: join(folder, "spilled"),
        preserve_insertion_order: "false",
        autoinstall_known_extensions: "false",
        autoload_known_extensions: "false",
      });
      const connection = await database.connect();
      const appenders: DuckDBAppender[] = [];
      for (const table of ["rows", ...Array.from({ length: columns }, (_, i) => `texts${i}`)]) {
        await connection.run(`CREATE TABLE ${table} (key VARCHAR, text VARCHAR${table === "rows" ? ", place BIGINT" : ""})`);
        appenders.push(await connection.createAppender(table));
      }
      return new TextJoin(folder, database, connection, appenders as [DuckDBAppender, ...DuckDBAppender[]]);
    } catch (error) {
      database?.closeSync();
      rmSync(folder, { recursive: true, force: true });
      throw explainDatabaseWriting(error, folder);
    }
  }

  /** Adds rows, after those that are there. @throws LaclipError when the disk is full */
  addRows(rows: readonly KeyedText[]): void {
    try {
      for (const { key, text } of rows) {
        this.#rows.appendVarchar(key);
        this.#rows.appendVarchar(text);
        this.#rows.appendBigInt(BigInt(this.#count++));
        this.#rows.endRow();
      }
    } catch (error) {
      throw explainDatabaseWriting(error, this.#folder);
    }
  }

  /**
   * Adds a text to a column, in any order. Where a key has several, the first in order of code units is taken.
   * @throws LaclipError when the disk is full
   */
  addText(column: number, { key, text }: KeyedText): void {
    const appender = this.#columns[column];
    invariant(appender, `a text join has no column ${column}`);
    try {
      appender.appendVarchar(key);
      appender.appendVarchar(text);
      appender.endRow();
    } catch (error) {
      throw explainDatabaseWriting(error, this.#folder);
    }
  }

  /** All rows in the order in which they were added, some thousands at a time. Nothing can be added after it was asked for. */
  async *rows(): AsyncGenerator<JoinedRow[]> {
    const query = this.#query(["key", "text", ...this.#columns.map((_, i) => `text${i}`)]);
    let count = 0;
    try {
      const result = await this.#connection.stream(query);
      for (let chunks = 1; ; chunks++) {
        const chunk = await result.fetchChunk();
        if (chunk === null || chunk.rowCount === 0) break;
        if (chunks % chunksBetweenCollections === 0) collectGarbage();
        const [keys, own, ...others] = chunk.getColumns() as (string | null)[][];
        count += chunk.rowCount;
        yield keys!.map((key, row) => ({ key: key!, text: own![row]!, texts: others.map((column) => column[row] ?? undefined) }));
      }
    } catch (error) {
      throw explainDatabaseWriting(error, this.#folder);
    }
    // A result that fails on its way may end without a word.
    if (count !== this.#count)
      throw explainDatabaseWriting(new Error(`${count} of ${this.#count} rows came back from the join`), this.#folder);
  }

  /**
   * Writes all rows as parquet, in their order; where there is no text, the value is null. Nothing can be added after that.
   * @param names of the columns: the key's, the row's own text's, and one for each column of texts
   * @returns number of rows
   */
  async writeParquet(path: string, names: readonly [key: string, text: string, ...texts: string[]]): Promise<number> {
    await copyToParquet(this.#connection, this.#query(names), path);
    return this.#count;
  }

  #query(names: readonly string[]): string {
    try {
      for (const appender of [this.#rows, ...this.#columns]) appender.closeSync();
    } catch (error) {
      throw explainDatabaseWriting(error, this.#folder);
    }
    const values = ["r.key", "r.text", ...this.#columns.map((_, i) => `t${i}.text`)];
    const select = values.map((value, i) => `${value} AS "${names[i]!.replaceAll('"', '""')}"`).join(", ");
    const joins = this.#columns.map(
      (_, i) => `LEFT JOIN (SELECT key, min(text) AS text FROM texts${i} GROUP BY key) AS t${i} ON t${i}.key = r.key`,
    );
    return `SELECT ${select} FROM rows AS r ${joins.join(" ")} ORDER BY r.place`;
  }

  /** Removes all that was collected. */
  close(): void {
    this.#connection.closeSync();
    this.#database.closeSync();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
