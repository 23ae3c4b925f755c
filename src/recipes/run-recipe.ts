/**
 * A recipe meets data: opens the pairs, joins the rewrites, builds the model, trains.
 */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { ProcessGroup } from "../distributed/index.ts";
import { checkLoader, openLoader } from "../data/index.ts";
import { Clip, type Preprocessing, preset } from "../models/index.ts";
import { ClipLoss } from "../objectives/index.ts";
import { AdamW, warmupCosine } from "../optim/index.ts";
import { UsageError, log } from "../support/index.ts";
import { hasFastBfloat16 } from "../torch/index.ts";
import { type Evaluator, RunFolder, type TrainSummary, decayGroups, train } from "../training/index.ts";
import { type RunData, openData } from "./open-data.ts";
import type { Recipe } from "./recipe.ts";

export interface RunOptions {
  recipe: Recipe;
  data: RunData;
  /** The run folder; one that holds an unfinished run of the same settings is gone on with. */
  out: string;
  evaluators?: readonly Evaluator[];
  /** Where the tensors live. Default "cpu". */
  device?: string;
  signal?: AbortSignal;
  /** Processes that train together, each of which calls this: `training.batchSize` is the batch of all of them. Default: this one alone. */
  group?: ProcessGroup;
  label?: string;
}

/** What a run did, and its open folder's paths. */
export interface RunResult extends TrainSummary {
  run: RunFolder;
}

/**
 * Trains by a recipe and leaves the model in `<out>/model`.
 * @throws UsageError when recipe, data and run folder do not fit together; see also `train`
 */
export async function runRecipe(options: RunOptions): Promise<RunResult> {
  const { recipe, data, out, evaluators = [], device = "cpu", signal, group, label } = options;
  const { training, optimizer: settings, captions, images } = recipe;
  if (training.precision === "bf16" && !hasFastBfloat16(device)) {
    log.warn(
      "This processor has no bfloat16 instructions and emulates them, far slower than float32: --set training.precision=fp32 is faster.",
    );
  }
  const { samples, count, described } = await openData(recipe, data, workFolderOf(out));
  const shape = preset(recipe.model.preset, {
    vision: definedOnly({ imageSize: recipe.model.imageSize, patchSize: recipe.model.patchSize }),
  });
  const loaderSettings = {
    samples,
    batchSize: batchOfRank(recipe, group),
    ...(group === undefined ? {} : { rank: group.rank, ranks: group.ranks }),
    imageSize: shape.vision.imageSize,
    seed: training.seed,
    choose: captions.choose,
    weights: captions.weights,
    fallback: captions.fallback,
    scale: images.scale,
    interpolation: images.interpolation,
    exactCrops: images.exact ?? false,
    contextLength: shape.text.contextLength,
    ...(data.maximumSkipped === undefined ? {} : { maximumSkipped: data.maximumSkipped }),
  };
  const totalSteps = stepsOf(recipe, count);
  const preprocessing: Preprocessing = { mean: images.mean, std: images.std, interpolation: images.interpolation };
  const schedule = warmupCosine({
    peak: settings.peakLr,
    start: settings.startLr,
    end: settings.endLr,
    warmupSteps: training.warmupSteps,
    totalSteps,
  });
  // The run folder last: settings that can't be trained with must not stay behind in it.
  checkLoader({ ...loaderSettings, totalSteps });
  const model = new Clip(shape, { seed: training.seed });
  const run =
    group === undefined || group.first ? RunFolder.open(out, { recipe, model: shape, totalSteps, data: described }) : RunFolder.follow(out);
  const optimizer = new AdamW(decayGroups(model, settings.weightDecay), { betas: settings.betas, eps: settings.eps });
  try {
    const summary = await train({
      model,
      preprocessing,
      objective: new ClipLoss(group),
      optimizer,
      schedule,
      totalSteps,
      precision: training.precision,
      device,
      openBatches: (startStep) => openLoader({ ...loaderSettings, startStep, totalSteps }),
      run,
      checkpointEvery: training.checkpointEvery,
      keepCheckpoints: training.keepCheckpoints,
      logEvery: training.logEvery,
      evaluators,
      ...(signal === undefined ? {} : { signal }),
      ...(group === undefined ? {} : { group }),
      ...(label === undefined ? {} : { label }),
    });
    return { ...summary, run };
  } finally {
    run.close();
    optimizer.dispose();
    model.dispose();
  }
}

/** Samples a step on this rank. The recipe's number is that of all ranks, so that a run is the same on any number of them. */
function batchOfRank({ training: { batchSize } }: Recipe, group: ProcessGroup | undefined): number {
  const ranks = group?.ranks ?? 1;
  if (batchSize % ranks === 0) return batchSize / ranks;
  throw new UsageError(`A batch of ${batchSize} can't be shared evenly by ${ranks} processes.`, {
    mend: `--set training.batchSize=${Math.ceil(batchSize / ranks) * ranks} can; training.batchSize is the batch of all processes together.`,
  });
}

/** The run folder's nearest parent that is there: its disk has room for the run, which a folder for temporary files may not have. */
function workFolderOf(out: string): string {
  let folder = resolve(out);
  while (!existsSync(folder)) folder = dirname(folder);
  return folder;
}

function stepsOf({ training }: Recipe, samples: number): number {
  if ((training.steps === undefined) === (training.epochs === undefined)) {
    throw new UsageError("A recipe says either training.steps or training.epochs.");
  }
  return training.steps ?? Math.max(1, Math.round(training.epochs! * Math.floor(samples / training.batchSize)));
}

function definedOnly<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
