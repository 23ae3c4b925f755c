/**
 * Batches on their way to the device: while it computes a step, the arrays of the next are brought to it.
 *
 * A step keeps this thread busy until it is given to the device, and then waits for the numbers that it reports. In between lies the time
 * to bring the next batch, if the loader has it ready: `bringNext`. Where batches go to the processor itself, they are passed on as they
 * come; but where the colours of views are left to be changed, that is done first.
 */
import { setImmediate } from "node:timers/promises";
import type { Batch } from "../data/index.ts";
import { worksAside } from "../torch/index.ts";
import { orAborted } from "./or-aborted.ts";
import { bringToDevice, disposeTensors } from "./step-tensors.ts";
import type { StepInput } from "./step.ts";
import type { BatchSource } from "./train-options.ts";

/** A batch, and what a step makes of it. */
export interface FedBatch {
  batch: Batch;
  input: StepInput;
}

/** Where batches go, and in what form. */
export interface BatchFeedOptions {
  device: string;
  /** What a step takes of a batch. */
  toInput: (batch: Batch) => StepInput;
  /** Bring batches ahead. Default: where the device works aside from this program. */
  ahead?: boolean;
}

/** Gives a step its batch, on the device where it is trained. */
export class BatchFeed {
  readonly #source: BatchSource;
  readonly #iterator: AsyncIterator<Batch>;
  readonly #options: BatchFeedOptions;
  readonly #ahead: boolean;
  /** Resolves, never rejects, when what was asked for has arrived. */
  #coming: Promise<void> | undefined;
  #arrived: IteratorResult<Batch> | undefined;
  #failed: { error: unknown } | undefined;
  #brought: FedBatch | undefined;

  constructor(source: BatchSource, options: BatchFeedOptions) {
    this.#source = source;
    this.#iterator = source[Symbol.asyncIterator]();
    this.#options = options;
    this.#ahead = options.ahead ?? worksAside(options.device);
  }

  /**
   * The next batch, to be given back with `release` after its step.
   * @returns "aborted" as soon as the signal is; "ended" behind the last batch
   * @throws what the source throws, in the place of the batch that it concerns
   */
  async next(signal?: AbortSignal): Promise<FedBatch | "aborted" | "ended"> {
    if (this.#brought === undefined) {
      this.#ask();
      if (this.#coming !== undefined && (await orAborted(this.#coming, signal)) === "aborted") return "aborted";
      if (this.#failed !== undefined) throw this.#failed.error;
      if (this.#arrived!.done === true) return "ended";
      this.#bring(false);
    }
    const fed = this.#brought!;
    this.#brought = undefined;
    if (this.#ahead) {
      this.#ask();
      // A batch that is ready needs a turn of the event loop to get here, and the step leaves none.
      await setImmediate();
    }
    return fed;
  }

  /** Brings the batch after the one that is being worked on, when it is here. */
  bringNext(): void {
    if (this.#ahead && this.#brought === undefined && this.#arrived?.done === false) this.#bring(true);
  }

  /** Frees what was brought of a batch. */
  release({ input }: FedBatch): void {
    if (input.there !== undefined) disposeTensors(input.there);
  }

  /** Ends the source, and frees what was brought and not taken. */
  async close(): Promise<void> {
    if (this.#brought !== undefined) this.release(this.#brought);
    this.#brought = undefined;
    await this.#source.close();
  }

  #ask(): void {
    if (this.#coming !== undefined || this.#arrived !== undefined || this.#failed !== undefined) return;
    this.#coming = this.#receive();
  }

  async #receive(): Promise<void> {
    try {
      this.#arrived = await this.#iterator.next();
    } catch (error) {
      this.#failed = { error };
    }
    this.#coming = undefined;
  }

  /** @param beside what the device computes now, not after it */
  #bring(beside: boolean): void {
    const { device, toInput } = this.#options;
    const batch = this.#arrived!.value as Batch;
    const input = toInput(batch);
    const brings = this.#ahead || input.viewColours !== undefined;
    this.#brought = { batch, input: brings ? { ...input, there: bringToDevice(input, device, beside) } : input };
    // Last: a device that has no room for it may have some when the step is taken again.
    this.#arrived = undefined;
  }
}
