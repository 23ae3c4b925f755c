/**
 * The loop around the step: batches in, checkpoints and events out, from wherever an earlier start has left off.
 *
 * A run is a function of its settings: order, crops, captions and learning rate follow from seed and step. So a checkpoint needs only
 * weights, moments, the random generator's state, the step and what the guard has seen, and a resumed run ends with the same weights as
 * one that was never stopped. That goes for roll-backs too: where they lead depends on steps, never on a clock or an interruption.
 *
 * Of several processes all go through the same loop, and judge by the same numbers. What only one of them knows (what lies on the disk, a
 * signal, the clock) is told to all where it decides what comes next; so each `#firstSays` and `#anySays` must be reached by all.
 */
import { existsSync, rmSync } from "node:fs";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import type { Batch } from "../data/index.ts";
import { saveModel } from "../models/index.ts";
import type { Objective } from "../objectives/index.ts";
import { DivergedError, InterruptedError, Progress, log } from "../support/index.ts";
import type { CheckpointJob } from "./checkpoint-files.ts";
import { CheckpointWriter } from "./checkpoint-writer.ts";
import {
  type Checkpoint,
  canBeSaved,
  copyCheckpoint,
  isBest,
  latestCheckpoint,
  pruneCheckpoints,
  restoreCheckpoint,
  sweepCheckpoints,
} from "./checkpoints.ts";
import { Faults } from "./faults.ts";
import { MeasureWindow } from "./measure-window.ts";
import { orAborted } from "./or-aborted.ts";
import { patchesOf } from "./patch-choice.ts";
import { Ranks } from "./ranks.ts";
import { SkippedSteps } from "./skipped-steps.ts";
import { StallWatch } from "./stall-watch.ts";
import { type GuardState, StepGuard } from "./step-guard.ts";
import { type StepReport, trainStep } from "./step.ts";
import { finiteOrText, loaderStart, recordStep, warnOfWaiting } from "./train-events.ts";
import type { BatchSource, TrainOptions, TrainSummary } from "./train-options.ts";

/** Steps from which a run is long enough for jumps to be told from the fall of the loss at its start. */
const longRun = 1000;

/**
 * Trains to the last step and leaves the model in the run folder. Processes of a group all call this.
 * @throws InterruptedError when `signal` was aborted: everything is saved; DivergedError when roll-backs don't help; DataError from the
 *   batches; ModelFormatError when all checkpoints are damaged; LaclipError when the disk is full at the end or when interrupted
 */
export async function train(options: TrainOptions): Promise<TrainSummary> {
  const { run, totalSteps, group, model, optimizer } = options;
  const finished = group === undefined ? run.finished : group.valueOfFirst(run.finished);
  if (finished) return { steps: totalSteps, seconds: 0, alreadyFinished: true, skipped: 0 };
  const started = performance.now();
  const ranks = group && new Ranks(group, model, optimizer);
  const trainer = new Trainer(options, ranks);
  try {
    await trainer.run();
  } finally {
    ranks?.close();
  }
  const seconds = (performance.now() - started) / 1000;
  run.record("finished", totalSteps, { seconds });
  run.close();
  return { steps: totalSteps, seconds, alreadyFinished: false, skipped: trainer.skipped };
}

class Trainer {
  readonly #options: TrainOptions;
  readonly #ranks: Ranks | undefined;
  /** True for the process that reads and writes the run folder. */
  readonly #first: boolean;
  readonly #writer = new CheckpointWriter();
  readonly #guard: StepGuard;
  readonly #faults = new Faults();
  readonly #objective: Objective;
  readonly #over: SkippedSteps;
  readonly #progress: Progress;
  readonly #watch: StallWatch;
  readonly #window = new MeasureWindow();
  /** Steps finished. */
  #step = 0;
  /** Step that this start went on from. */
  #from = 0;
  #batches: BatchSource | undefined;
  #iterator: AsyncIterator<Batch> | undefined;
  /** Ends, without error, when no checkpoint is being written and what came of the last one has been dealt with. */
  #writing: Promise<void> = Promise.resolve();
  #savedStep: number | undefined;
  #savedAt = performance.now();
  #evaluatedStep: number | undefined;
  /** What the evaluators said after the present step. */
  #measures: Record<string, number> | undefined;

  constructor(options: TrainOptions, ranks: Ranks | undefined) {
    const { totalSteps, run, group } = options;
    this.#options = options;
    this.#ranks = ranks;
    this.#first = group?.first ?? true;
    this.#guard = new StepGuard({ spikes: options.spikeGuard ?? totalSteps >= longRun });
    this.#objective = this.#faults.wrap(options.objective, () => this.#step);
    this.#over = new SkippedSteps(this.#first ? run.skippedSteps : undefined, options.skipSteps);
    this.#progress = new Progress({ label: options.label ?? "train", total: totalSteps, unit: "steps", start: 0 });
    this.#watch = new StallWatch({ heartbeat: this.#first ? run.heartbeat : undefined, totalSteps, ...options.stall });
  }

