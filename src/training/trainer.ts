/**
 * The loop around the step: batches in, checkpoints and events out, from wherever an earlier start has left off.
 *
 * A run is a function of its settings: order, crops, captions and learning rate follow from seed and step. So a checkpoint needs only
 * weights, moments, the random generator's state, the step and what the guard has seen, and a resumed run ends with the same weights as
 * one that was never stopped. That goes for roll-backs too: where they lead depends on steps, never on a clock or an interruption.
 *
 * Of several processes all go through the same loop, see run-course.ts.
 */
import { existsSync, rmSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { saveModel } from "../models/index.ts";
import type { Objective } from "../objectives/index.ts";
import { DivergedError, InterruptedError, Progress, log, pause } from "../support/index.ts";
import { deviceName } from "../torch/index.ts";
import { BatchFeed, type FedBatch } from "./batch-feed.ts";
import { isBest, latestCheckpoint, sweepCheckpoints } from "./checkpoints.ts";
import { Faults } from "./faults.ts";
import { patchesOf } from "./patch-choice.ts";
import { Ranks } from "./ranks.ts";
import { RunCourse } from "./run-course.ts";
import { RunSaving } from "./run-saving.ts";
import { StallWatch } from "./stall-watch.ts";
import { StepGraphs, graphObstacle } from "./step-graphs.ts";
import type { GuardState, Verdict } from "./step-guard.ts";
import type { StepSplit } from "./step-memory.ts";
import { StepProfiler } from "./step-profiler.ts";
import { StepSplits } from "./step-splits.ts";
import { type StepInput, type StepJudge, type StepReport, trainStep } from "./step.ts";
import { type StepOutcome, TrainEvents, finiteOrText } from "./train-events.ts";
import type { TrainOptions, TrainSummary } from "./train-options.ts";

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
  readonly #course: RunCourse;
  readonly #saving: RunSaving;
  readonly #faults = new Faults();
  readonly #objective: Objective;
  readonly #progress: Progress;
  readonly #watch: StallWatch;
  readonly #events: TrainEvents;
  #graphs: StepGraphs | undefined;
  readonly #profiler: StepProfiler | undefined;
  readonly #splits: StepSplits;
  #batches: BatchFeed | undefined;
  #evaluatedStep: number | undefined;

  constructor(options: TrainOptions, ranks: Ranks | undefined) {
    const { totalSteps, run, profileSteps, device, checkpointEvery, evaluators = [] } = options;
    this.#options = options;
    this.#course = new RunCourse(options, ranks);
    // One process's steps are like those of the others.
    if (profileSteps !== undefined && this.#course.first) {
      const periods = [checkpointEvery, ...evaluators.map(({ everySteps }) => everySteps)];
      this.#profiler = new StepProfiler({ run: run.path, steps: profileSteps, device, totalSteps, periods });
    }
    this.#saving = new RunSaving(options, this.#course, this.#faults);
    this.#objective = this.#faults.wrap(options.objective, () => this.#course.step);
    this.#progress = new Progress({ label: options.label ?? "train", total: totalSteps, unit: "steps", start: 0 });
    this.#events = new TrainEvents(options, this.#course);
    this.#graphs = this.#openGraphs();
    this.#splits = new StepSplits(options);
    this.#watch = new StallWatch({ heartbeat: this.#course.first ? run.heartbeat : undefined, totalSteps, ...options.stall });
  }

  get skipped(): number {
    return this.#course.guard.skipped;
  }

  async run(): Promise<void> {
    const { model, preprocessing, run, totalSteps } = this.#options;
    try {
      if (this.#course.first) await this.#resume();
      this.#course.startTogether();
      this.#course.from = this.#course.step;
      this.#progress.skip(this.#course.step);
      await this.#steps();
      while (!(await this.#save({ mayRollBack: true }))) await this.#steps();
      await this.#saving.settled(); // a full disk may still have room for the model, which is a third of a checkpoint
      if (this.#course.first) saveModel(run.model, { model, preprocessing });
      this.#course.firstSays(() => true); // a rank that ends well says that the model is there
    } finally {
      this.#progress.finish();
      await this.#batches?.close();
      this.#graphs?.dispose();
      await this.#saving.close();
      this.#watch.close();
      run.sync();
      this.#profiler?.close();
    }
    if (this.skipped > 0) log.info(`${this.skipped} of ${totalSteps} steps were left out; events.jsonl says why.`);
    if (this.skipped >= totalSteps) log.warn("No step changed the weights: this model has learnt nothing.");
  }

  #openGraphs(): StepGraphs | undefined {
    const { cudaGraphs, objective, microBatch } = this.#options;
    if (!cudaGraphs) return undefined;
    const obstacle =
      this.#objective === objective
        ? graphObstacle({ ...this.#options, ranks: this.#course.ranks, microBatch: microBatch === "auto" ? undefined : microBatch })
        : "LACLIP_FAULTS spoils some of them";
    if (obstacle === undefined) return new StepGraphs();
    sayUnrecorded(obstacle);
    return undefined;
  }

  /** The graphs for a step of this split. Where it can't be recorded, neither are later ones. */
  #graphsFor({ microBatch }: StepSplit, { batchSize }: StepInput): StepGraphs | undefined {
    if (this.#graphs === undefined) return undefined;
    const parts = microBatch < batchSize ? microBatch : undefined;
    const obstacle = graphObstacle({ ...this.#options, ranks: this.#course.ranks, microBatch: parts });
    if (obstacle === undefined) return this.#graphs;
    sayUnrecorded(obstacle);
    this.#graphs.dispose();
    this.#graphs = undefined;
    return undefined;
  }

  /** Takes steps until there are no more. */
  async #steps(): Promise<void> {
    const { totalSteps, checkpointEvery, checkpointMinutes } = this.#options;
    let asked = performance.now();
    while (this.#course.step < totalSteps) {
      if (await this.#passOver()) continue;
      if (this.#profiler?.begins(this.#course.step) === true) asked = performance.now();
      const batch = await this.#nextBatch();
      // All stop at the same step, whichever of them was asked to.
      if (this.#course.anySays(batch === "interrupted") || batch === "interrupted") await this.#stop();
      else await this.#take(batch, asked);
      await this.#evaluate();
      // Batches that are ready would keep the event loop from turning: signals and finalizers need it once a step.
      await setImmediate();
      if (this.#course.step >= totalSteps) break;
      const due = (): boolean => this.#saving.minutes >= checkpointMinutes!;
      // Amid steps that are not finite the weights stand still, and a roll-back would go to before them.
      if (this.#course.step % checkpointEvery === 0 && this.#course.guard.notFinite === 0) await this.#save({ mayRollBack: true });
      else if (checkpointMinutes !== undefined && this.#course.firstSays(due)) await this.#save();
      this.#watch.phase("batches");
      asked = performance.now();
    }
    await this.#evaluate();
  }

  /** Passes over a step that is to be left out, and lets the loader begin behind it; returns whether there was one. */
  async #passOver(): Promise<boolean> {
    const { totalSteps, run } = this.#options;
    const next = Math.min(this.#course.over.next(this.#course.step), totalSteps);
    if (next === this.#course.step) return false;
    this.#profiler?.breakOff();
    log.info(`Steps ${this.#course.step + 1} to ${next} are left out, with their data.`);
    run.record("passed over", this.#course.step, { to: next });
    this.#progress.skip(next - this.#course.step);
    this.#course.step = next;
    await this.#batches?.close();
    this.#batches = undefined;
    return true;
  }

  /** The batch of the next step. */
  async #nextBatch(): Promise<FedBatch | "interrupted"> {
    const { openBatches, totalSteps, signal, device, model } = this.#options;
    this.#watch.phase("batches");
    this.#batches ??= new BatchFeed(openBatches(this.#course.step), {
      device,
      toInput: (batch) => {
        const input = { ...batch, ...patchesOf(batch, this.#options), batchSize: batch.ids.length };
        return this.#graphs?.prepare(input, model) ?? input;
      },
    });
    const slow = this.#faults.take("slow-batch", this.#course.step);
    if (slow !== undefined) await pause(slow / 1000, signal);
    if (signal?.aborted) return "interrupted";
    // An interruption must not have to wait for a loader that hangs.
    const fed = await this.#batches.next(signal);
    if (fed === "aborted") return "interrupted";
    if (fed === "ended") throw new Error(`internal: the batches ended at step ${this.#course.step} of ${totalSteps}`);
    return fed;
  }

  /** One step on a batch, and what it leads to. @param asked when the batch was asked for */
  async #take(fed: FedBatch, asked: number): Promise<void> {
    const { totalSteps, nonFinite } = this.#options;
    const { guard } = this.#course;
    this.#watch.phase("step");
    const dataTime = secondsSince(asked);
    let taken: StepOutcome;
    try {
      taken = this.#attempt(fed.input);
    } finally {
      this.#batches?.release(fed);
    }
    const step = ++this.#course.step;
    this.#course.measures = undefined;
    this.#watch.finished(step);
    const batchTime = secondsSince(asked);
    this.#profiler?.ends(step, dataTime);
    if (step === totalSteps) this.#profiler?.breakOff();
    const { loss } = taken.report;
    this.#events.add({ ...fed, ...taken, dataTime, batchTime });
    this.#progress.advance(1, `loss ${loss.toFixed(3)}`);
    if (guard.notFinite < nonFinite) return;
    await this.#rollBack(step - guard.notFinite, `${guard.notFinite} steps in a row were not finite`, loss);
  }

  /** A step by the split that fits, which changes the weights where the guard has nothing against it. */
  #attempt(input: StepInput): StepOutcome {
    const { step, guard, ranks } = this.#course;
    const lr = this.#options.schedule(step);
    let verdict: Verdict = "update";
    let touched = false;
    const judge: StepJudge = {
      limits: guard.limits(),
      committed: () => (touched = true),
      accept: ({ loss, gradientNorm, overflow }) => {
        touched = true;
        verdict = guard.judge({ loss, gradientNorm: gradientNorm!, overflow });
        return verdict === "update";
      },
    };
    const meanwhile = (): void => {
      if (!this.#splits.looking) this.#batches?.bringNext();
    };
    const context = { ...this.#options, objective: this.#objective, ranks, meanwhile };
    const take = (split: StepSplit): StepReport => {
      const graphs = this.#graphsFor(split, input);
      return trainStep({ ...context, microBatch: split.microBatch, graphs }, input, lr, { measureGradient: true, judge });
    };
    const report = this.#splits.take(step, input, take, () => touched);
    return { lr, report, verdict };
  }

  async #evaluate(): Promise<void> {
    const { evaluators = [], totalSteps, model, preprocessing, run, keepBest } = this.#options;
    if (this.#evaluatedStep === this.#course.step || this.#course.step === this.#course.from) return;
    this.#evaluatedStep = this.#course.step;
    const due = evaluators.filter(({ everySteps }) => this.#course.step % everySteps === 0 || this.#course.step === totalSteps);
    if (due.length === 0) return;
    this.#profiler?.breakOff();
    this.#watch.phase("evaluation");
    if (this.#course.first) {
      const measures: Record<string, number> = {};
      for (const evaluator of due) Object.assign(measures, await evaluator.evaluate(model, preprocessing));
      run.record("evaluation", this.#course.step, measures);
      this.#course.measures = measures;
      await this.#saving.settled();
    }
    if (keepBest === undefined) return;
    if (this.#course.firstSays(() => isBest(run.checkpoints, keepBest, this.#course.measures ?? {}))) await this.#save();
  }

  /**
   * Saves a checkpoint, once for each step.
   * @param options.wait until it is on disk, and fail when it can't be written
   * @param options.mayRollBack when the weights are not finite; otherwise such weights are just not saved
   * @returns false when the run was rolled back
   */
  async #save({ wait = false, mayRollBack = false } = {}): Promise<boolean> {
    this.#profiler?.breakOff();
    this.#watch.phase("checkpoint");
    if ((await this.#saving.save({ wait })) || !mayRollBack) return true;
    const { step } = this.#course;
    await this.#rollBack(step - 1, `after step ${step} some weights are not finite`, NaN);
    return false;
  }

  /**
   * Goes back to the weights of the newest checkpoint that is not after `good` steps, and on with the data of the present step.
   * @throws DivergedError when there is none, or this has been done too often
   */
  async #rollBack(good: number, why: string, loss: number): Promise<void> {
    const { run, checkpointEvery, rollbacks } = this.#options;
    this.#profiler?.breakOff();
    await this.#saving.settled();
    const to = this.#course.step;
    if (this.#course.over.rollbacks >= rollbacks)
      throw this.#diverged(`${why}, and the run was rolled back ${rollbacks} times before`, loss);
    const suits = (step: number, guard: GuardState | undefined): boolean =>
      step <= good && step % checkpointEvery === 0 && !this.#course.over.takesBack(step) && (guard?.notFinite ?? 0) === 0;
    const checkpoint = this.#course.first ? await latestCheckpoint(run.checkpoints, suits) : undefined;
    const found = this.#course.firstSays(() => checkpoint !== undefined);
    if (!found) throw this.#diverged(`${why}, and there is no checkpoint from before to go back to`, loss);
    if (checkpoint !== undefined) {
      this.#course.over.add({ from: checkpoint.step, to, reason: why });
      sweepCheckpoints(run.checkpoints, (step) => this.#course.over.takesBack(step));
      this.#course.restore(checkpoint);
      log.warn(`At step ${to}, ${why}: rolled back to the weights of step ${checkpoint.step}; the data from there to here are left out.`);
      run.record("rollback", checkpoint.step, { to, reason: why });
    }
    this.#course.step = to;
    this.#course.startTogether();
    this.#course.measures = this.#evaluatedStep = undefined; // the weights are those of another step
  }

  #diverged(why: string, loss: number): DivergedError {
    const { run, schedule, totalSteps } = this.#options;
    const lr = schedule(Math.min(this.#course.step, totalSteps) - 1);
    run.record("diverged", this.#course.step, { reason: why, "train/loss": finiteOrText(loss), "train/lr": lr });
    return new DivergedError(`At step ${this.#course.step}, ${why} (learning rate ${lr.toPrecision(3)}).`, {
      mend: "Lower the learning rate or lengthen the warm-up: --set optimizer.peakLr=... --set training.warmupSteps=... Earlier checkpoints are untouched.",
    });
  }

  /** Saves and ends the run. */
  async #stop(): Promise<never> {
    const { run, totalSteps } = this.#options;
    await this.#save({ wait: true });
    this.#progress.finish();
    throw new InterruptedError(`Stopped at step ${this.#course.step} of ${totalSteps}; everything is saved in ${run.path}.`, {
      mend: "Start the same command again: it goes on from there.",
    });
  }

  /** Restores the newest whole checkpoint, when there is one. */
  async #resume(): Promise<void> {
    const { run } = this.#options;
    if (existsSync(run.model)) rmSync(run.model, { recursive: true }); // a kill between weights and description: not finished
    const checkpoint = await latestCheckpoint(run.checkpoints, (step) => !this.#course.over.takesBack(step));
    const step = checkpoint?.step ?? 0;
    sweepCheckpoints(run.checkpoints, (found) => found > step || this.#course.over.takesBack(found));
    run.rewind(step);
    this.#course.step = step;
    const device = this.#options.device;
    const where = { device: deviceName(device) ?? device };
    if (checkpoint === undefined) return run.record("start", 0, where);
    this.#course.restore(checkpoint);
    this.#saving.found(step);
    log.info(`Going on from step ${step} (${checkpoint.folder}).`);
    run.record("resume", step, where);
  }
}

function sayUnrecorded(obstacle: string): void {
  log.info(`training.cudaGraphs: steps are not recorded, since ${obstacle}.`);
}

function secondsSince(time: number): number {
  return (performance.now() - time) / 1000;
}
