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
import type { SkippedRange } from "./skipped-steps.ts";
import type { Precision } from "./tower-features.ts";

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

/** What `train` takes. */
export interface TrainOptions {
  model: Clip;
  preprocessing: Preprocessing;
  objective: Objective;
  optimizer: AdamW;
  schedule: Schedule;
  totalSteps: number;
  precision: Precision;
  /** Scales the loss where gradients are taken; float16 needs it. Default none. */
  scaler?: LossScaler | undefined;
  /** Images that pass through the towers of this process at once, see cached-gradients.ts. Default "auto": as many as fit, see `StepSplits`. */
  microBatch?: number | "auto" | undefined;
  /** Whether blocks are computed again in the backward pass, see `Clip.recomputesBlocks`. Default "auto": where that is the fastest that fits. */
  recomputeBlocks?: boolean | "auto" | undefined;
  /** Patches of each image that the image tower does not look at. Default it looks at all. */
  patchDropout?: PatchDropout | undefined;
  /** Where the model is, see `findDevice`. */
  device: string;
  /** Record steps and replay them, see `StepGraphs`; where they can't be recorded, that is said. Default false. */
  cudaGraphs?: boolean | undefined;
  /** TFLOP/s that the device can do at most, for the share of them that is reached. Default: the data sheet's, of GPUs that are known. */
  peakTflops?: number | undefined;
  /** Processes that train together: this one makes its part of every batch, the first writes the run folder. Default this one alone. */
  group?: ProcessGroup | undefined;
  /** Opens the batches from a step on. */
  openBatches: (startStep: number) => BatchSource;
  run: RunFolder;
  /** Steps between checkpoints; there is always one at the end and one when interrupted. */
  checkpointEvery: number;
  /** Checkpoints to keep. */
  keepCheckpoints: number;
  /** Minutes between further checkpoints. Default none. */
  checkpointMinutes?: number | undefined;
  /** Also keep the checkpoint with the best measure of an evaluator. */
  keepBest?: BestRule | undefined;
  /** Steps between lines in the log of events. */
  logEvery: number;
  evaluators?: readonly Evaluator[];
  /** Steps in a row with a loss or gradient that is not finite, after which the run rolls back. Default 5. */
  nonFinite?: number | undefined;
  /** Roll-backs after which the run ends. Default 3. */
  rollbacks?: number | undefined;
  /** Leave out steps whose loss or gradient jumps, see `StepGuard`. Default: in runs of at least 1,000 steps. */
  spikeGuard?: boolean | undefined;
  /** Steps to leave out, with their data. */
  skipSteps?: readonly SkippedRange[] | undefined;
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
