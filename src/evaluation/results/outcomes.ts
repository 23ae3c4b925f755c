/**
 * What came out for each image, episode or query, in a parquet file beside the result: from it come confusions, calibration, intervals
 * and the comparison of two models, without the model or the data.
 *
 *   NAME.json                   the result
 *   NAME.items.parquet          classification: item, label, rank, guess1.. guess5, score1.. score5, confidence, probability
 *                               otherwise: item, and a column for each metric that the items have a value for
 */
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type TableValue, readTable, writeParquet } from "../../formats/index.ts";
import { DataError, makeFolder, sha256File } from "../../support/index.ts";
import type { Prediction } from "../zero-shot.ts";
import { itemName } from "./items-hash.ts";
import { type EvaluationResult, type ResultDetails, type StoredResult, resultPlace } from "./result.ts";

/** An image and what a classifier made of it. */
export interface ClassifiedItem {
  /** Path of the image below its data set. */
  item: string;
  label: number;
  /** Place of the right class among all, 1 = best. */
  rank: number;
  /** The best classes, falling, at most 5, and their scores: cosines, or logits of a probe. */
  guesses: number[];
  scores: number[];
  /** Chance that the classifier gives its best class, and the right one, 0..1. */
  confidence: number;
  probability: number;
}

/** Predictions of zero-shot as they stand in the file. @param root folder of the data set */
export function classifiedItems(predictions: readonly Prediction[], root: string): ClassifiedItem[] {
  return predictions.map(({ path, label, rank, top, confidence, probability }) => ({
    item: itemName(path, root),
    label,
    rank,
    guesses: top.map((one) => one.label),
    scores: top.map((one) => one.cosine),
    confidence,
    probability,
  }));
}

/** Values of each item by metric; null where a metric does not concern the item, such as image recall a query by text. */
export interface ItemValues {
  items: readonly string[];
  values: Readonly<Record<string, readonly (number | null)[]>>;
}

const places = [1, 2, 3, 4, 5] as const;

/**
 * Writes the file of a classification beside its result.
 * @returns what the result says of the file (`laclip.perItem`)
 */
export async function writeClassifiedItems(
  folder: string,
  result: EvaluationResult,
  items: readonly ClassifiedItem[],
): Promise<NonNullable<ResultDetails["perItem"]>> {
  const columns: Record<string, readonly TableValue[]> = {
    item: items.map(({ item }) => item),
    label: items.map(({ label }) => label),
    rank: items.map(({ rank }) => rank),
    confidence: items.map(({ confidence }) => confidence),
    probability: items.map(({ probability }) => probability),
  };
  for (const place of places) {
    columns[`guess${place}`] = items.map(({ guesses }) => guesses[place - 1] ?? null);
    columns[`score${place}`] = items.map(({ scores }) => scores[place - 1] ?? null);
  }
  const types = Object.fromEntries(
    Object.keys(columns).map(
      (name) => [name, name === "item" ? "text" : /^(label|rank|guess\d)$/.test(name) ? "integer" : "number"] as const,
    ),
  );
  return await write(folder, result, types, columns, items.length);
}

/** The same for other tasks: episodes, queries. */
export async function writeItemValues(
  folder: string,
  result: EvaluationResult,
  { items, values }: ItemValues,
): Promise<NonNullable<ResultDetails["perItem"]>> {
  const types = Object.fromEntries(Object.keys(values).map((name) => [name, "number"] as const));
  return await write(folder, result, { item: "text", ...types }, { item: items, ...values }, items.length);
}

async function write(
  folder: string,
  result: EvaluationResult,
  types: Parameters<typeof writeParquet>[1],
  columns: Record<string, readonly TableValue[]>,
  rows: number,
): Promise<NonNullable<ResultDetails["perItem"]>> {
  const path = `${resultPlace(folder, result)}.items.parquet`;
  makeFolder(folder);
  await writeParquet(path, types, [{ rows, columns }]);
  return { file: basename(path), sha256: await sha256File(path), rows };
}

/**
 * The predictions of a classification; undefined where the result came without them, or with other values.
 * @throws DataError when the file is missing, is another than the result was written with, or is damaged
 */
export async function readClassifiedItems(stored: StoredResult): Promise<ClassifiedItem[] | undefined> {
  const columns = await readColumns(stored);
  if (!columns?.has("guess1")) return undefined;
  const numbers = (name: string): number[] => columns.get(name)!.map(Number);
  const [labels, ranks, confidences, probabilities] = ["label", "rank", "confidence", "probability"].map(numbers) as [
    number[],
    number[],
    number[],
    number[],
  ];
  const listed = (name: string, row: number): number[] =>
    places.flatMap((place) => {
      const value = columns.get(`${name}${place}`)![row];
      return value === null ? [] : [Number(value)];
    });
  return columns.get("item")!.map((item, row) => ({
    item: String(item),
    label: labels[row]!,
    rank: ranks[row]!,
    guesses: listed("guess", row),
    scores: listed("score", row),
    confidence: confidences[row]!,
    probability: probabilities[row]!,
  }));
}

/** What a metric averages, item by item. */
export interface Outcomes {
  items: string[];
  values: number[];
  /** Class of each item, for metrics that are means over classes. */
  classes?: number[];
}

/**
 * What the items of a result say of a metric: "acc1", "lp_mean_per_class_recall", "image_retrieval_recall@5", ...
 * @returns undefined where the result came without items, or they say nothing of this metric
 * @throws DataError as `readClassifiedItems`
 */
export async function readOutcomes(stored: StoredResult, metric: string): Promise<Outcomes | undefined> {
  const classified = await readClassifiedItems(stored);
  if (classified !== undefined) return outcomesOf(classified, metric);
  const columns = await readColumns(stored);
  const values = columns?.get(metric);
  if (columns === undefined || values === undefined) return undefined;
  const rows = values.flatMap((value, row) => (value === null ? [] : [row]));
  return { items: rows.map((row) => String(columns.get("item")![row])), values: rows.map((row) => Number(values[row])) };
}

/** The same of predictions that were read already. */
function outcomesOf(items: readonly ClassifiedItem[], metric: string): Outcomes | undefined {
  const names = items.map(({ item }) => item);
  const right = ({ guesses, label }: ClassifiedItem, among: number): number => (guesses.slice(0, among).includes(label) ? 1 : 0);
  switch (metric.replace(/^lp_/, "")) {
    case "acc1":
      return { items: names, values: items.map((item) => right(item, 1)) };
    case "acc5":
      return { items: names, values: items.map((item) => right(item, 5)) };
    case "mean_per_class_recall":
      return { items: names, values: items.map((item) => right(item, 1)), classes: items.map(({ label }) => label) };
    default:
      return undefined;
  }
}

async function readColumns({ path, result }: StoredResult): Promise<Map<string, TableValue[]> | undefined> {
  const perItem = result.laclip?.perItem;
  if (perItem === undefined) return undefined;
  const file = join(dirname(path), perItem.file);
  if (!existsSync(file)) {
    throw new DataError(`${file}: no such file; ${path} was written with it.`, { mend: "Copy the whole folder, or evaluate again." });
  }
  if ((await sha256File(file)) !== perItem.sha256) {
    throw new DataError(`${file}: another file than ${path} was written with.`, { mend: "Copy the whole folder, or evaluate again." });
  }
  const columns = new Map<string, TableValue[]>();
  for await (const batch of readTable(file)) {
    for (const [name, values] of Object.entries(batch.columns)) {
      const known = columns.get(name);
      if (known === undefined) columns.set(name, [...values]);
      else for (const value of values) known.push(value);
    }
  }
  return columns;
}
