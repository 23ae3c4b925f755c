/**
 * The order in which samples are seen: a permutation for each epoch, from the seed alone.
 *
 * A step number says everything: which epoch, where in it, which samples. To resume is to start at that step; nothing else is kept.
 * The last, short batch of an epoch is dropped, since the loss compares whole batches.
 */
import { DataError, invariant, Random } from "../support/index.ts";

/** What decides the order. */
export interface BatchOrderOptions {
  /** Number of samples. */
  count: number;
  /** Samples a step on each rank. */
  batchSize: number;
  /** Seed of the run. */
  seed: number;
  /** This process among those that train together. Default 0 of 1. */
  rank?: number;
  ranks?: number;
}

/** Says for any step which samples it takes; the same on every start and every rank. */
export class BatchOrder {
  readonly #count: number;
  readonly #batch: number;
  readonly #seed: number;
  readonly #rank: number;
  readonly #globalBatch: number;
  readonly #epochs = new Map<number, Uint32Array>();
  readonly stepsPerEpoch: number;

  /** @throws DataError when there are fewer samples than one batch takes */
  constructor({ count, batchSize, seed, rank = 0, ranks = 1 }: BatchOrderOptions) {
    invariant(batchSize >= 1 && rank >= 0 && rank < ranks, `batch of ${batchSize} on rank ${rank} of ${ranks}`);
    this.#count = count;
    this.#batch = batchSize;
    this.#seed = seed;
    this.#rank = rank;
    this.#globalBatch = batchSize * ranks;
    this.stepsPerEpoch = Math.floor(count / this.#globalBatch);
    if (this.stepsPerEpoch === 0) {
      const size = ranks === 1 ? String(batchSize) : `${batchSize} x ${ranks}`;
      throw new DataError(`${count} samples are fewer than one batch of ${size}.`, { mend: "Choose a smaller batch, or add samples." });
    }
  }

  /** Epoch of a step (both from 0) and the position in it of the first sample of this rank's batch. */
  position(step: number): { epoch: number; offset: number } {
    const epoch = Math.floor(step / this.stepsPerEpoch);
    return { epoch, offset: (step - epoch * this.stepsPerEpoch) * this.#globalBatch + this.#rank * this.#batch };
  }

  /** Rows of this rank's batch. */
  rows(step: number): Uint32Array {
    const { epoch, offset } = this.position(step);
    return this.#permutation(epoch).slice(offset, offset + this.#batch);
  }

  /**
   * Rows to take instead of one that can't be used, best first: what comes one batch later in the epoch, then what follows it,
   * around the end. Rows of the step's own batch are left out: a pair twice in a batch would be its own negative.
   */
  *replacements(step: number, slot: number): Generator<number> {
    const { epoch, offset } = this.position(step);
    const order = this.#permutation(epoch);
    const batchStart = offset - this.#rank * this.#batch;
    for (let k = 0; k < this.#count; k++) {
      const at = (offset + slot + this.#globalBatch + k) % this.#count;
      if (at < batchStart || at >= batchStart + this.#globalBatch) yield order[at]!;
    }
  }

  #permutation(epoch: number): Uint32Array {
    let order = this.#epochs.get(epoch);
    if (order === undefined) {
      order = Random.of(this.#seed, "order", epoch).permutation(this.#count);
      // Batches of two epochs may be under way at once; older ones are done.
      for (const old of this.#epochs.keys()) if (old < epoch - 1) this.#epochs.delete(old);
      this.#epochs.set(epoch, order);
    }
    return order;
  }
}
