/**
 * Example pairs as tables, for people who write them in a spreadsheet: columns `input` and `output`, with `second` for examples of
 * merging; or `group` and `caption`, a row for each caption of a scene. What one direction writes the other reads.
 */
import { basename } from "node:path";
import { findColumn } from "../../data/index.ts";
import { csvLine, readTable, tableColumns } from "../../formats/index.ts";
import type { TableValue } from "../../formats/index.ts";
import { DataError, sha256File } from "../../support/index.ts";
import { normalise } from "../checks/checks.ts";
import type { RecordedSource } from "./pairs-file.ts";
import { examplesPerPrompt } from "./pairs.ts";
import type { PairSource } from "./pairs.ts";
import { exampleFault } from "../prompts/prompt.ts";

/** What an imported source is called, and who wrote it. */
export interface ImportPairsOptions {
  name: string;
  /** The people who wrote the pairs, as they want to be named. */
  author: string;
  /** Program and version, for the record. */
  createdWith: string;
}

/** A row of a table, by the columns that were asked for. */
interface Row {
  /** From 1, without the header line. */
  readonly number: number;
  readonly texts: Readonly<Record<string, string>>;
}

/**
 * Reads pairs, triples or groups from a csv, tsv, jsonl or parquet table.
 * @throws DataError naming row and column when a column is missing, a text can't be an example, or a row says nothing new
 */
export async function importPairs(path: string, options: ImportPairsOptions): Promise<Omit<RecordedSource, "provenance">> {
  const { name, author, createdWith } = options;
  const columns = await tableColumns(path);
  const find = (column: string): string | undefined => findColumn(columns, [column]);
  const [input, second, output, group, caption] = ["input", "second", "output", "group", "caption"].map(find);
  const isPairs = input !== undefined && output !== undefined;
  if (!isPairs && (group === undefined || caption === undefined)) {
    throw new DataError(
      `${path}: expected the columns input and output, or group and caption; there are: ${columns.join(", ") || "none"}.`,
      {
        mend: "The first line of a csv file holds the names of its columns.",
      },
    );
  }
  const wanted = (isPairs ? [input, second, output] : [group, caption]).filter((column) => column !== undefined);
  const rows = await readRows(path, wanted);
  const examples = isPairs ? pairsOf(path, rows, { input, second, output }) : groupsOf(path, rows, { group: group!, caption: caption! });
  const count = Object.values(examples)[0]!.length;
  if (count < examplesPerPrompt)
    throw new DataError(`${path}: ${count} ${isPairs ? "pairs" : "groups"} are too few; a prompt shows ${examplesPerPrompt}.`);
  const captions = { name: basename(path), count: rows.length, hash: await sha256File(path) };
  return { name, ...examples, record: { by: "people", author, captions, created: new Date().toISOString(), createdWith } };
}

/**
 * The examples of a source as csv (with a header line) or jsonl, one a line; a source of groups has a line for each caption.
 */
export function exportPairs(source: PairSource, to: "csv" | "jsonl"): string {
  const rows = tableOf(source);
  if (to === "jsonl") return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  const columns = Object.keys(rows[0]!);
  return [columns, ...rows.map((row) => columns.map((column) => row[column]!))].map(csvLine).join("");
}

/** Whether a file that begins like this is a table that `exportPairs` writes. */
export function isPairsTable(beginning: string, to: "csv" | "jsonl"): boolean {
  const [line = ""] = beginning.split("\n", 1);
  if (to === "csv") return ["input,output", "input,second,output", "group,caption"].includes(line);
  return /^\{"input":".*"output":|^\{"group":"\d+","caption":/.test(line);
}

function tableOf({ pairs, triples, groups }: PairSource): Record<string, string>[] {
  if (groups) return groups.flatMap((group, i) => group.map((caption) => ({ group: String(i + 1), caption })));
  if (triples) return triples.map(([input, second, output]) => ({ input, second, output }));
  return pairs!.map(([input, output]) => ({ input, output }));
}

async function readRows(path: string, columns: readonly string[]): Promise<Row[]> {
  const rows: Row[] = [];
  let number = 0;
  for await (const batch of readTable(path, { columns, flat: columns })) {
    for (let i = 0; i < batch.rows; i++) {
      const texts = Object.fromEntries(columns.map((column) => [column, asText(batch.columns[column]![i])]));
      number++;
      // A spreadsheet ends in empty rows.
      if (Object.values(texts).some((text) => text !== "")) rows.push({ number, texts });
    }
  }
  for (const { number: row, texts } of rows) {
    for (const [column, text] of Object.entries(texts)) {
      const fault = exampleFault(text);
      if (fault !== undefined)
        throw new DataError(`${path}: row ${row}, column "${column}": this text ${fault}: ${JSON.stringify(text.slice(0, 80))}.`);
    }
  }
  return rows;
}

function pairsOf(
  path: string,
  rows: readonly Row[],
  columns: { input: string; second: string | undefined; output: string },
): Pick<PairSource, "pairs"> | Pick<PairSource, "triples"> {
  const seen = new Map<string, number>();
  for (const { number, texts } of rows) {
    const [input, output] = [texts[columns.input]!, texts[columns.output]!];
    if (normalise(input) === normalise(output))
      throw new DataError(`${path}: row ${number}: input and output say the same in the same words: ${JSON.stringify(input)}.`);
    const before = seen.get(`${input}\n${output}`);
    if (before !== undefined) throw new DataError(`${path}: row ${number} is row ${before} again: ${JSON.stringify(input)}.`);
    seen.set(`${input}\n${output}`, number);
  }
  const { second } = columns;
  return second === undefined
    ? { pairs: rows.map(({ texts }) => [texts[columns.input]!, texts[columns.output]!] as const) }
    : { triples: rows.map(({ texts }) => [texts[columns.input]!, texts[second]!, texts[columns.output]!] as const) };
}

function groupsOf(path: string, rows: readonly Row[], columns: { group: string; caption: string }): Pick<PairSource, "groups"> {
  const groups = new Map<string, string[]>();
  for (const { number, texts } of rows) {
    const [name, caption] = [texts[columns.group]!, texts[columns.caption]!];
    const group = groups.get(name) ?? [];
    groups.set(name, group);
    if (group.some((other) => normalise(other) === normalise(caption)))
      throw new DataError(`${path}: row ${number}: group ${name} has this caption already: ${JSON.stringify(caption)}.`);
    group.push(caption);
  }
  for (const [name, group] of groups)
    if (group.length < 2) throw new DataError(`${path}: group ${name} has one caption; a pair takes two.`);
  return { groups: [...groups.values()] };
}

function asText(value: TableValue | undefined): string {
  return value === null || value === undefined ? "" : String(value).trim();
}
