/**
 * A recipe meets data: opens the pairs, joins the rewrites, builds the model, trains.
 */
import { type JoinedPairs, type Pairs, checkLoader, joinRewrites, openLoader, openPairs } from "../data/index.ts";
import { Clip, type Preprocessing, preset } from "../models/index.ts";
import { ClipLoss } from "../objectives/index.ts";
import { AdamW, warmupCosine } from "../optim/index.ts";
import { UsageError, log } from "../support/index.ts";
import { hasFastBfloat16 } from "../torch/index.ts";
import { type Evaluator, RunFolder, type TrainSummary, decayGroups, train } from "../training/index.ts";
import type { Recipe } from "./recipe.ts";

export interface RunData {
  /** Table of captions, see `openPairs`. */
  file: string;
  /** Folder that image paths are relative to. Default: the table's folder. */
  images?: string | undefined;
  imageColumn?: string | undefined;
  captionColumn?: string | undefined;
  idColumn?: string | undefined;
  /** Rewrites folder; needed when the recipe chooses among rewrites. */
  rewrites?: string | undefined;
  /** Share of rows and of images that may be unusable, 0..1. Default 0.01. */
  maximumSkipped?: number | undefined;
  /** Share of samples that must have a rewrite, 0..1. Default 0.99. */
  minimumMatched?: number | undefined;
  /** See `joinRewrites`. */
  otherCaptions?: boolean | undefined;
}

export interface RunOptions {
  recipe: Recipe;
  data: RunData;
  /** The run folder; one that holds an unfinished run of the same settings is gone on with. */
  out: string;
  evaluators?: readonly Evaluator[];
  /** Where the tensors live. Default "cpu". */
  device?: string;
  signal?: AbortSignal;
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
export async function runRecipe({ recipe, data, out, evaluators = [], device = "cpu", signal, label }: RunOptions): Promise<RunResult> {
  const { training, optimizer: settings, captions, images } = recipe;
  if (captions.choose !== "original" && data.rewrites === undefined) {
    throw new UsageError(`This recipe chooses among rewrites (captions.choose=${captions.choose}), but no rewrites folder was given.`, {
      mend: "Make one with `laclip rewrite` and give it with --rewrites, or train CLIP with --set captions.choose=original.",
    });
  }
  if (captions.choose === "original" && data.rewrites !== undefined) {
    log.warn(`${data.rewrites} is not used: this recipe trains on the original captions alone (captions.choose=original).`);
  }
  if (training.precision === "bf16" && !hasFastBfloat16(device)) {
    log.warn(
      "This processor has no bfloat16 instructions and emulates them, far slower than float32: --set training.precision=fp32 is faster.",
    );
  }
  const pairs = await openPairs(data);
  const samples = captions.choose === "original" ? pairs : await withRewrites(pairs, recipe, data);
  const shape = preset(recipe.model.preset, {
    vision: definedOnly({ imageSize: recipe.model.imageSize, patchSize: recipe.model.patchSize }),
  });
  const loaderSettings = {
    samples,
    batchSize: training.batchSize,
    imageSize: shape.vision.imageSize,
    seed: training.seed,
    choose: captions.choose,
    scale: images.scale,
    interpolation: images.interpolation,
    contextLength: shape.text.contextLength,
    ...(data.maximumSkipped === undefined ? {} : { maximumSkipped: data.maximumSkipped }),
  };
  const totalSteps = stepsOf(recipe, samples.samples.length);
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
  const run = RunFolder.open(out, { recipe, model: shape, totalSteps, data: describe(samples) });
  const optimizer = new AdamW(decayGroups(model, settings.weightDecay), { betas: settings.betas, eps: settings.eps });
  try {
    const summary = await train({
      model,
      preprocessing,
      objective: new ClipLoss(),
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
      ...(label === undefined ? {} : { label }),
    });
    return { ...summary, run };
  } finally {
    run.close();
    optimizer.dispose();
    model.dispose();
  }
}

async function withRewrites(
  pairs: Pairs,
  { captions }: Recipe,
  { rewrites, minimumMatched, otherCaptions }: RunData,
): Promise<JoinedPairs> {
  const joined = await joinRewrites(pairs, rewrites!, { sources: captions.sources, minimumMatched, otherCaptions });
  const { matched, unmatched, sources } = joined.rewrites;
  log.info(`Rewrites: ${matched} of ${matched + unmatched} samples have some, from ${sources.join(", ")}.`);
  return joined;
}

function stepsOf({ training }: Recipe, samples: number): number {
  if ((training.steps === undefined) === (training.epochs === undefined)) {
    throw new UsageError("A recipe says either training.steps or training.epochs.");
  }
  return training.steps ?? Math.max(1, Math.round(training.epochs! * Math.floor(samples / training.batchSize)));
}

/** What the run folder records of the data: enough to notice other data, nothing that differs between machines. */
function describe(pairs: Pairs | JoinedPairs): object {
  return { captions: pairs.fingerprint, rewrites: "rewrites" in pairs ? pairs.rewrites.fingerprint : null };
}

function definedOnly<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
