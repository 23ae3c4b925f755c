/**
 * Writes checkpoints beside the training loop, which pays for copying the tensors only.
 *
 * One checkpoint at a time: the next waits for the one before, so that no more than one copy of weights and moments is in memory. A
 * checkpoint that can't be written, as on a full disk, is said and forgotten; the ones before it stay.
 */
import { Worker } from "node:worker_threads";
import { fromPosted } from "../support/index.ts";
import type { CheckpointJob } from "./checkpoint-files.ts";
import type { CheckpointAnswer } from "./checkpoint-worker.ts";

/** Writes checkpoints of a run on a thread of its own; must be closed. */
export class CheckpointWriter {
  #worker: Worker | undefined;
  #writing: Promise<void> = Promise.resolve();

  /**
   * Starts to write. The memory of the tensors moves to the thread.
   * @returns a promise of the end: resolves when the checkpoint is in its place and synced
   * @throws (the promise) LaclipError when it could not be written
   */
  async write(job: CheckpointJob): Promise<void> {
    const written = this.#after(this.#writing, job);
    this.#writing = written.catch(() => {}); // whoever asked hears of it
    await written;
  }

  /** Waits for what is being written and ends the thread. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  async #after(before: Promise<void>, job: CheckpointJob): Promise<void> {
    await before;
    await this.#hand(job);
  }

  #hand(job: CheckpointJob): Promise<void> {
    const worker = (this.#worker ??= new Worker(new URL("./checkpoint-worker.js", import.meta.url), { execArgv: [] }));
    const memory = new Set<ArrayBuffer>();
    for (const stored of Object.values(job.tensors)) for (const [, { data }] of stored) memory.add(data.buffer as ArrayBuffer);
    return new Promise((resolve, reject) => {
      const listeners = {
        message: (answer: CheckpointAnswer): void => {
          done();
          if (answer.written) resolve();
          else reject(fromPosted(answer.error));
        },
        error: (error: Error): void => {
          done();
          this.#worker = undefined;
          reject(error);
        },
        exit: (code: number): void => listeners.error(new Error(`internal: the thread that writes checkpoints ended with code ${code}`)),
      };
      const done = (): void => {
        for (const [event, listener] of Object.entries(listeners)) worker.off(event, listener);
        worker.unref();
      };
      for (const [event, listener] of Object.entries(listeners)) worker.on(event, listener);
      worker.ref();
      worker.postMessage(job, [...memory]);
    });
  }
}
