/**
 * Columns that must hold one value in each row. Lists and records also have a form as text, "a dog runs,a cat" or "{'en': ...}", which
 * a reader of texts would take for a text like any other.
 */
import type { DuckDBConnection, DuckDBValue } from "@duckdb/node-api";
import { DataError } from "../support/index.ts";
import { guarded, identifier, literal, withConnection } from "./table-database.ts";
import { type TableSource, jsonReader, types } from "./table-source.ts";

/** Characters of a type or a value that a message shows. */
const shown = 60;

/** Looks after some columns of a table while it is read. */
export class FlatColumns {
  readonly #path: string;
  readonly #json: boolean;
  /** Columns of jsonl in which no list and no record can turn up any more. */
  readonly #searched = new Set<string>();

  private constructor(path: string, json: boolean) {
    this.#path = path;
    this.#json = json;
  }

  /** @throws DataError when the database says that one of these columns holds lists or records */
  static async of(connection: DuckDBConnection, path: string, source: TableSource, columns: readonly string[]): Promise<FlatColumns> {
    // Fields in csv and tsv are text, whatever they look like.
    if (columns.length > 0 && (source.format === "jsonl" || source.format === "parquet")) {
      const known = new Map(await guarded(path, () => types(connection, source)));
      for (const column of columns) refuseNested(path, column, known.get(column) ?? "");
    }
    return new FlatColumns(path, source.format === "jsonl");
  }

  /**
   * Looks at values as they were read. The type of a jsonl column is that of its first rows, and text where these are of several kinds.
   * @throws DataError when there is a list or a record anywhere in the column
   */
  async check(column: string, values: readonly DuckDBValue[]): Promise<void> {
    if (!this.#json || this.#searched.has(column) || !values.some(looksNested)) return;
    // A text may look like one too: what the value is, the file itself says. It is asked once.
    const kind = `json_type(${identifier(column)})`;
    const rows = `SELECT row_number() OVER () AS row, ${kind} AS kind, ${identifier(column)} AS value FROM ${jsonReader(this.#path, { [column]: "json" })}`;
    // On a connection of its own: another query would end the one that the values come from.
    const found = await withConnection(this.#path, async (connection) => {
      const result = await connection.run(`SELECT * FROM (${rows}) WHERE kind IN ('ARRAY', 'OBJECT') ORDER BY row LIMIT 1`);
      return (await result.getRows())[0];
    });
    this.#searched.add(column);
    if (found === undefined) return;
    const [row, type, value] = found.map(String) as [string, string, string];
    const list = type === "ARRAY";
    throw new DataError(
      `${this.#path}: row ${row} has ${list ? "a list" : "an object"} in column "${column}": ${short(value)}; expected one text in each row.`,
      { mend: `${list ? "Write a row for each item of a list" : "Write one text of it there"}, or name another column.` },
    );
  }
}

function refuseNested(path: string, column: string, type: string): void {
  const [kind, instead] = nestedKind(type, identifier(column)) ?? [];
  if (kind === undefined || instead === undefined) return;
  const query = `COPY (SELECT * REPLACE (${instead.query} AS ${identifier(column)}) FROM ${literal(path)}) TO 'rows.parquet'`;
  throw new DataError(`${path}: column "${column}" holds ${kind} (${short(type)}); expected one text in each row.`, {
    mend: `${instead.words}, with DuckDB for instance: ${query}. Or name another column.`,
  });
}

/** What such a column holds, and how a query takes one value out of it; undefined for a type of single values. */
function nestedKind(type: string, column: string): [kind: string, instead: { words: string; query: string }] | undefined {
  if (/\[\d*\]$/.test(type)) return ["lists", { words: "Write a row for each item", query: `unnest(${column})` }];
  const words = "Write one of its values there";
  const field = /^STRUCT\(("(?:[^"]|"")+"|\w+) /.exec(type)?.[1];
  if (field !== undefined) return ["records", { words, query: `${column}.${field}` }];
  return type.startsWith("MAP(") ? ["records", { words, query: `${column}['KEY']` }] : undefined;
}

function looksNested(value: DuckDBValue): boolean {
  return typeof value === "string" && (/^\[[^]*\]$/.test(value) || /^\{[^]*\}$/.test(value));
}

function short(text: string): string {
  return text.length > shown ? `${text.slice(0, shown)}...` : text;
}
