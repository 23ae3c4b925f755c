/** The line of the events that a training step leaves, and what its numbers give rise to. */
import type { Batch } from "../data/index.ts";
import { log, warnOnce } from "../support/index.ts";
import type { RunFolder } from "./run-folder.ts";
import { type Verdict, jumpWindow } from "./step-guard.ts";
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

/** Says, and records, that a step has changed nothing. */
export function recordLeftOut(run: RunFolder, step: number, verdict: Verdict, report: StepReport, lr: number): void {
  const { loss, gradientNorm, logitScale, lossScale } = report;
  if (verdict === "overflow") {
    // In float16 this happens now and then in a run that goes well.
    log.info(`Step ${step} was left out: its gradients, times the loss scale of ${lossScale}, are too large. The scale is halved.`);
  } else {
    log.warn(
      `Step ${step} was left out: ${verdict === "spike" ? `its loss or gradient jumps out of the last ${jumpWindow} steps` : "not finite"} ` +
        `(loss ${loss.toPrecision(4)}, gradient norm ${gradientNorm!.toPrecision(4)}).`,
    );
  }
  run.record("skipped", step, {
    reason: verdict,
    "train/loss": finiteOrText(loss),
    "train/grad_norm": finiteOrText(gradientNorm!),
    "train/lr": lr,
    "train/logit_scale": finiteOrText(logitScale),
    ...(lossScale === undefined ? {} : { "train/loss_scale": lossScale }),
  });
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
    // As open_clip calls it, whatever a process computes on.
    "train/samples_per_second_per_gpu": batch.ids.length / means["train/batch_time"]!,
    ...(report.lossScale === undefined ? {} : { "train/loss_scale": report.lossScale }),
    ...(Number.isFinite(report.gradientNorm) ? { "train/grad_norm": report.gradientNorm! } : {}),
    ...Object.fromEntries(Object.entries(report.metrics).map(([name, value]) => [`train/${name}`, value])),
    "train/memory_rss": process.memoryUsage.rss(),
  });
}