  get skipped(): number {
    return this.#guard.skipped;
  }

  async run(): Promise<void> {
    const { model, preprocessing, run, totalSteps } = this.#options;
    try {
      if (this.#first) await this.#resume();
      this.#startTogether();
      this.#from = this.#step;
      this.#progress.skip(this.#step);
      await this.#steps();
      while (!(await this.#save({ mayRollBack: true }))) await this.#steps();
      await this.#writing; // a full disk may still have room for the model, which is a third of a checkpoint
      if (this.#first) saveModel(run.model, { model, preprocessing });
      this.#firstSays(() => true); // a rank that ends well says that the model is there
    } finally {
      this.#progress.finish();
      await this.#batches?.close();
      await this.#writer.close();
      this.#watch.close();
      run.sync();
    }
    if (this.skipped > 0) log.info(`${this.skipped} of ${totalSteps} steps were left out; events.jsonl says why.`);
  }

  /** Takes steps until there are no more. */
  async #steps(): Promise<void> {
    const { totalSteps, checkpointEvery, checkpointMinutes } = this.#options;
    let asked = performance.now();
    while (this.#step < totalSteps) {
      if (await this.#passOver()) continue;
      const batch = await this.#nextBatch();
      // All stop at the same step, whichever of them was asked to.
      if (this.#anySays(batch === "interrupted") || batch === "interrupted") await this.#stop();
      else await this.#take(batch, asked);
      await this.#evaluate();
      // Batches that are ready would keep the event loop from turning: signals and finalizers need it once a step.
      await setImmediate();
      if (this.#step >= totalSteps) break;
      const due = (): boolean => performance.now() - this.#savedAt >= checkpointMinutes! * 60_000;
      // Amid steps that are not finite the weights stand still, and a roll-back would go to before them.
      if (this.#step % checkpointEvery === 0 && this.#guard.notFinite === 0) await this.#save({ mayRollBack: true });
      else if (checkpointMinutes !== undefined && this.#firstSays(due)) await this.#save();
      this.#watch.phase("batches");
      asked = performance.now();
    }
    await this.#evaluate();
  }

  /** Passes over a step that is to be left out, and lets the loader begin behind it; returns whether there was one. */
  async #passOver(): Promise<boolean> {
    const { totalSteps, run } = this.#options;
    const next = Math.min(this.#over.next(this.#step), totalSteps);
    if (next === this.#step) return false;
    log.info(`Steps ${this.#step + 1} to ${next} are left out, with their data.`);
    run.record("passed over", this.#step, { to: next });
    this.#progress.skip(next - this.#step);
    this.#step = next;
    await this.#batches?.close();
    this.#batches = this.#iterator = undefined;
    return true;
  }

  /** The batch of the next step. */
  async #nextBatch(): Promise<Batch | "interrupted"> {
    const { openBatches, totalSteps, signal } = this.#options;
    this.#watch.phase("batches");
    this.#batches ??= openBatches(this.#step);
    this.#iterator ??= this.#batches[Symbol.asyncIterator]();
    const slow = this.#faults.take("slow-batch", this.#step);
    if (slow !== undefined) await sleep(slow, undefined, signal === undefined ? {} : { signal }).catch(() => {});
    if (signal?.aborted) return "interrupted";
    // An interruption must not have to wait for a loader that hangs.
    const result = await orAborted(this.#iterator.next(), signal);
    if (result === "aborted") return "interrupted";
    if (result.done === true) throw new Error(`internal: the batches ended at step ${this.#step} of ${totalSteps}`);
    return result.value;
  }

  /** One step on a batch, and what it leads to. @param asked when the batch was asked for */
  async #take(batch: Batch, asked: number): Promise<void> {
    const { schedule, totalSteps, run, logEvery, group } = this.#options;
    this.#watch.phase("step");
    const given = performance.now();
    const lr = schedule(this.#step);
    let verdict: ReturnType<StepGuard["judge"]> = "update";
    const report = trainStep(
      { ...this.#options, objective: this.#objective, ranks: this.#ranks },
      { ...batch, ...patchesOf(batch, this.#options), batchSize: batch.ids.length },
      lr,
      true,
      (found) => {
        verdict = this.#guard.judge({ loss: found.loss, gradientNorm: found.gradientNorm! });
        return verdict === "update";
      },
    );
    this.#step++;
    this.#measures = undefined;
    this.#watch.finished(this.#step);
    const done = performance.now();
    if (report.updated) {
      this.#window.add({
        "train/loss": report.loss,
        "train/rewritten": batch.sources.filter((source) => source !== "original").length / batch.sources.length,
      });
    } else this.#leftOut(verdict, report, lr);
    this.#window.add({ "train/data_time": (given - asked) / 1000, "train/batch_time": (done - asked) / 1000 });
    if (this.#step % logEvery === 0 || this.#step === totalSteps) {
      const own = this.#window.take();
      const means = this.#ranks?.meansByName(own) ?? own;
      recordStep(run, this.#step, batch, group?.ranks ?? 1, report, lr, { ...means, "train/skipped": this.skipped });
      if (this.#first && this.#step - this.#from > loaderStart) warnOfWaiting(means);
    }
    this.#progress.advance(1, `loss ${report.loss.toFixed(3)}`);
    const inRow = this.#guard.notFinite;
    if (inRow >= (this.#options.nonFinite ?? 5)) {
      await this.#rollBack(this.#step - inRow, `${inRow} steps in a row were not finite`, report.loss);
    }
  }

  #leftOut(verdict: string, { loss, gradientNorm, logitScale }: StepReport, lr: number): void {
    if (!this.#first) return;
    log.warn(
      `Step ${this.#step} was left out: ${verdict === "spike" ? "its loss or gradient jumps out of the last 128 steps" : "not finite"} ` +
        `(loss ${loss.toPrecision(4)}, gradient norm ${gradientNorm!.toPrecision(4)}).`,
    );
    this.#options.run.record("skipped", this.#step, {
      reason: verdict,
      "train/loss": finiteOrText(loss),
      "train/grad_norm": finiteOrText(gradientNorm!),
      "train/lr": lr,
      "train/logit_scale": finiteOrText(logitScale),
    });
  }

  async #evaluate(): Promise<void> {
    const { evaluators = [], totalSteps, model, preprocessing, run, keepBest } = this.#options;
    if (this.#evaluatedStep === this.#step || this.#step === this.#from) return;
    this.#evaluatedStep = this.#step;
    const due = evaluators.filter(({ everySteps }) => this.#step % everySteps === 0 || this.#step === totalSteps);
    if (due.length === 0) return;
    this.#watch.phase("evaluation");
    if (this.#first) {
      const measures: Record<string, number> = {};
      for (const evaluator of due) Object.assign(measures, await evaluator.evaluate(model, preprocessing));
      run.record("evaluation", this.#step, measures);
      this.#measures = measures;
      await this.#writing;
    }
    if (keepBest === undefined) return;
    if (this.#firstSays(() => isBest(run.checkpoints, keepBest, this.#measures ?? {}))) await this.#save();
  }

  /**
   * Copies everything and has it written, once for each step.
   * @param options.wait until it is on disk, and fail when it can't be written
   * @param options.mayRollBack when the weights are not finite; otherwise such weights are just not saved
   * @returns false when the run was rolled back
   */
  async #save({ wait = false, mayRollBack = false } = {}): Promise<boolean> {
    const { run, model, preprocessing, optimizer } = this.#options;
    const step = this.#step;
    this.#watch.phase("checkpoint");
    const started = performance.now();
    await this.#writing;
    if (this.#firstSays(() => this.#savedStep === step)) return true;
    this.#ranks?.checkEqual();
    if (!canBeSaved({ model, optimizer })) {
      if (!mayRollBack) return true;
      await this.#rollBack(step - 1, `after step ${step} some weights are not finite`, NaN);
      return false;
    }
    if (!this.#first) {
      if (wait) this.#firstSays(() => true); // once it has written
      return true;
    }
    run.sync();
    const state = {
      step,
      updates: optimizer.steps,
      guard: this.#guard.state(),
      ...(this.#measures === undefined ? {} : { measures: this.#measures }),
    };
    const job = copyCheckpoint(run.checkpoints, { model, preprocessing, optimizer, state });
    const fullDisk = this.#faults.take("full-disk", step) !== undefined;
    const killAt = this.#faults.take("kill-write", step);
    const slow = this.#faults.take("slow-write", step);
    this.#savedStep = step;
    this.#savedAt = performance.now();
    const pause = (performance.now() - started) / 1000;
    const faults = { fullDisk, ...(killAt === undefined ? {} : { killAt }), ...(slow === undefined ? {} : { slow }) };
    const written = this.#write({ ...job, faults }, step, { pause, started });
    this.#writing = written.catch((error: unknown) => {
      if (this.#savedStep === step) this.#savedStep = undefined;
      run.record("checkpoint failed", step, { reason: (error as Error).message });
      if (!wait) log.warn(`The checkpoint of step ${step} could not be written; training goes on. ${(error as Error).message}`);
    });
    if (!wait) return true;
    await written;
    return this.#firstSays(() => true);
  }

  async #write(job: CheckpointJob, step: number, { pause, started }: { pause: number; started: number }): Promise<void> {
    const { run, checkpointEvery, keepCheckpoints, keepBest } = this.#options;
    await this.#writer.write(job);
    run.record("checkpoint", step, { pause, seconds: (performance.now() - started) / 1000 });
    pruneCheckpoints(run.checkpoints, { newest: keepCheckpoints, every: checkpointEvery, best: keepBest });
  }

  /**
   * Goes back to the weights of the newest checkpoint that is not after `good` steps, and on with the data of the present step.
   * @throws DivergedError when there is none, or this has been done too often
   */
  async #rollBack(good: number, why: string, loss: number): Promise<void> {
    const { run, checkpointEvery, rollbacks = 3 } = this.#options;
    await this.#writing;
    const to = this.#step;
    if (this.#over.rollbacks >= rollbacks) throw this.#diverged(`${why}, and the run was rolled back ${rollbacks} times before`, loss);
    const suits = (step: number, guard: GuardState | undefined): boolean =>
      step <= good && step % checkpointEvery === 0 && !this.#over.takesBack(step) && (guard?.notFinite ?? 0) === 0;
    const checkpoint = this.#first ? await latestCheckpoint(run.checkpoints, suits) : undefined;
    const found = this.#firstSays(() => checkpoint !== undefined);
    if (!found) throw this.#diverged(`${why}, and there is no checkpoint from before to go back to`, loss);
    if (checkpoint !== undefined) {
      this.#over.add({ from: checkpoint.step, to, reason: why });
      sweepCheckpoints(run.checkpoints, (step) => this.#over.takesBack(step));
      this.#restore(checkpoint);
      log.warn(`At step ${to}, ${why}: rolled back to the weights of step ${checkpoint.step}; the data from there to here are left out.`);
      run.record("rollback", checkpoint.step, { to, reason: why });
    }
    this.#step = to;
    this.#startTogether();
    this.#measures = this.#evaluatedStep = undefined; // the weights are those of another step
  }

  /** Gives every rank what the first goes on from. */
  #startTogether(): void {
    const { optimizer } = this.#options;
    const own = { step: this.#step, updates: optimizer.steps, guard: this.#guard.state(), passedOver: this.#over.recorded };
    const state = this.#ranks?.start(own);
    if (state === undefined || this.#first) return;
    this.#step = state.step;
    this.#guard.restore(state.guard);
    this.#over.follow(state.passedOver);
  }

  /** What the first rank finds; the others don't look. */
  #firstSays(what: () => boolean): boolean {
    const own = this.#first && what();
    return this.#ranks?.firstSays(own) ?? own;
  }

  /** Whether any rank says so. */
  #anySays(flag: boolean): boolean {
    return this.#ranks?.any(flag) ?? flag;
  }

  #restore(checkpoint: Checkpoint): void {
    const { model, optimizer } = this.#options;
    restoreCheckpoint(checkpoint, { model }, optimizer);
    if (checkpoint.guard !== undefined) this.#guard.restore(checkpoint.guard);
    this.#measures = checkpoint.measures;
  }

  #diverged(why: string, loss: number): DivergedError {
    const { run, schedule, totalSteps } = this.#options;
    const lr = schedule(Math.min(this.#step, totalSteps) - 1);
    run.record("diverged", this.#step, { reason: why, "train/loss": finiteOrText(loss), "train/lr": lr });
    return new DivergedError(`At step ${this.#step}, ${why} (learning rate ${lr.toPrecision(3)}).`, {
      mend: "Lower the learning rate or lengthen the warm-up: --set optimizer.peakLr=... --set training.warmupSteps=... Earlier checkpoints are untouched.",
    });
  }

  /** Saves and ends the run. */
  async #stop(): Promise<never> {
    const { run, totalSteps } = this.#options;
    await this.#save({ wait: true });
    this.#progress.finish();
    throw new InterruptedError(`Stopped at step ${this.#step} of ${totalSteps}; everything is saved in ${run.path}.`, {
      mend: "Start the same command again: it goes on from there.",
    });
  }

  /** Restores the newest whole checkpoint, when there is one. */
  async #resume(): Promise<void> {
    const { run } = this.#options;
    if (existsSync(run.model)) rmSync(run.model, { recursive: true }); // a kill between weights and description: not finished
    const checkpoint = await latestCheckpoint(run.checkpoints, (step) => !this.#over.takesBack(step));
    const step = checkpoint?.step ?? 0;
    sweepCheckpoints(run.checkpoints, (found) => found > step || this.#over.takesBack(found));
    run.rewind(step);
    this.#step = step;
    if (checkpoint === undefined) return run.record("start", 0);
    this.#restore(checkpoint);
    this.#savedStep = step;
    log.info(`Going on from step ${step} (${checkpoint.folder}).`);
    run.record("resume", step);
  }
}
