/**
 * What `evaluateAll` runs: a task on a data set, planned before it is run. All that its number depends on is known from the plan, so that a
 * result that is there already can be told to be the same.
 */
import type { EvaluationDataset, RetrievalDataset, SplitName } from "../datasets/index.ts";
import type { FeatureStore } from "../features/index.ts";
import type { ClassifiedItem, ItemValues } from "../results/outcomes.ts";
import type { EvaluationResult, ResultDetails, TaskName } from "../results/result.ts";
import type { EvaluationItem } from "../../data/index.ts";
import type { EvaluatedModel } from "./evaluated-model.ts";

/** Settings of all tasks. */
export interface TaskSettings {
  /** Images a batch. */
  readonly batchSize: number;
  readonly device: string;
  /** Share of images that may be unreadable, 0..1. */
  readonly maximumSkipped: number;
  /** What episodes and the like are drawn from. */
  readonly seed: number;
  /** Whether progress is shown. Default false. */
  readonly progress?: boolean;
  /** Where features are kept, so that tasks share them. Default: nowhere. */
  readonly store?: FeatureStore | undefined;
  /** Stops the making of features; what was made stays in the store. */
  readonly signal?: AbortSignal | undefined;
}

/** What a task found. */
export interface TaskOutcome {
  readonly metrics: EvaluationResult["metrics"];
  readonly counts: ResultDetails["counts"];
  readonly skipped: ResultDetails["skipped"];
  /** At which confidences are computed, for tasks that have such. */
  readonly logitScale?: number;
  /** Outcomes one by one: predictions, or values of episodes or queries. */
  readonly classified?: readonly ClassifiedItem[];
  readonly values?: ItemValues;
  /** The images that `classified` speaks of, for pictures of those that are wrong. */
  readonly images?: readonly EvaluationItem[];
}

/** A task on a data set. */
export interface TaskPlan {
  readonly task: TaskName;
  readonly dataset: string;
  /** See `ResultDetails`. */
  readonly protocol: ResultDetails["protocol"];
  readonly mainMetric: string;
  /** SHA-256 over the images and classes that it uses. */
  readonly dataHash: string;
  /** Undefined for tasks without chance. */
  readonly seed?: number;
  /** Folder of the data set. */
  readonly root: string;
  /** What it writes besides its result, a folder: a result that is there does not replace that, so the task is run again. */
  readonly writes?: string | undefined;
  /** First name of each class. */
  readonly classes?: readonly string[];
  /** What was found when the data set was opened; stands in the result. */
  readonly checked?: { readonly problems: readonly string[]; readonly notes: readonly string[] };
  run(): Promise<TaskOutcome>;
}

/** A task as `evaluateAll` knows it: how it is planned on a data set, or why that data set is not for it. */
export interface EvaluationTask {
  readonly name: TaskName;
  /** Kind of data sets that it takes, and the splits of them that it reads. */
  readonly takes: "classification" | "retrieval";
  readonly splits: readonly SplitName[];
  /** @returns a plan, or in a sentence why there is none: "there are no train images" */
  plan(
    model: EvaluatedModel,
    dataset: EvaluationDataset | RetrievalDataset,
    settings: TaskSettings,
  ): TaskPlan | string | Promise<TaskPlan | string>;
}
