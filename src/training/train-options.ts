/** What a training run is made of, and what it gives back. */
import type { Batch } from "../data/index.ts";
import type { ProcessGroup } from "../distributed/index.ts";
import type { Clip, Preprocessing } from "../models/index.ts";
import type { Objective } from "../objectives/index.ts";
import type { AdamW, Schedule } from "../optim/index.ts";
import type { BestRule } from "./checkpoints.ts";
import type { LossScaler } from "./loss-scaler.ts";
import type { PatchDropout } from "./patch-choice.ts";
import type { RunFolder } from "./run-folder.ts";
import type { TrainSettings } from "./train-settings.ts";

/** Batches in the order of their steps; `src/data`'s loader is one. */
export interface BatchSource extends AsyncIterable<Batch> {
  close(): Promise<void>;
}

/** Something that looks at the model while it trains; handed in by recipes, since training knows nothing of evaluation. */
export interface Evaluator {
  /** Every so many steps, and after the last. */
  everySteps: number;
  /** Names of what it measures. */
  measures: readonly string[];
  /** Measures by name ("val/zero-shot-top1"), written into the run's events. */
  evaluate(model: Clip, preprocessing: Preprocessing): Promise<Record<string, number>>;
}

/** The settings, and what they are applied to. */
export interface TrainOptions extends TrainSettings {
  model: Clip;
  preprocessing: Preprocessing;
  objective: Objective;
  optimizer: AdamW;
  schedule: Schedule;
  totalSteps: number;
  /** Scales the loss where gradients are taken; float16 needs it. Default none. */
  scaler?: LossScaler | undefined;
  /** Patches of each image that the image tower does not look at. Default it looks at all. */
  patchDropout?: PatchDropout | undefined;
  /** Where the model is, see `findDevice`. */
  device: string;
  /** Processes that train together: this one makes its part of every batch, the first writes the run folder. Default this one alone. */
  group?: ProcessGroup | undefined;
  /** Opens the batches from a step on. */
  openBatches: (startStep: number) => BatchSource;
  run: RunFolder;
  /** Also keep the checkpoint with the best measure of an evaluator. */
  keepBest?: BestRule | undefined;
  evaluators?: readonly Evaluator[];
  /** Minutes without a finished step after which that is said, and whether the process then ends. Default 10 and false. */
  stall?: { minutes: number; exit: boolean } | undefined;
  /** Aborting it saves a checkpoint at the edge of the step and throws InterruptedError. */
  signal?: AbortSignal;
  /** Steps to record once the run is under way, for where their time goes: see `StepProfiler`. At most 100 fit well. Default none. */
  profileSteps?: number | undefined;
  /** Word at the start of progress lines. Default "train". */
  label?: string;
}

/** What `train` gives back. */
export interface TrainSummary {
  steps: number;
  /** Seconds spent in this start of the run. */
  seconds: number;
  /** True when the run was already finished and nothing was done. */
  alreadyFinished: boolean;
  /** Steps without update, since the run began. */
  skipped: number;
}
