/**
 * A recipe meets data: opens the pairs, joins the rewrites, builds the model, trains.
 */
import { existsSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { type LoaderOptions, checkLoader, openLoader } from "../data/index.ts";
import type { ProcessGroup } from "../distributed/index.ts";
import { Clip, type ClipConfig, type Preprocessing, freeze, preset } from "../models/index.ts";
import type { FeatureGroup } from "../nn/index.ts";
import { type Objective, makeObjective } from "../objectives/index.ts";
import { AdamW, type Schedule, warmupCosine } from "../optim/index.ts";
import { InterruptedError, UsageError, isRecord, log } from "../support/index.ts";
import { type DeviceSearch, findDevice, hasFastBfloat16, hasFastFloat16, setDeterministic, setTf32, worksAside } from "../torch/index.ts";
import {
  type BestRule,
  type Evaluator,
  LossScaler,
  Reporter,
  type RunEnd,
  RunFolder,
  type TrainOptions,
  type TrainSummary,
  decayGroups,
  trackerAddress,
  train,
  trainSettings,
} from "../training/index.ts";
import { type InitialModel, beginRun } from "./begin-run.ts";
import { type OpenedData, type RunData, openData } from "./open-data.ts";
import type { Recipe } from "./recipe.ts";

/** What `runRecipe` trains, on what, and into which folder. */
export interface RunOptions extends Pick<TrainOptions, "evaluators" | "signal" | "label" | "stall" | "profileSteps"> {
  recipe: Recipe;
  data: RunData;
  /** The run folder; one that holds an unfinished run of the same settings is gone on with. */
  out: string;
  /** Where the tensors live, see `findDevice`. Default: where the group's are, else as the recipe says. */
  device?: string | undefined;
  /** Processes that train together, each of which calls this: `training.batchSize` is the batch of all of them. Default this one alone. */
  group?: ProcessGroup | undefined;
  /** Begins with the weights of a model folder, see `beginWith`. */
  initial?: InitialModel | undefined;
  /** Tracking servers, see `trackerAddress`. */
  reportTo?: readonly string[];
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
  const { recipe, data, out, group, signal } = options;
  const device = options.device ?? group?.device ?? deviceOf(recipe);
  preparePrecision(recipe, device);
  // What can be refused without the data, before these are opened.
  const objective = objectiveOf(recipe, group);
  batchOfRank(recipe, group);
  const shape = shapeOf(recipe);
  checkFrozen(recipe, options.initial);
  const opened = await openData(recipe, { signal, ...data }, workFolderOf(out));
  try {
    return await runOn(opened, { ...options, objective, shape, device });
  } finally {
    opened.close();
  }
}

/** A run whose recipe was looked at. */
interface CheckedRun extends RunOptions {
  objective: Objective;
  shape: ClipConfig;
  device: string;
}

async function runOn(opened: OpenedData, options: CheckedRun): Promise<RunResult> {
  const { recipe, group, reportTo = [] } = options;
  const { betas, eps, weightDecay } = recipe.optimizer;
  const trackers = reportTo.map((text) => trackerAddress(text));
  const plan = planOf(opened, options);
  const { model, initialWeights } = await beginModel(options, plan.preprocessing);
  // The run folder last: settings that can't be trained with must not stay behind in it.
  const run = openFolder(options, { totalSteps: plan.totalSteps, data: opened.described, ...(initialWeights && { initialWeights }) });
  const optimizer = new AdamW(decayGroups(model, weightDecay), { betas, eps });
  const reporters: Reporter[] = [];
  let end: RunEnd = "failed";
  try {
    if (isFirst(group) && !run.finished) reporters.push(...trackers.map((tracker) => report({ recipe, run, tracker })));
    const summary = await train({ ...plan, model, optimizer, run });
    end = "finished";
    return { ...summary, run };
  } catch (error) {
    if (error instanceof InterruptedError) end = "interrupted";
    throw error;
  } finally {
    await Promise.all(reporters.map((reporter) => reporter.close(end)));
    run.close();
    optimizer.dispose();
    model.dispose();
  }
}

/**
 * What training is told, but for the model, its optimiser and the run folder.
 * @throws UsageError for what can be refused before these are there
 */
function planOf({ samples, count }: OpenedData, options: CheckedRun): Omit<TrainOptions, "model" | "optimizer" | "run"> {
  const { recipe, data, objective, shape, device, group, evaluators = [], signal, label, stall, profileSteps } = options;
  const { training, images } = recipe;
  const totalSteps = stepsOf(recipe, count);
  const loader = {
    ...loaderSettingsOf(recipe, objective, shape, data),
    samples,
    batchSize: batchOfRank(recipe, group),
    totalSteps,
    leaveColours: leavesColours(recipe, device),
    ...(group === undefined ? {} : { rank: group.rank, ranks: group.ranks }),
  };
  const plan = {
    ...trainSettings(training),
    preprocessing: { mean: images.mean, std: images.std, interpolation: images.interpolation },
    objective,
    schedule: scheduleOf(recipe, totalSteps),
    totalSteps,
    scaler: scalerOf(recipe),
    patchDropout: training.patchDropout === undefined ? undefined : { share: training.patchDropout, seed: training.seed },
    keepBest: bestRule(recipe, evaluators),
    openBatches: (startStep: number) => openLoader({ ...loader, startStep }),
    device,
    group,
    evaluators,
    signal,
    label,
    stall,
    profileSteps,
  };
  checkLoader(loader);
  return plan;
}

function scheduleOf({ optimizer: { peakLr: peak, startLr: start, endLr: end }, training }: Recipe, totalSteps: number): Schedule {
  return warmupCosine({ peak, start, end, warmupSteps: training.warmupSteps, totalSteps });
}

/** The model that a run begins with, on its device, and what the run folder records of weights that come from elsewhere. */
async function beginModel(
  { recipe, shape, initial, device, group }: CheckedRun,
  preprocessing: Preprocessing,
): Promise<{ model: Clip; initialWeights: object | undefined }> {
  const model = new Clip(shape, { seed: recipe.training.seed });
  // Others get the weights of the first, and need no folder.
  const initialWeights = initial && isFirst(group) ? await beginRun(initial, model, preprocessing) : undefined;
  if (recipe.model.freeze !== undefined) freeze(model, recipe.model.freeze);
  // Drawn on the processor, so that a run begins with the same weights everywhere.
  model.moveTo(device);
  return { model, initialWeights };
}

/**
 * Settings that a run may go on with others of: what it says, and what it keeps. Not `checkpointEvery`, by which roll-backs find their way. How
 * a step is split rounds otherwise, which `StepSplits` tells.
 */
const mayChange = [
  "recipe.description",
  ...["logEvery", "checkpointMinutes", "keepCheckpoints", "microBatch", "recomputeBlocks"].map((name) => `recipe.training.${name}`),
];

/** @param facts what the run is known by again, beside recipe and model @throws UsageError when the folder holds another run */
function openFolder({ recipe, shape, out, group }: CheckedRun, facts: object): RunFolder {
  if (!isFirst(group)) return RunFolder.follow(out);
  const config = { recipe: withoutPlace(recipe), model: shape, ...facts };
  return RunFolder.open(out, config, mayChange);
}

/** Whether this process is the one that reads and writes the run folder. */
function isFirst(group: ProcessGroup | undefined): boolean {
  return group?.first ?? true;
}

/** @throws UsageError when something stays as it is that does not come from trained weights */
function checkFrozen({ model: { freeze: frozen } }: Recipe, initial: InitialModel | undefined): void {
  if (frozen === undefined) return;
  if (initial === undefined) {
    throw new UsageError("model.freeze keeps weights as they are, and nobody has trained those that this run begins with.", {
      mend: "Say where they come from: --init-from MODEL_FOLDER.",
    });
  }
  const { only } = initial;
  const other = only === "image" ? "text" : "image";
  const parts = typeof frozen === "string" ? { [frozen]: true } : frozen;
  if (only === undefined || parts[other] === undefined) return;
  throw new UsageError(`model.freeze keeps the ${other} tower as it is, and --init-only ${only} leaves it as it was drawn.`, {
    mend: `Freeze the ${only} tower (--set model.freeze=${only}), or leave --init-only out.`,
  });
}

/** What a recipe says of its batches, but for their size and samples. */
export function loaderSettingsOf(
  { captions, images, training }: Recipe,
  { needs }: Objective,
  { vision, text }: ClipConfig,
  { maximumSkipped }: Pick<RunData, "maximumSkipped">,
): Omit<LoaderOptions, "samples" | "batchSize" | "totalSteps"> {
  return {
    imageSize: vision.imageSize,
    contextLength: text.contextLength,
    seed: training.seed,
    choose: captions.choose,
    weights: captions.weights,
    fallback: captions.fallback,
    textsPerImage: captions.textsPerImage,
    alwaysOriginal: captions.alwaysOriginal,
    weighing: captions.weighing,
    views: needs.views ?? false,
    textKeys: needs.textKeys ?? false,
    scale: images.scale,
    interpolation: images.interpolation,
    exactCrops: images.exact ?? false,
    ...(maximumSkipped === undefined ? {} : { maximumSkipped }),
  };
}

/** The shape of the recipe's model. @throws UsageError for a preset that there is not */
export function shapeOf({ model }: Recipe): ClipConfig {
  const { preset: name, imageSize, patchSize, activation, freeze: _, ...heads } = model;
  const changes = { vision: definedOnly({ imageSize, patchSize, activation }), text: definedOnly({ activation }) };
  return { ...preset(name, changes), ...definedOnly(heads) };
}

/**
 * The recipe's objective.
 * @param group those whose features are in the same batch; default this process alone
 * @throws UsageError when captions or model do not fit it
 */
export function objectiveOf({ objective: settings = { name: "clip" }, captions, model }: Recipe, group?: FeatureGroup): Objective {
  const objective = makeObjective(settings, group);
  const { needs, name } = objective;
  if (needs.oneText && (captions.textsPerImage ?? 1) > 1) {
    throw new UsageError(
      `The objective "${name}" takes one text for each image, and captions.textsPerImage is ${captions.textsPerImage}.`,
      {
        mend: `--set captions.textsPerImage=1, or --set 'objective={"name": "multi-text", "denominator": "slot"}'.`,
      },
    );
  }
  if (needs.logitBias && model.logitBias === undefined) {
    throw new UsageError(`The objective "${name}" learns a bias, and the model has none.`, {
      mend: "Say where it starts, and the scale: --set model.logitBias=-10 --set model.logitScale=10.",
    });
  }
  if (needs.views && model.viewHead === undefined) {
    throw new UsageError(`The objective "${name}" compares views, and the model has no head for them.`, {
      mend: `Say how wide it is: --set 'model.viewHead={"hidden": 4096, "width": 256}'.`,
    });
  }
  return objective;
}

/**
 * The device that a recipe asks for.
 * @param place of this process among those on its machine. Default: it is alone
 * @throws UsageError when it is not there
 */
export function deviceOf({ training: { device } }: Recipe, place: Pick<DeviceSearch, "localRank" | "together"> = {}): string {
  return findDevice(device, { ...place, from: "training.device" });
}

/** Whether the loader leaves the colours of views to the device that trains. */
function leavesColours({ training: { viewsOn = "auto" } }: Recipe, device: string): boolean {
  return viewsOn === "auto" ? worksAside(device) : viewsOn === "device";
}

/** What a run is known by again: the places where it computes, what these can do at most, and how they are given their work, are no part of it. */
function withoutPlace(recipe: Recipe): object {
  const { device: _, peakTflops: __, viewsOn: ___, cudaGraphs: ____, ...training } = recipe.training;
  return { ...recipe, training };
}

/**
 * Sets what a recipe says of precision for the whole process, and warns of what is slow.
 * @throws UsageError for float16 on a device that can't compute it
 */
export function preparePrecision({ training: { precision, tf32, deterministic } }: Recipe, device: string): void {
  if (precision === "bf16" && !hasFastBfloat16(device)) {
    log.warn(
      "This processor has no bfloat16 instructions and emulates them, far slower than float32: --set training.precision=fp32 is faster.",
    );
  }
  if (precision === "fp16" && !hasFastFloat16(device)) {
    throw new UsageError("This processor does not compute in float16 (fp16): that takes a GPU.", {
      mend: hasFastBfloat16(device) ? "bf16 is fast here: --set training.precision=bf16." : "--set training.precision=fp32",
    });
  }
  if (tf32 !== undefined) setTf32(tf32);
  setDeterministic(deterministic ?? false);
}

/** What scales the loss, where that is asked for or needed. */
export function scalerOf({ training: { precision, lossScale } }: Recipe): LossScaler | undefined {
  return precision === "fp16" || lossScale !== undefined ? new LossScaler({ start: lossScale }) : undefined;
}

/** Samples a step on this rank. The recipe's number is that of all ranks, so that a run is the same on any number of them. */
function batchOfRank({ training: { batchSize } }: Recipe, group: ProcessGroup | undefined): number {
  const ranks = group?.ranks ?? 1;
  if (batchSize % ranks === 0) return batchSize / ranks;
  throw new UsageError(`A batch of ${batchSize} can't be shared evenly by ${ranks} processes.`, {
    mend: `--set training.batchSize=${Math.ceil(batchSize / ranks) * ranks} can; training.batchSize is the batch of all processes together.`,
  });
}

/** Begins to report the events of a run. */
function report({ recipe, run, tracker }: { recipe: Recipe; run: RunFolder; tracker: ReturnType<typeof trackerAddress> }): Reporter {
  const settings = Object.fromEntries(
    Object.entries(recipe).flatMap(([section, values]) =>
      isRecord(values)
        ? Object.entries(values).map(([key, value]) => [`${section}.${key}`, typeof value === "string" ? value : JSON.stringify(value)])
        : [[section, values]],
    ),
  ) as Record<string, string>;
  const reporter = new Reporter({ target: { ...tracker, run: basename(run.path), settings, memory: run.trackers } });
  run.listen((event) => reporter.add(event));
  return reporter;
}

/** The run folder's nearest parent that is there: its disk has room for the run, which a folder for temporary files may not have. */
function workFolderOf(out: string): string {
  let folder = resolve(out);
  while (!existsSync(folder)) folder = dirname(folder);
  return folder;
}

/** @throws UsageError when nobody measures what the best checkpoint is chosen by */
function bestRule({ training: { keepBest: metric, bestIs = "higher" } }: Recipe, evaluators: readonly Evaluator[]): BestRule | undefined {
  if (metric === undefined) return undefined;
  const known = evaluators.flatMap(({ measures }) => measures);
  if (!known.includes(metric)) {
    throw new UsageError(`training.keepBest is "${metric}", which this run does not measure.`, {
      mend: known.length === 0 ? "Say what to measure: --evaluate FOLDER." : `It measures ${known.join(", ")}.`,
    });
  }
  return { metric, higher: bestIs === "higher" };
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
