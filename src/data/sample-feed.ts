/**
 * The samples of each step, from a table that lies in memory or on disk, or from tars that are read from front to back (shards/).
 */
import type { ImageSource } from "./image-source.ts";
import type { BatchOrder } from "./order.ts";
import type { Caption } from "./sample.ts";
import type { SampleTable } from "./sample-table.ts";

/** A sample whose turn has come. */
export interface FedSample {
  /** Its number in the data set, by which samples that can't be used are counted. */
  number: number;
  id: string;
  /** The original first. Empty where there is a problem. */
  captions: readonly Caption[];
  image: ImageSource;
  /** Why it can't be used. */
  problem?: string;
  /** True where the problem is an id that another sample has too. */
  repeated?: boolean;
}

/** The samples of a step on one rank. */
export interface FedBatch {
  readonly samples: readonly FedSample[];
  /**
   * What to take instead of the sample in a slot that can't be used, best first, decided by the order. None is in the batch itself, unless
   * samples are drawn with replacement.
   */
  readonly replacements: (slot: number) => Iterable<FedSample>;
}

/** Gives the samples of any step; asked for steps in their order, it reads least. */
export interface SampleFeed {
  readonly stepsPerEpoch: number;
  epochOf(step: number): number;
  batch(step: number): Promise<FedBatch>;
  close(): Promise<void>;
}

/** The samples of a table in a random order. */
export class TableFeed implements SampleFeed {
  readonly #table: SampleTable;
  readonly #order: BatchOrder;

  constructor(table: SampleTable, order: BatchOrder) {
    this.#table = table;
    this.#order = order;
  }

  get stepsPerEpoch(): number {
    return this.#order.stepsPerEpoch;
  }

  epochOf(step: number): number {
    return this.#order.position(step).epoch;
  }

  batch(step: number): Promise<FedBatch> {
    return Promise.resolve({
      samples: Array.from(this.#order.rows(step), (row) => this.#sample(row)),
      replacements: (slot) => this.#replacements(step, slot),
    });
  }

  *#replacements(step: number, slot: number): Generator<FedSample> {
    for (const row of this.#order.replacements(step, slot)) yield this.#sample(row);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #sample(row: number): FedSample {
    return { number: row, ...this.#table.at(row) };
  }
}
