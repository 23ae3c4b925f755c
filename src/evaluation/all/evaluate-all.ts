/**
 * Every task on every data set that is there, one result file each.
 *
 * What is done is not done again: a result that is there with the same weights, images, protocol and seed is kept. A data set that fails
 * does not end the rest, and is told of at the end.
 */
import { join } from "node:path";
import { existsSync } from "node:fs";
import { LaclipError, UsageError, log, makeFolder } from "../../support/index.ts";
import type { EvaluationDataset, RetrievalDataset } from "../datasets/index.ts";
import { type ClassifiedItem, writeClassifiedItems, writeItemValues } from "../results/outcomes.ts";
import {
  type EvaluationResult,
  type ResultDetails,
  type TaskName,
  earlierResult,
  resultPlace,
  setAside,
  taskNames,
  writeResult,
} from "../results/result.ts";
import { type ChosenDatasets, datasetNames, openForTasks } from "./chosen-datasets.ts";
import type { EvaluatedModel } from "./evaluated-model.ts";
import type { EvaluationTask, TaskOutcome, TaskPlan, TaskSettings } from "./task-plan.ts";
import { writeWrongPictures } from "./wrong-pictures.ts";
import { fewShotTask } from "./few-shot-task.ts";
import { linearProbeTask } from "./linear-probe-task.ts";
import { retrievalTask } from "./retrieval-task.ts";
import { zeroShotTask } from "./zero-shot-task.ts";

/** The tasks there are, in the order in which they run. */
const evaluationTasks: readonly EvaluationTask[] = [zeroShotTask, fewShotTask(), linearProbeTask(), retrievalTask()];

/** What is evaluated on what. */
export interface EvaluateAllOptions extends Partial<TaskSettings>, ChosenDatasets {
  /** Folder for the results. */
  out: string;
  /** Version of the program, for the results. */
  version: string;
  /** Default: all there are. */
  tasks?: readonly TaskName[] | undefined;
  /** Ends the work: the task that is running is stopped, and what was done before it is kept. */
  signal?: AbortSignal | undefined;
  /** Hears of each task when it begins and when it has ended. */
  report?: ((step: EvaluationStep) => void) | undefined;
}

/** What became of a task on a data set. "kept": it was done before. "unfit": the data set is not for it. */
export interface EvaluationStep {
  readonly dataset: string;
  /** Undefined where the data set itself could not be opened. */
  readonly task: TaskName | undefined;
  readonly state: "begun" | "done" | "kept" | "unfit" | "failed";
  /** Why it is unfit, or has failed. */
  readonly reason?: string;
  /** Path of the result. */
  readonly path?: string;
  readonly result?: EvaluationResult;
}

/**
 * Evaluates a model.
 * @returns the last state of each task
 * @throws UsageError when no data set is named or found, a task is unknown, or `classes` and columns have no data set that they could be of.
 *   What fails on the way is a state, no error
 */
export async function evaluateAll(model: EvaluatedModel, options: EvaluateAllOptions): Promise<EvaluationStep[]> {
  const settings: TaskSettings = {
    batchSize: options.batchSize ?? 64,
    device: options.device ?? "cpu",
    maximumSkipped: options.maximumSkipped ?? 0.01,
    seed: options.seed ?? 0,
    store: options.store,
    signal: options.signal,
  };
  const tasks = chosenTasks(options.tasks);
  const steps: EvaluationStep[] = [];
  /** Where the data set of each name lies. */
  const places = new Map<string, string>();
  const say = (step: EvaluationStep): void => {
    if (step.state !== "begun") steps.push(step);
    options.report?.(step);
  };
  for (const name of datasetNames(options, tasks)) {
    let opened: (EvaluationDataset | RetrievalDataset)[];
    try {
      opened = await openForTasks(name, model, options, tasks);
    } catch (error) {
      say({ dataset: name, task: undefined, state: "failed", reason: reasonOf(error) });
      continue;
    }
    for (const dataset of opened) {
      const fitting = tasks.filter(({ takes }) => takes === dataset.task);
      if (fitting.length === 0) say({ dataset: name, task: undefined, state: "unfit", reason: `no task is for ${dataset.task}` });
      const other = places.get(dataset.name);
      if (other !== undefined && other !== dataset.path) {
        const reason = `${other} and ${dataset.path} have one name, and so would their results. Rename one of them.`;
        say({ dataset: name, task: undefined, state: "failed", reason });
        continue;
      }
      places.set(dataset.name, dataset.path);
      for (const task of fitting) {
        if (options.signal?.aborted) return steps;
        const about = { dataset: dataset.name, task: task.name };
        try {
          const plan = await task.plan(model, dataset, settings);
          if (typeof plan === "string") say({ ...about, state: "unfit", reason: plan });
          else say(await runOrKeep({ ...plan, checked: dataset.checked }, model, options, () => say({ ...about, state: "begun" })));
        } catch (error) {
          // Stopped in the midst of it: that is no fault of the task.
          if (options.signal?.aborted && LaclipError.is(error)) return steps;
          say({ ...about, state: "failed", reason: reasonOf(error) });
        }
      }
    }
  }
  return steps;
}

