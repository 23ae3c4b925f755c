/** The database behind tables: one in memory for the process, loaded when the first table is touched; and its words for mistakes. */
import { basename } from "node:path";
import type { DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { DataError, LaclipError } from "../support/index.ts";
import { type JsonFault, findJsonLine, jsonFault } from "./json-line.ts";

let database: Promise<DuckDBInstance> | undefined;

/** A connection of its own, to be closed. */
export async function connect(): Promise<DuckDBConnection> {
  // Extensions are never fetched: everything used here is built in, and a reader of files has no business on the network.
  database ??= import("@duckdb/node-api").then(({ DuckDBInstance }) =>
    DuckDBInstance.create(":memory:", { autoinstall_known_extensions: "false", autoload_known_extensions: "false" }),
  );
  return await (await database).connect();
}

/** Works with a connection that is closed behind it; see `guarded`. @param path the table that the work is about, for messages */
export async function withConnection<T>(path: string, work: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
  const connection = await connect();
  try {
    return await guarded(path, () => work(connection));
  } finally {
    connection.closeSync();
  }
}

/** Runs a query; what the database says about a bad file becomes a DataError about that file. */
export async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
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
          : mendQuotes(path, plainly),
        cause: error,
      });
    }
    const fault = jsonFault(error.message.replaceAll("\r", ""));
    if (fault !== undefined) throw await jsonError(path, fault, error);
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

/**
 * What to do about a row that can't be read. A tsv whose quotes are part of its texts is not guessed to be one: what a quote in one row means
 * would hang on another row, and texts would change when rows are added.
 */
function mendQuotes(path: string, said: string): string {
  if (!said.includes("quoted") || !/\.(tsv|tab)$/i.test(path))
    return "A field with a comma, a quote or a line break stands in quotes, and a quote in it is written twice.";
  return (
    "A field that begins with a quote ends with one, and a quote in it is written twice. If quotes in this file are part of its texts, write " +
    `them so: \`perl -pe 's/"/""/g; s/[^\\t\\r\\n]+/"$&"/g' ${inShell(path)} > mended.tsv\`.`
  );
}

/** A path as a shell has it. */
function inShell(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

async function jsonError(path: string, fault: JsonFault, cause: Error): Promise<DataError> {
  if (/byte order mark/i.test(fault.reason) && fault.record === 1) {
    const [unpack, pack] = /\.gz$/i.test(fault.file) ? ["zcat", " | gzip"] : ["cat", ""];
    return new DataError(`${fault.file}: this file begins with a byte order mark, which a file of JSON lines does not have.`, {
      mend: `Write it without: \`${unpack} ${inShell(fault.file)} | tail -c +4${pack} > ${inShell(`mended-${basename(fault.file)}`)}\`.`,
      cause,
    });
  }
  const found = await findJsonLine(fault);
  const text = found?.start.toString() ?? "";
  // The database counts bytes behind the space that a line begins with.
  const at = fault.byte === undefined ? "" : `, byte ${fault.byte + (/^\s*/.exec(text)?.[0].length ?? 0)} of it`;
  const begins = found === undefined ? "" : ` It begins: ${JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text)}.`;
  const where = found === undefined ? `line ${fault.record} of those that are not empty` : `line ${found.line}`;
  return new DataError(`${path}: ${where} can't be read: ${fault.reason}${at}.${begins}`, {
    mend: /UTF-8/.test(fault.reason)
      ? "Convert the file, for instance with `iconv -f WINDOWS-1252 -t UTF-8`, or mend that line."
      : "Each line is a JSON object of its own. Mend that line, or check that the file is complete.",
    cause,
  });
}

/** Brackets, stars and question marks in a name are meant as such, never as a pattern. */
export function glob(path: string): string {
  return path.replace(/[[*?]/g, "[$&]");
}

/** A text as SQL has it. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A name as SQL has it. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
