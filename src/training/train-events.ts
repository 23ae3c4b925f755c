/** The line of the events that a training step leaves, and what its numbers give rise to. */
import type { Batch } from "../data/index.ts";
import { warnOnce } from "../support/index.ts";
import type { RunFolder } from "./run-folder.ts";
import type { StepReport } from "./step.ts";

/** JSON has no infinity. */
export function finiteOrText(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

/** Steps after a start in which waiting for batches says nothing: they come from a loader that has just begun. */
export const loaderStart = 20;
/** Share of a step's time from which waiting for batches is worth a warning. */
const worthAWarning = 0.15;

/** Says so, once, when much of the time goes into waiting for batches. @param means as recorded */
export function warnOfWaiting(means: Record<string, number>): void {
  const share = means["train/data_time"]! / means["train/batch_time"]!;
  if (share < worthAWarning) return;
  warnOnce(
    "waiting for batches",
    `The loader is the limit: ${Math.round(share * 100)} % of the time of the last steps went into waiting for batches. ` +
      "`laclip data bench` says which part of it is slow; `laclip data pack --resize` makes images smaller once and for all.",
  );
}

/** One line of events, with open_clip's names for the measures. @param ranks processes that each had such a batch */
export function recordStep(
  run: RunFolder,
  step: number,
  batch: Batch,
  ranks: number,
  report: StepReport,
  lr: number,
  means: Record<string, number>,
): void {
  run.record("train", step, {
    epoch: batch.epoch,
    ...means,
    "train/lr": lr,
    "train/logit_scale": report.logitScale,
    // open_clip's name of the same, by which its users' charts find it.
    "train/scale": report.logitScale,
    "train/samples_per_second": (batch.ids.length * ranks) / means["train/batch_time"]!,
    ...(Number.isFinite(report.gradientNorm) ? { "train/grad_norm": report.gradientNorm! } : {}),
    ...Object.fromEntries(Object.entries(report.metrics).map(([name, value]) => [`train/${name}`, value])),
    "train/memory_rss": process.memoryUsage.rss(),
  });
}
