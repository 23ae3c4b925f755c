/**
 * Where a run is: the step, what the guards have seen, the steps that are passed over, and who decides what comes next.
 *
 * Of several processes all go the same way, and judge by the same numbers. What only one of them knows (what lies on the disk, a signal,
 * the clock) is told to all where it decides what comes next; so each `firstSays` and `anySays` must be reached by all.
 */
import { type Checkpoint, type CheckpointState, restoreCheckpoint } from "./checkpoints.ts";
import type { Ranks } from "./ranks.ts";
import { SkippedSteps } from "./skipped-steps.ts";
import { StepGuard } from "./step-guard.ts";
import type { TrainOptions } from "./train-options.ts";

/** Steps from which a run is long enough for jumps to be told from the fall of the loss at its start. */
const longRun = 1000;

/** The course of one process; with several, `ranks` keep all of them on the same one. */
export class RunCourse {
  /** True for the process that reads and writes the run folder. */
  readonly first: boolean;
  readonly guard: StepGuard;
  readonly over: SkippedSteps;
  readonly ranks: Ranks | undefined;
  readonly #options: TrainOptions;
  /** Steps finished, and those of them that were when this start of the run began. */
  step = 0;
  from = 0;
  /** What the evaluators said after the present step. */
  measures: Record<string, number> | undefined;

  constructor(options: TrainOptions, ranks: Ranks | undefined) {
    const { totalSteps, run, group } = options;
    this.#options = options;
    this.ranks = ranks;
    this.first = group?.first ?? true;
    this.guard = new StepGuard({ spikes: options.spikeGuard ?? totalSteps >= longRun });
    this.over = new SkippedSteps(this.first ? run.skippedSteps : undefined, options.skipSteps);
  }

  /** What a checkpoint says beside its tensors. */
  get state(): CheckpointState {
    const { optimizer, scaler } = this.#options;
    return {
      step: this.step,
      updates: optimizer.steps,
      guard: this.guard.state(),
      ...(scaler === undefined ? {} : { scaler: scaler.state() }),
      ...(this.measures === undefined ? {} : { measures: this.measures }),
    };
  }

  /** Takes over the weights of a checkpoint, and all that belongs to them but the step. */
  restore(checkpoint: Checkpoint): void {
    const { model, optimizer, scaler } = this.#options;
    restoreCheckpoint(checkpoint, { model }, optimizer);
    if (checkpoint.guard !== undefined) this.guard.restore(checkpoint.guard);
    if (checkpoint.scaler !== undefined) scaler?.restore(checkpoint.scaler);
    this.measures = checkpoint.measures;
  }

  /** Gives every rank what the first goes on from. */
  startTogether(): void {
    const { optimizer, scaler } = this.#options;
    const { step, guard, over } = this;
    const own = { step, updates: optimizer.steps, guard: guard.state(), scaler: scaler?.state(), passedOver: over.recorded };
    const state = this.ranks?.start(own);
    if (state === undefined || this.first) return;
    this.step = state.step;
    guard.restore(state.guard);
    if (state.scaler !== undefined) scaler?.restore(state.scaler);
    over.follow(state.passedOver);
  }

  /** What the first rank finds; the others don't look. */
  firstSays(what: () => boolean): boolean {
    const own = this.first && what();
    return this.ranks?.firstSays(own) ?? own;
  }

  /** Whether any rank says so. */
  anySays(flag: boolean): boolean {
    return this.ranks?.any(flag) ?? flag;
  }
}
