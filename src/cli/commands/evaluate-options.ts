/** What the commands that score a model have in common: their flags, and how a task is run for them. */
import { type Command, InvalidArgumentError } from "commander";
import {
  type EvaluationDataset,
  type EvaluationResult,
  type EvaluationTask,
  FeatureStore,
  type RetrievalDataset,
  defaultFeatureFolder,
  openEvaluatedModel,
  runOrKeep,
  runTask as runPlannedTask,
} from "../../evaluation/index.ts";
import { DataError, log, percent } from "../../support/index.ts";
import { print } from "../command.ts";
import { deviceFlag, deviceOfFlag } from "../device-option.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseShare, parseWhole } from "../options.ts";
import { version } from "../version.ts";

/** Values of the flags that `addScoringFlags` adds. */
export interface ScoringFlags {
  model: string;
  name?: string;
  dataset: string;
  root?: string;
  incomplete?: boolean;
  batchSize: number;
  imageSize?: number;
  maxSkipped: number;
  /** A folder, or false for none. */
  features?: string | false;
  out?: string;
  device?: string;
  json?: boolean;
}

/** Adds the flags that all tasks take. @param dataset what `--dataset` takes, in words */
export function addScoringFlags(target: Command, dataset: string): Command {
  return target
    .requiredOption("--model <folder>", "model folder: `model` or a checkpoint in a run folder")
    .requiredOption("--dataset <name|path>", dataset)
    .option("--root <folder>", "folder of the published sets (default: LACLIP_DATASETS)")
    .option("--incomplete", "take a data set although images are missing; the result says what is wrong")
    .option("--batch-size <images>", "images at once", parseWhole(1), 64)
    .option("--image-size <pixels>", "side of the images (default: the model's); for another, its positions are resized", parseWhole(1))
    .option("--max-skipped <share>", "share of images that may be unreadable", parseShare, 0.01)
    .option(
      "--features <folder>",
      "where features are kept, so that no image is seen twice (default: LACLIP_FEATURES, else the user's cache)",
    )
    .option("--no-features", "keep no features")
    .option("--out <folder>", "also write the result into this folder, as a .json")
    .option("--name <text>", "what the result calls the model (default: its run folder's name)")
    .option(...deviceFlag("the model runs"));
}

/** Adds the flags for a table whose rows have an image and its class. */
export function addTableFlags(target: Command): Command {
  return target
    .option("--image-column <name>", "column of a table with the images (default: image, filepath, path, ...)")
    .option("--label-column <name>", "column of a table with the classes (default: label, class, category, ...)");
}

/** The store that the flags name. */
export function featureStore({ features }: Pick<ScoringFlags, "features">): FeatureStore | undefined {
  return features === false ? undefined : new FeatureStore(features ?? defaultFeatureFolder());
}

/**
 * Runs a task on a data set for a command: opens the model, prints the result or its line, and writes it where `--out` says.
 * @param describe the line for people
 * @throws DataError when the data set is not for the task
 */
export async function runTask(
  flags: ScoringFlags & { seed?: number },
  task: EvaluationTask,
  dataset: EvaluationDataset | RetrievalDataset,
  describe: (result: EvaluationResult) => string,
): Promise<void> {
  for (const problem of dataset.checked.problems) log.warn(`${dataset.title}: ${problem}`);
  const device = deviceOfFlag(flags.device);
  const model = await openEvaluatedModel(flags.model, { ...flags, device });
  try {
    const planned = await task.plan(model, dataset, {
      batchSize: flags.batchSize,
      device,
      maximumSkipped: flags.maxSkipped,
      seed: flags.seed ?? 0,
      store: featureStore(flags),
      signal: interruptSignal("stopping; features that were made are kept"),
    });
    if (typeof planned === "string") throw new DataError(`${dataset.path}: ${task.name} can't be run on it: ${planned}.`);
    const plan = { ...planned, checked: dataset.checked };
    let result: EvaluationResult;
    if (flags.out === undefined) ({ result } = await runPlannedTask(plan, model, { version }));
    else {
      const step = await runOrKeep(plan, model, { out: flags.out, version });
      result = step.result!;
      log.info(`${step.path}${step.state === "kept" ? ": this result was there, with the same weights, images and settings" : ""}`);
    }
    for (const note of dataset.checked.notes) log.info(note);
    print(flags.json ? result : describe(result));
  } finally {
    model.model.dispose();
  }
}

/** A metric as the results' own lines show it: 0.1234 -> "12.34 %". */
export function score(value: unknown): string {
  return percent(Number(value), 2);
}

/** A number above 0. */
export function parsePositive(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value > 0 && value < Infinity)) throw new InvalidArgumentError("Expected a number above 0.");
  return value;
}
