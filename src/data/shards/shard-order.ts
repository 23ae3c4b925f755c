/**
 * The order in which the samples of many tars are seen, when tars can only be read from front to back.
 *
 * For each epoch, from the seed alone: the tars are shuffled; some of them are read side by side, a sample of each in turn; what comes
 * is cut evenly between the ranks; and each rank mixes its part in blocks of some thousand samples. So a step number says everything, as
 * it does for tables (order.ts): to resume is to open a few tars at the samples that the block of that step begins with.
 *
 * Every rank has the same number of steps, and an epoch shows no sample twice on any of them. What is left over at the end, less than
 * a batch for each rank, is other samples in each epoch.
 */
import { DataError, Random, UsageError, invariant } from "../../support/index.ts";

/** What decides the order. */
export interface ShardOrderOptions {
  /** Samples in each tar. */
  counts: readonly number[];
  /** Samples a step on each rank. */
  batchSize: number;
  /** Seed of the run. */
  seed: number;
  /** This process among those that train together. Default 0 of 1. */
  rank?: number;
  ranks?: number;
  /** Samples that are mixed with each other. Default 2,048; at least two batches, whole batches always. */
  shuffle?: number;
  /** Tars that are read side by side. Default 4. */
  interleave?: number;
  /**
   * Draw tars with replacement, and call so many samples an epoch: for sets so large that nobody sees all of them, or with tars that
   * come and go. Default: every tar once an epoch.
   */
  resample?: { samplesPerEpoch: number } | undefined;
}

/** A sample by its place. */
export interface ShardSlot {
  /** Number of its tar. */
  shard: number;
  /** Number of the sample in it. */
  sample: number;
}

/** Samples that are mixed with each other. */
export interface ShardBlock {
  epoch: number;
  /** In the order in which they are read. */
  slots: readonly ShardSlot[];
  /** `[slots]`: which of them comes at each place. */
  order: Uint32Array;
  /** Steps of the epoch that it makes, `from` to `to` without it. */
  from: number;
  to: number;
}

/** Says for any step which samples it takes, and in which order these are best read. */
export class ShardOrder {
  readonly #options: Required<Omit<ShardOrderOptions, "resample">> & Pick<ShardOrderOptions, "resample">;
  /** Steps of a block. */
  readonly #blockSteps: number;
  readonly #blocks: number;
  readonly stepsPerEpoch: number;

  /** @throws DataError when there are fewer samples than one batch takes; UsageError for settings out of range */
  constructor(options: ShardOrderOptions) {
    this.#options = { rank: 0, ranks: 1, shuffle: 2048, interleave: 4, ...definedOnly(options) };
    const { counts, batchSize, ranks, rank, shuffle, interleave, resample } = this.#options;
    invariant(batchSize >= 1 && rank >= 0 && rank < ranks, `batch of ${batchSize} on rank ${rank} of ${ranks}`);
    for (const [name, value] of Object.entries({ shuffle, interleave, samplesPerEpoch: resample?.samplesPerEpoch ?? 1 })) {
      if (!Number.isInteger(value) || value < 1) throw new UsageError(`${name} must be a whole number of at least 1, got ${value}.`);
    }
    const samples = counts.reduce((sum, count) => sum + count, 0);
    const inEpoch = resample ? (samples > 0 ? resample.samplesPerEpoch : 0) : samples;
    this.stepsPerEpoch = Math.floor(inEpoch / (batchSize * ranks));
    if (this.stepsPerEpoch === 0) {
      const size = ranks === 1 ? String(batchSize) : `${batchSize} x ${ranks}`;
      throw new DataError(`${inEpoch} samples are fewer than one batch of ${size}.`, { mend: "Choose a smaller batch, or add samples." });
    }
    // A batch of its own block would have no others to take in place of what can't be read.
    this.#blockSteps = Math.max(2, Math.ceil(shuffle / batchSize));
    // What is left over goes to the last block: a short one would mix little.
    this.#blocks = Math.max(1, Math.floor(this.stepsPerEpoch / this.#blockSteps));
  }

  epochOf(step: number): number {
    return Math.floor(step / this.stepsPerEpoch);
  }

  /** Number of the block that makes a step, over all epochs. */
  blockOf(step: number): number {
    const within = step % this.stepsPerEpoch;
    return this.epochOf(step) * this.#blocks + Math.min(Math.floor(within / this.#blockSteps), this.#blocks - 1);
  }

  /** What a block holds. */
  block(number: number): ShardBlock {
    const { batchSize, seed, rank, ranks } = this.#options;
    const epoch = Math.floor(number / this.#blocks);
    const within = number % this.#blocks;
    const from = within * this.#blockSteps;
    const to = within === this.#blocks - 1 ? this.stepsPerEpoch : from + this.#blockSteps;
    const first = rank * this.stepsPerEpoch * batchSize;
    const slots = this.#slots(epoch, first + from * batchSize, first + to * batchSize);
    return { epoch, slots, order: Random.of(seed, "block", epoch, ranks, rank, within).permutation(slots.length), from, to };
  }

  /** The samples from one place of an epoch's stream to another, in the order in which they are read. */
  #slots(epoch: number, from: number, to: number): ShardSlot[] {
    const { interleave } = this.#options;
    const slots: ShardSlot[] = [];
    let before = 0;
    for (let group: number[] = [], shards = this.#shards(epoch); before < to;) {
      const next = shards.next();
      if (!next.done) group.push(next.value);
      invariant(!next.done || group.length > 0, `an epoch of ${before} samples has none at ${to}`);
      if (!next.done && group.length < interleave) continue;
      const size = group.reduce((sum, shard) => sum + this.#options.counts[shard]!, 0);
      if (before + size > from) slots.push(...this.#interleaved(group, from - before, to - before));
      before += size;
      group = [];
    }
    return slots;
  }

  /** The part of some tars' samples, one of each in turn, between two places. */
  *#interleaved(group: readonly number[], from: number, to: number): Generator<ShardSlot> {
    const { counts } = this.#options;
    // Rounds in which all of the remaining tars have a sample are passed over at once.
    const lengths = group.map((shard) => counts[shard]!).toSorted((a, b) => a - b);
    let [at, sample] = [0, 0];
    for (const [i, length] of lengths.entries()) {
      const width = lengths.length - i;
      const rounds = Math.min(length - sample, Math.max(0, Math.floor((from - at) / width)));
      at += rounds * width;
      sample += rounds;
      if (sample < length) break;
    }
    for (; at < to; sample++) {
      let any = false;
      for (const shard of group) {
        if (counts[shard]! <= sample) continue;
        any = true;
        if (at >= from && at < to) yield { shard, sample };
        at++;
      }
      if (!any) return;
    }
  }

  /** The tars of an epoch in their order. */
  *#shards(epoch: number): Generator<number> {
    const { counts, seed, resample } = this.#options;
    if (!resample) {
      yield* Random.of(seed, "shards", epoch).permutation(counts.length);
      return;
    }
    const random = Random.of(seed, "resampled shards", epoch);
    for (;;) yield random.integer(counts.length);
  }
}

function definedOnly<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as T;
}
