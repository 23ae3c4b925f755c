/**
 * The result of one task on one data set: a JSON file with the keys that CLIP_benchmark writes, so that its `build` merges ours with its
 * own, and one key more, `laclip`, for what makes a number worth trusting: how it was measured, on what, and what was left out.
 *
 * CLIP_benchmark reads every `.json` of a folder as a result. So nothing else in such a folder may end in `.json`.
 */
import { existsSync, readdirSync, renameSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { DataError, LaclipError, isRecord, makeFolder, readText, sha256, writeFileAtomic } from "../../support/index.ts";

/** Names of tasks as they stand in result files: CLIP_benchmark's, and for few-shot episodes, which it has not, one of our own. */
export const taskNames = {
  "zero-shot": "zeroshot_classification",
  "few-shot": "few_shot_classification",
  "linear-probe": "linear_probe",
  retrieval: "zeroshot_retrieval",
} as const;

/** A task as the command line calls it. */
export type TaskName = keyof typeof taskNames;

const count = z.number().int().nonnegative();
const plain = z.union([z.number(), z.string(), z.boolean(), z.null()]);

/** Where the outcome for each image, episode or query stands, beside the result. */
const perItemSchema = z.object({
  /** Name of the file, in the folder of the result. What lies elsewhere is nobody's to read, or to move with a result. */
  file: z.string().regex(/^(?!\.{1,2}$)[^/\\]+$/, "expected the name of a file beside the result"),
  sha256: z.string(),
  rows: count,
});

/** What only we write, under the key `laclip`. All but `version` and `created` may be missing where a task has no such thing. */
const resultDetailsSchema = z.looseObject({
  /** Version of the program. */
  version: z.string(),
  /** ISO 8601, UTC */
  created: z.string(),
  /** Everything the number depends on besides weights and data: `templates` (how many), `mean`, `interpolation`, `shots`, ... */
  protocol: z.record(z.string(), z.union([plain, z.array(plain)])),
  /** The metric to quote: "acc1", "mean_per_class_recall", "lp_acc1", "image_retrieval_recall@5", ... */
  mainMetric: z.string(),
  /** How many of what: `images`, `classes`, `texts`, `episodes`, ... */
  counts: z.record(z.string(), count),
  /** What was left out, and why; at most the first 20 are named. */
  skipped: z.object({ count, reasons: z.array(z.string()).max(20) }),
  /** What is wrong with the copy of the data set, a sentence each: only where an incomplete one was asked for. At most 20. */
  problems: z.array(z.string()).max(20).optional(),
  /** What a reader should know of it: which of several layouts was found, which split was drawn by chance and how. */
  notes: z.array(z.string()).optional(),
  /** What random choices were drawn from. */
  seed: count.optional(),
  /** SHA-256 of the weights file. */
  modelHash: z.string().optional(),
  /** SHA-256 over the list of images and labels, see the data set. */
  dataHash: z.string().optional(),
  /** First name of each class, in the order of the labels. */
  classes: z.array(z.string()).optional(),
  /** The model's factor on cosines, at which predictions have their confidence. */
  logitScale: z.number().optional(),
  /** Outcomes one by one, for comparisons of two models. */
  perItem: perItemSchema.optional(),
  /** The `config.json` of the training run that the model comes from. */
  run: z.looseObject({}).optional(),
  /** What it took, without loading the model. */
  seconds: z.number().nonnegative().optional(),
});

/** One task on one data set, as it stands in a file. */
const resultSchema = z.looseObject({
  dataset: z.string(),
  model: z.string(),
  /** CLIP_benchmark's name of the weights; with us the empty text, since `model` names a folder. */
  pretrained: z.string(),
  /** One of `taskNames`, or another of CLIP_benchmark's. */
  task: z.string(),
  /** Shares are 0..1. A metric that could not be computed is null. */
  metrics: z.record(z.string(), plain),
  language: z.string(),
  laclip: resultDetailsSchema.optional(),
});

/** A result as its file holds it. */
export type EvaluationResult = z.infer<typeof resultSchema>;

/** What a result says under `laclip`: how it was measured, on what, and what was left out. */
export type ResultDetails = z.infer<typeof resultDetailsSchema>;

/** What tells results apart: of what, by which model. */
export type ResultIdentity = Pick<EvaluationResult, "dataset" | "pretrained" | "model" | "language" | "task">;

/** Name of a result's file: CLIP_benchmark's order of parts, those that are empty left out, odd characters as `_`. */
export function resultFileName({ dataset, pretrained, model, language, task }: ResultIdentity): string {
  return `${[dataset, pretrained, model, language, task]
    .filter((part) => part !== "")
    .map(slug)
    .join("_")}.json`;
}

/**
 * Where the result stands in a folder, and by whose name, without `.json`, its other files are called.
 *
 * Odd characters become `_`, so that two data sets or models may come to one name: then the one that comes second has a hash of its own
 * behind it.
 */
export function resultPlace(folder: string, result: ResultIdentity): string {
  const stem = join(folder, resultFileName(result).replace(/\.json$/, ""));
  const other = earlierResult(`${stem}.json`);
  const own = identity(result);
  return other === undefined || identity(other) === own ? stem : `${stem}-${sha256(own).slice(0, 8)}`;
}

function identity({ dataset, pretrained, model, language, task }: ResultIdentity): string {
  return JSON.stringify([dataset, pretrained, model, language, task]);
}

/** The result that is there; undefined where there is none, or one that can't be read. */
export function earlierResult(path: string): EvaluationResult | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return readResult(path);
  } catch (error) {
    if (!LaclipError.is(error)) throw error;
    return undefined;
  }
}

