/**
 * Notices when a run stands still, also when the main thread hangs in native code: a thread of its own looks at a few shared numbers.
 *
 * It keeps the heartbeat file, which changes at most every five seconds and only when a step was finished, and says once, for each
 * standstill, where the run waits.
 */
import { Worker } from "node:worker_threads";
import { log } from "../support/index.ts";

/** What a run may be waiting for. */
export const phases = ["start", "batches", "step", "evaluation", "checkpoint"] as const;
export type Phase = (typeof phases)[number];

export interface StallOptions {
  /** File of the heartbeat: JSON with the step and the time at which it was finished. Undefined: none is kept. */
  heartbeat: string | undefined;
  totalSteps: number;
  /** Minutes without a finished step after which that is said. Default 10. */
  minutes?: number;
  /** Then also ask the process to save and stop (SIGTERM), and kill it when it has not a minute later. Default false. */
  exit?: boolean;
}

/** For the thread. */
export interface StallJob extends Required<StallOptions> {
  shared: SharedArrayBuffer;
}

/** Places in the shared numbers, float64: the present phase, since when (ms of the monotonic clock), steps finished, when the last was. */
export const place = { phase: 0, since: 1, step: 2, finished: 3, length: 4 } as const;

/** Milliseconds of a clock that all threads of the process share, and that only counts up. */
export function sharedClock(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

export class StallWatch {
  readonly #numbers: Float64Array;
  readonly #worker: Worker;

  constructor({ minutes = 10, exit = false, ...options }: StallOptions) {
    const shared = new SharedArrayBuffer(8 * place.length);
    this.#numbers = new Float64Array(shared);
    this.#numbers[place.step] = -1;
    this.#numbers[place.since] = this.#numbers[place.finished] = sharedClock();
    const job: StallJob = { ...options, minutes, exit, shared };
    this.#worker = new Worker(new URL("./stall-worker.js", import.meta.url), { workerData: job, execArgv: [] });
    // It looks after the run; that it fails must not end it.
    this.#worker.on("error", (error) => log.warn(`Standstills are no longer noticed: ${error.message}`));
    this.#worker.unref();
  }

  /** What the run does from now on. */
  phase(phase: Phase): void {
    const number = phases.indexOf(phase);
    if (this.#numbers[place.phase] === number) return;
    this.#numbers[place.phase] = number;
    this.#numbers[place.since] = sharedClock();
  }

  /** A step was finished; `step` is the number of finished ones. */
  finished(step: number): void {
    this.#numbers[place.step] = step;
    this.#numbers[place.finished] = sharedClock();
  }

  close(): void {
    void this.#worker.terminate();
  }
}
