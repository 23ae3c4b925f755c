/** The lines of the events that training steps leave, and what their numbers give rise to. */
import type { Batch } from "../data/index.ts";
import { log, warnOnce } from "../support/index.ts";
import { MeasureWindow } from "./measure-window.ts";
import type { RunCourse } from "./run-course.ts";
import { Speedometer } from "./speedometer.ts";
import { type Verdict, jumpWindow } from "./step-guard.ts";
import type { StepInput, StepReport } from "./step.ts";
import type { TrainOptions } from "./train-options.ts";

/** What came of a step. */
export interface StepOutcome {
  lr: number;
  report: StepReport;
  verdict: Verdict;
}

/** A step that is over, with its batch and its time. */
export interface TakenStep extends StepOutcome {
  batch: Batch;
  input: StepInput;
  /** Seconds in which there was no batch yet. */
  dataTime: number;
  /** Seconds of the whole step, these among them. */
  batchTime: number;
}

/** JSON has no infinity. */
export function finiteOrText(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

/** Steps after a start in which waiting for batches says nothing: they come from a loader that has just begun. */
const loaderStart = 20;
/** Share of a step's time from which waiting for batches is worth a warning. */
const worthAWarning = 0.15;

/** Gathers what steps have measured, and records it. Every rank has one, since means are over ranks; the first alone speaks. */
export class TrainEvents {
  readonly #options: TrainOptions;
  readonly #course: RunCourse;
  readonly #window = new MeasureWindow();
  readonly #speedometer: Speedometer;

  constructor(options: TrainOptions, course: RunCourse) {
    this.#options = options;
    this.#course = course;
    this.#speedometer = new Speedometer(options);
  }

  /** Takes note of the step that the course has just finished; every so many, their line is written. */
  add(taken: TakenStep): void {
    const { totalSteps, logEvery } = this.#options;
    const { step, first } = this.#course;
    const { batch, report, dataTime, batchTime } = taken;
    this.#speedometer.add(taken.input);
    if (report.updated) {
      const rewritten = batch.sources.filter((source) => source !== "original").length / batch.sources.length;
      this.#window.add({ "train/loss": report.loss, "train/rewritten": rewritten });
    } else if (first) this.#leftOut(taken);
    this.#window.add({ "train/data_time": dataTime, "train/batch_time": batchTime });
    if (step % logEvery === 0 || step === totalSteps) this.#line(taken);
  }

  /** Says, and records, that a step has changed nothing. */
  #leftOut({ verdict, report, lr }: TakenStep): void {
    const { step } = this.#course;
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
    this.#options.run.record("skipped", step, {
      reason: verdict,
      "train/loss": finiteOrText(loss),
      "train/grad_norm": finiteOrText(gradientNorm!),
      "train/lr": lr,
      "train/logit_scale": finiteOrText(logitScale),
      ...(lossScale === undefined ? {} : { "train/loss_scale": lossScale }),
    });
  }

  /** One line of events, with open_clip's names for the measures: means since the last one, and numbers of this step. */
  #line({ batch, report, lr }: TakenStep): void {
    const { run, group } = this.#options;
    const { step, from, first, ranks, guard } = this.#course;
    const own = this.#window.take();
    const means = ranks?.meansByName(own) ?? own;
    const batchTime = means["train/batch_time"]!;
    run.record("train", step, {
      epoch: batch.epoch,
      ...means,
      ...this.#speedometer.take(batchTime),
      "train/skipped": guard.skipped,
      "train/lr": lr,
      "train/logit_scale": report.logitScale,
      // open_clip's name of the same, by which its users' charts find it.
      "train/scale": report.logitScale,
      "train/samples_per_second": (batch.ids.length * (group?.ranks ?? 1)) / batchTime,
      // As open_clip calls it, whatever a process computes on.
      "train/samples_per_second_per_gpu": batch.ids.length / batchTime,
      ...(report.lossScale === undefined ? {} : { "train/loss_scale": report.lossScale }),
      ...(Number.isFinite(report.gradientNorm) ? { "train/grad_norm": report.gradientNorm! } : {}),
      ...Object.fromEntries(Object.entries(report.metrics).map(([name, value]) => [`train/${name}`, value])),
      "train/memory_rss": process.memoryUsage.rss(),
    });
    if (first && step - from > loaderStart) warnOfWaiting(means);
  }
}

/** Says so, once, when much of the time goes into waiting for batches. @param means as recorded */
function warnOfWaiting(means: Record<string, number>): void {
  const share = means["train/data_time"]! / means["train/batch_time"]!;
  if (share < worthAWarning) return;
  warnOnce(
    "waiting for batches",
    `The loader is the limit: ${Math.round(share * 100)} % of the time of the last steps went into waiting for batches. ` +
      "`laclip data bench` says which part of it is slow; `laclip data pack --resize` makes images smaller once and for all.",
  );
}
