/**
 * The loop around the step: batches in, checkpoints and events out, from wherever an earlier start has left off.
 *
 * A run is a function of its settings: order, crops, captions and learning rate follow from seed and step, so that a checkpoint needs
 * only weights, moments and the step, and a resumed run ends with the same weights as one that was never stopped.
 */
import { existsSync, rmSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { type Batch } from "../data/index.ts";
import type { ProcessGroup } from "../distributed/index.ts";
import { type Clip, type Preprocessing, saveModel } from "../models/index.ts";
import type { Objective } from "../objectives/index.ts";
import type { AdamW, Schedule } from "../optim/index.ts";
import { DivergedError, InterruptedError, Progress, log, warnOnce } from "../support/index.ts";
import { latestCheckpoint, restoreCheckpoint, saveCheckpoint, sweepCheckpoints } from "./checkpoints.ts";
import { Ranks } from "./ranks.ts";
import type { RunFolder } from "./run-folder.ts";
import { type Precision, type StepReport, trainStep } from "./step.ts";

/** Batches in the order of their steps; `src/data`'s loader is one. */
export interface BatchSource extends AsyncIterable<Batch> {
  close(): Promise<void>;
}

/** Something that looks at the model while it trains; handed in by recipes, since training knows nothing of evaluation. */
export interface Evaluator {
  /** Every so many steps, and after the last. */
  everySteps: number;
  /** Measures by name ("val/zero-shot-top1"), written into the run's events. */
  evaluate(model: Clip, preprocessing: Preprocessing): Promise<Record<string, number>>;
}

export interface TrainOptions {
  model: Clip;
  preprocessing: Preprocessing;
  objective: Objective;
  optimizer: AdamW;
  schedule: Schedule;
  totalSteps: number;
  precision: Precision;
  device: string;
  /** Processes that train together: this one makes its part of every batch, the first writes the run folder. Default: this one alone. */
  group?: ProcessGroup;
  /** Opens the batches from a step on. */
  openBatches: (startStep: number) => BatchSource;
  run: RunFolder;
  /** Steps between checkpoints; there is always one at the end and one when interrupted. */
  checkpointEvery: number;
  /** Checkpoints to keep. */
  keepCheckpoints: number;
  /** Steps between lines in the log of events. */
  logEvery: number;
  evaluators?: readonly Evaluator[];
  /** Aborting it saves a checkpoint at the edge of the step and throws InterruptedError. */
  signal?: AbortSignal;
  /** Word at the start of progress lines. Default "train". */
  label?: string;
}

export interface TrainSummary {
  steps: number;
  /** Seconds spent in this start of the run. */
  seconds: number;
  /** True when the run was already finished and nothing was done. */
  alreadyFinished: boolean;
}

/** Means over the steps since the last line of the log. */
class Window {
  #steps = 0;
  #sums: Record<string, number> = {};
  add(measures: Record<string, number>): void {
    this.#steps++;
    for (const [name, value] of Object.entries(measures)) this.#sums[name] = (this.#sums[name] ?? 0) + value;
  }
  take(): Record<string, number> {
    const means = Object.fromEntries(Object.entries(this.#sums).map(([name, sum]) => [name, sum / this.#steps]));
    this.#steps = 0;
    this.#sums = {};
    return means;
  }
}

/**
 * Trains to the last step and leaves the model in the run folder.
 * @throws InterruptedError when `signal` was aborted: everything is saved; DivergedError when the loss is not finite;
 *   DataError from the batches; ModelFormatError when all checkpoints are damaged
 */
export async function train(options: TrainOptions): Promise<TrainSummary> {
  const { model, preprocessing, optimizer, schedule, totalSteps, run, signal, evaluators = [] } = options;
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1000;
  const ranks = options.group === undefined ? undefined : new Ranks(options.group, model, optimizer);
  const first = options.group?.first ?? true;
  if (ranks?.firstSays(run.finished) ?? run.finished) {
    ranks?.close();
    return { steps: totalSteps, seconds: 0, alreadyFinished: true };
  }

  const restored = first ? await resume(options) : 0;
  const startStep = ranks?.start({ step: restored, updates: optimizer.steps }).step ?? restored;
  const batches = options.openBatches(startStep);
  const progress = new Progress({ label: options.label ?? "train", total: totalSteps, unit: "steps", start: startStep });
  const window = new Window();
  let step = startStep;
  const save = async (): Promise<void> => {
    ranks?.checkEqual();
    if (!first) return;
    run.sync();
    await saveCheckpoint(run.checkpoints, { model, preprocessing, optimizer, state: { step } }, options.keepCheckpoints);
  };

  try {
    let asked = performance.now();
    for await (const batch of batches) {
      const given = performance.now();
      const logged = (step + 1) % options.logEvery === 0 || step + 1 === totalSteps;
      const report = trainStep({ ...options, ...(ranks && { ranks }) }, { ...batch, batchSize: batch.ids.length }, schedule(step), logged);
      if (!Number.isFinite(report.loss)) throw diverged(run, step, report, schedule(step));
      step++;
      const done = performance.now();
      window.add({
        "train/loss": report.loss,
        "train/rewritten": batch.sources.filter((source) => source !== "original").length / batch.sources.length,
        "train/data_time": (given - asked) / 1000,
        "train/batch_time": (done - asked) / 1000,
      });
      if (logged) {
        const means = window.take();
        record(options, step, batch, report, means);
        // The first batches after a start come from a loader that has just begun.
        if (step - startStep > loaderStart) warnOfWaiting(means);
      }
      progress.advance(1, `loss ${report.loss.toFixed(3)}`);

      for (const evaluator of evaluators) {
        if (first && (step % evaluator.everySteps === 0 || step === totalSteps))
          run.record("evaluation", step, await evaluator.evaluate(model, preprocessing));
      }
      if (step === totalSteps) break;
      // Batches that are ready would keep the event loop from turning: signals and finalizers need it once a step.
      await setImmediate();
      const stop = signal?.aborted ?? false;
      if (ranks?.any(stop) ?? stop) {
        await save();
        progress.finish();
        throw new InterruptedError(`Stopped at step ${step} of ${totalSteps}; everything is saved in ${run.path}.`, {
          mend: "Start the same command again: it goes on from there.",
        });
      }
      if (step % options.checkpointEvery === 0) await save();
      asked = performance.now();
    }
    await save();
  } finally {
    progress.finish();
    ranks?.close();
    await batches.close();
    run.sync();
  }
  if (first) saveModel(run.model, { model, preprocessing });
  run.record("finished", step, { seconds: seconds() });
  run.close();
  return { steps: step, seconds: seconds(), alreadyFinished: false };
}

/** Restores the newest whole checkpoint; returns the step to go on with. */
async function resume({ run, model, optimizer }: TrainOptions): Promise<number> {
  if (existsSync(run.model)) rmSync(run.model, { recursive: true }); // a kill between weights and description: not finished
  const checkpoint = await latestCheckpoint(run.checkpoints);
  const step = checkpoint?.step ?? 0;
  sweepCheckpoints(run.checkpoints, step);
  run.rewind(step);
  if (checkpoint === undefined) {
    run.record("start", 0);
    return 0;
  }
  restoreCheckpoint(checkpoint, { model }, optimizer);
  log.info(`Going on from step ${step} (${checkpoint.folder}).`);
  run.record("resume", step);
  return step;
}

/** Steps after a start in which waiting for batches says nothing. */
const loaderStart = 20;
/** Share of a step's time from which waiting for batches is worth a warning. */
const worthAWarning = 0.15;

function warnOfWaiting(means: Record<string, number>): void {
  const share = means["train/data_time"]! / means["train/batch_time"]!;
  if (share < worthAWarning) return;
  warnOnce(
    "waiting for batches",
    `The loader is the limit: ${Math.round(share * 100)} % of the time of the last steps went into waiting for batches. ` +
      "`laclip data bench` says which part of it is slow; `laclip data pack --resize` makes images smaller once and for all.",
  );
}

/** One line of events, with open_clip's names for the measures. */
function record(
  { run, group, schedule }: TrainOptions,
  step: number,
  batch: Batch,
  report: StepReport,
  means: Record<string, number>,
): void {
  run.record("train", step, {
    epoch: batch.epoch,
    ...means,
    "train/lr": schedule(step - 1),
    "train/logit_scale": report.logitScale,
    "train/samples_per_second": (batch.ids.length * (group?.ranks ?? 1)) / means["train/batch_time"]!,
    ...(report.gradientNorm === undefined ? {} : { "train/grad_norm": report.gradientNorm }),
    ...Object.fromEntries(Object.entries(report.metrics).map(([name, value]) => [`train/${name}`, value])),
    "train/memory_rss": process.memoryUsage.rss(),
  });
}

function diverged(run: RunFolder, step: number, report: StepReport, lr: number): DivergedError {
  run.record("diverged", step, { "train/loss": String(report.loss), "train/lr": lr, "train/logit_scale": report.logitScale });
  return new DivergedError(
    `The loss of step ${step + 1} is ${report.loss} (learning rate ${lr.toPrecision(3)}, logit scale ${report.logitScale.toPrecision(3)}).`,
    {
      mend: "Lower the learning rate or lengthen the warm-up: --set optimizer.peakLr=... --set training.warmupSteps=... The last checkpoint is untouched.",
    },
  );
}