/** Folder below that of the results for those whose place another has taken. */
const replacedFolder = "replaced";

/**
 * Moves a result and what belongs to it out of the way of a new one, into `replaced/TIME/`, where it can still be read and compared.
 * @param path of the result
 * @returns its new path
 */
export function setAside(path: string, result: EvaluationResult): string {
  const folder = dirname(path);
  const made = (result.laclip?.created ?? statSync(path).mtime.toISOString()).replaceAll(":", "-");
  const aside = join(folder, replacedFolder, slug(made));
  makeFolder(aside);
  // The result last: without it the others are passed over, and a result without them is an error.
  for (const file of filesOfResult({ path, result })) if (existsSync(file)) renameSync(file, join(aside, basename(file)));
  return join(aside, basename(path));
}

/** The files that a result consists of, there or not; its own, which names the others, comes last. */
export function filesOfResult({ path, result: { laclip } }: StoredResult): string[] {
  const names = [`${basename(path, ".json")}.wrong.jsonl`, ...(laclip?.perItem ? [laclip.perItem.file] : []), basename(path)];
  return names.map((name) => join(dirname(path), name));
}

function slug(text: string): string {
  return text.replace(/[^\p{L}\p{N}.@+-]+/gu, "_").replace(/^[_.]+|_+$/g, "");
}

/**
 * Writes a result into a folder, which is made where it is missing: beside its place, synced, renamed.
 * @returns the path of the file
 * @throws DataError when the result has no form that can be read again; UsageError when nothing can be written there
 */
export function writeResult(folder: string, result: EvaluationResult): string {
  const path = `${resultPlace(folder, result)}.json`;
  // Checked before and not after: a metric that is NaN would stand in the file as null, and nobody would ask why.
  const checked = checkResult(result, path);
  makeFolder(dirname(path));
  writeFileAtomic(path, `${JSON.stringify(checked, null, 2)}\n`);
  return path;
}

/**
 * Reads a result of ours or of CLIP_benchmark, whose Python writes numbers that are not finite as `NaN`; they are read as null. Metrics
 * that are lists or records, as some of its other tasks have, are passed over.
 * @throws DataError when there is no such file, or it is no result
 */
export function readResult(path: string): EvaluationResult {
  const text = readText(path, "result");
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/gs, (token) => (token.startsWith('"') ? token : "null")));
  } catch (error) {
    throw new DataError(`${path}: this result is not valid JSON (${(error as Error).message}).`, { cause: error });
  }
  if (isRecord(value) && isRecord(value["metrics"])) {
    const kept = Object.entries(value["metrics"]).filter(([, metric]) => typeof metric !== "object" || metric === null);
    return checkResult({ ...value, metrics: Object.fromEntries(kept) }, path);
  }
  return checkResult(value, path);
}

function checkResult(value: unknown, path: string): EvaluationResult {
  const parsed = resultSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new DataError(`${path}: not a result of an evaluation.\n${z.prettifyError(parsed.error)}`, {
    mend: "Results are the .json files that `laclip evaluate` writes into --out, and those of CLIP_benchmark.",
  });
}

/** A result and the file it was read from. */
export interface StoredResult {
  readonly path: string;
  readonly result: EvaluationResult;
}

/**
 * The results among files and folders: a folder stands for the `.json` files in it, sorted by name.
 * @throws DataError when a path leads nowhere, a folder has no `.json` file, or one of the files is no result
 */
export function readResults(paths: readonly string[]): StoredResult[] {
  return paths.flatMap((path) => {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) throw new DataError(`${path}: no such file or folder.`);
    if (!found.isDirectory()) return [{ path, result: readResult(path) }];
    const files = readdirSync(path)
      .filter((name) => name.endsWith(".json") && !name.startsWith("."))
      .sort();
    if (files.length === 0) {
      throw new DataError(`${path}: there is no result in this folder.`, { mend: "Make some with `laclip evaluate all --out FOLDER`." });
    }
    return files.map((name) => ({ path: join(path, name), result: readResult(join(path, name)) }));
  });
}
