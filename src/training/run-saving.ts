/**
 * The checkpoints of a run as they come: copied between two steps, written beside them, old ones removed behind.
 *
 * Every rank calls `save` at the same steps, since all compare their weights; the first alone writes.
 */
import { LaclipError, log } from "../support/index.ts";
import type { CheckpointJob } from "./checkpoint-files.ts";
import { CheckpointWriter } from "./checkpoint-writer.ts";
import { canBeSaved, copyCheckpoint, pruneCheckpoints } from "./checkpoints.ts";
import type { Faults } from "./faults.ts";
import type { RunCourse } from "./run-course.ts";
import type { TrainOptions } from "./train-options.ts";

/** Saves and prunes; `close` when the run ends, however it does. */
export class RunSaving {
  readonly #options: TrainOptions;
  readonly #course: RunCourse;
  readonly #faults: Faults;
  readonly #writer = new CheckpointWriter();
  /** Ends, without error, when no checkpoint is being written and what came of the last one has been dealt with. */
  #writing: Promise<void> = Promise.resolve();
  #savedStep: number | undefined;
  #savedAt = performance.now();

  constructor(options: TrainOptions, course: RunCourse, faults: Faults) {
    this.#options = options;
    this.#course = course;
    this.#faults = faults;
  }

  /** Minutes since the last checkpoint, or since the start. */
  get minutes(): number {
    return (performance.now() - this.#savedAt) / 60_000;
  }

  /** Says that a checkpoint of this step lies on the disk already. */
  found(step: number): void {
    this.#savedStep = step;
  }

  /** Returns when no checkpoint is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /**
   * Copies everything and has it written, once for each step.
   * @param options.wait until it is on disk, and fail when it can't be written
   * @returns false when nothing was saved since some weights are not finite
   */
  async save({ wait = false } = {}): Promise<boolean> {
    const { run, model, preprocessing, optimizer } = this.#options;
    const course = this.#course;
    const { step } = course;
    const started = performance.now();
    await this.#writing;
    if (course.firstSays(() => this.#savedStep === step)) return true;
    course.ranks?.checkEqual();
    if (!canBeSaved({ model, optimizer })) return false;
    if (!course.first) {
      if (wait) course.firstSays(() => true); // once it has written
      return true;
    }
    run.sync();
    const job = copyCheckpoint(run.checkpoints, { model, preprocessing, optimizer, state: course.state });
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
      // Of a defect the stack is what helps to find it.
      const reason = LaclipError.is(error) ? error.message : ((error as Error).stack ?? String(error));
      run.record("checkpoint failed", step, { reason });
      if (!wait) log.warn(`The checkpoint of step ${step} could not be written; training goes on. ${reason}`);
    });
    if (!wait) return true;
    await written;
    return course.firstSays(() => true);
  }

  async close(): Promise<void> {
    await this.#writer.close();
  }

  async #write(job: CheckpointJob, step: number, { pause, started }: { pause: number; started: number }): Promise<void> {
    const { run, checkpointEvery, keepCheckpoints, keepBest } = this.#options;
    await this.#writer.write(job);
    run.record("checkpoint", step, { pause, seconds: (performance.now() - started) / 1000 });
    pruneCheckpoints(run.checkpoints, { newest: keepCheckpoints, every: checkpointEvery, best: keepBest });
  }
}
