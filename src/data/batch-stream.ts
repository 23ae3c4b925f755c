/**
 * The near end of the thread that makes batches: an async iterator with a bounded number of batches ahead.
 */
import { Worker } from "node:worker_threads";
import { fromPosted } from "../support/index.ts";
import type { BatchAnswer, BatchJob, BatchRequest } from "./batch-worker.ts";
import { SkippedImages } from "./skipped-images.ts";

interface Waiting<T> {
  resolve: (result: IteratorResult<T, undefined>) => void;
  reject: (error: unknown) => void;
}

/** Batches from a thread, in order. Ends the thread when it is closed, when the loop over it is left, and after the last batch. */
export class BatchStream<T extends { images: Uint8Array }> implements AsyncIterableIterator<T, undefined> {
  /** Images that could not be read, as far as batches were taken. */
  readonly skipped: SkippedImages;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #ready: T[] = [];
  readonly #instead: string | undefined;
  #waiting: Waiting<T> | undefined;
  #error: unknown;
  #ended = false;
  #reported = false;

  /**
   * @param ahead batches to make before they are asked for
   * @param instead what happened in place of unreadable images, for the report; without it nothing is reported
   */
  constructor(job: BatchJob, ahead: number, instead: string | undefined) {
    // The limit is enforced where batches are made; here it is only counted.
    this.skipped = new SkippedImages(job.images, 1);
    this.#instead = instead;
    // Flags such as --eval are meant for the main thread only, and would stop this one.
    this.#worker = new Worker(new URL("./batch-worker.js", import.meta.url), { workerData: job, execArgv: [] });
    this.#exited = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    this.#worker.on("message", (answer: BatchAnswer) => this.#receive(answer));
    this.#worker.on("error", (error) => this.#fail(error));
    this.#worker.once("exit", (code) => this.#fail(new Error(`internal: the thread that makes batches ended with code ${code}`)));
    this.#ask({ kind: "more", count: Math.max(1, ahead) });
    // Only a consumer who waits keeps the process alive.
    this.#worker.unref();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next batch. @throws DataError when too many images can't be read; whatever went wrong in the thread */
  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#waiting) throw new Error("internal: two consumers wait for one stream of batches");
    const batch = this.#ready.shift();
    if (batch !== undefined) {
      this.#ask({ kind: "more", count: 1 });
      return Promise.resolve({ value: batch, done: false });
    }
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#ended) {
      this.#report();
      return Promise.resolve({ value: undefined, done: true });
    }
    this.#worker.ref();
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }

  /** Ends the stream when a loop over it is left early. */
  async return(): Promise<IteratorResult<T, undefined>> {
    await this.close();
    return { value: undefined, done: true };
  }

  /** Stops the thread, waits until it is gone, and reports unreadable images. May be called more than once. */
  async close(): Promise<void> {
    if (!this.#ended && this.#error === undefined) {
      this.#ask({ kind: "stop" });
      this.#end();
    }
    this.#ready.length = 0;
    this.#worker.ref();
    await this.#exited;
    this.#report();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #receive(answer: BatchAnswer): void {
    if (this.#ended) return;
    if (answer.kind === "end") return this.#end();
    if (answer.kind === "error") return this.#fail(fromPosted(answer.error));
    this.skipped.add(answer.unreadable);
    const batch = answer.batch as unknown as T;
    if (batch.images.byteLength === 0) return this.#ask({ kind: "more", count: 1 });
    const waiting = this.#take();
    if (!waiting) return void this.#ready.push(batch);
    this.#ask({ kind: "more", count: 1 });
    waiting.resolve({ value: batch, done: false });
  }

  #end(): void {
    this.#ended = true;
    const waiting = this.#take();
    if (!waiting) return;
    this.#report();
    waiting.resolve({ value: undefined, done: true });
  }

  #fail(error: unknown): void {
    if (this.#ended || this.#error !== undefined) return;
    this.#error = error;
    this.#take()?.reject(error);
  }

  #take(): Waiting<T> | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) this.#worker.unref();
    return waiting;
  }

  #ask(request: BatchRequest): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
    this.#worker.postMessage(request);
  }

  #report(): void {
    if (this.#reported || this.#instead === undefined) return;
    this.#reported = true;
    this.skipped.report(this.#instead);
  }
}