/** Runs a plan and writes its result, unless the same result is there and is all that it writes. */
export async function runOrKeep(
  plan: TaskPlan,
  model: EvaluatedModel,
  { out, version }: Pick<EvaluateAllOptions, "out" | "version">,
  begun: () => void = () => {},
): Promise<EvaluationStep> {
  const { task, dataset } = plan;
  const bare = { dataset, model: model.name, pretrained: "", task: taskNames[task], metrics: {}, language: "en" };
  const path = `${resultPlace(out, bare)}.json`;
  const before = plan.writes === undefined ? earlierResult(path) : undefined;
  if (before !== undefined && differences(before, plan, model).length === 0 && hasItems(out, before))
    return { dataset, task, state: "kept", path, result: before };
  begun();
  const { result } = await runTask(plan, model, { out, version });
  return { dataset, task, state: "done", path, result };
}

/**
 * Runs a plan.
 * @param out folder for the result and what belongs to it; without one, nothing is written
 * @returns the result, and the predictions of a classification
 */
export async function runTask(
  plan: TaskPlan,
  model: EvaluatedModel,
  { out, version }: { out?: string | undefined; version: string },
): Promise<{ result: EvaluationResult; classified: readonly ClassifiedItem[] | undefined }> {
  const { task, dataset, protocol, mainMetric, dataHash, seed, classes, root, checked } = plan;
  const bare = { dataset, model: model.name, pretrained: "", task: taskNames[task], metrics: {}, language: "en" };
  // A place that can't be written to is told before the work, not after it.
  if (out !== undefined) makeFolder(out);
  const started = performance.now();
  const outcome = await plan.run();
  const seconds = (performance.now() - started) / 1000;
  const { metrics, counts, skipped, logitScale, classified, images } = outcome;
  if (out !== undefined) makeRoom(`${resultPlace(out, bare)}.json`, plan, model);
  const perItem = out === undefined ? undefined : await writeItems(out, bare, outcome);
  if (out !== undefined && classified !== undefined && images !== undefined) {
    await writeWrongPictures(out, bare, { items: classified, images, classes: counts["classes"]! });
  }
  const result: EvaluationResult = {
    ...bare,
    metrics,
    laclip: {
      version,
      created: new Date().toISOString(),
      protocol,
      mainMetric,
      counts,
      skipped,
      modelHash: model.hash,
      dataHash,
      root,
      ...(checked?.problems.length ? { problems: checked.problems.slice(0, 20) } : {}),
      ...(checked?.notes.length ? { notes: [...checked.notes] } : {}),
      seconds: Number(seconds.toFixed(3)),
      ...(seed === undefined ? {} : { seed }),
      ...(classes === undefined ? {} : { classes: [...classes] }),
      ...(logitScale === undefined ? {} : { logitScale }),
      ...(perItem === undefined ? {} : { perItem }),
      ...(model.run === undefined ? {} : { run: model.run }),
    },
  };
  // Last, so that a result that is there has all that belongs to it.
  if (out !== undefined) writeResult(out, result);
  return { result, classified };
}

async function writeItems(out: string, result: EvaluationResult, { classified, values }: TaskOutcome): Promise<ResultDetails["perItem"]> {
  if (classified !== undefined) return await writeClassifiedItems(out, result, classified);
  return values === undefined ? undefined : await writeItemValues(out, result, values);
}

function hasItems(out: string, { laclip }: EvaluationResult): boolean {
  return laclip?.perItem === undefined || existsSync(join(out, laclip.perItem.file));
}

/** In what a result was made otherwise than the plan would make it. */
function differences({ laclip }: EvaluationResult, { protocol, dataHash, seed }: TaskPlan, { hash }: EvaluatedModel): string[] {
  if (laclip === undefined) return ["program"];
  const settings = [...new Set([...Object.keys(laclip.protocol), ...Object.keys(protocol)])];
  return [
    ...(laclip.modelHash === hash ? [] : ["weights"]),
    ...(laclip.dataHash === dataHash ? [] : ["images or classes"]),
    ...(laclip.seed === seed ? [] : ["seed"]),
    ...settings.filter((name) => JSON.stringify(laclip.protocol[name]) !== JSON.stringify(protocol[name])),
  ];
}

/** A model has one result of a task on a data set in a folder; whoever tries several settings, or another training, keeps those before. */
function makeRoom(path: string, plan: TaskPlan, model: EvaluatedModel): void {
  const before = earlierResult(path);
  const others = before === undefined ? [] : differences(before, plan, model);
  if (before === undefined || others.length === 0) return;
  const aside = setAside(path, before);
  log.warn(`${path}: the result that was there was made otherwise (${others.join(", ")}). It now lies in ${aside}.`);
}

function chosenTasks(names: readonly TaskName[] | undefined): readonly EvaluationTask[] {
  if (names === undefined) return evaluationTasks;
  const known = evaluationTasks.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new UsageError(`There is no task "${unknown}".`, { mend: `Tasks: ${known.join(", ")}.` });
  return evaluationTasks.filter(({ name }) => names.includes(name));
}

function reasonOf(error: unknown): string {
  // What is no error of the family is a defect: it must not pass for a data set's fault.
  if (!LaclipError.is(error)) throw error;
  return error.mend === undefined ? error.message : `${error.message} ${error.mend}`;
}
