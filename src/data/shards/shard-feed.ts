/**
 * The samples of each step from tars that are read from front to back: a block of them ahead, mixed as the order says.
 *
 * A tar that is gone, damaged or shorter than it was costs its samples: each is replaced, counted and reported, like an image that can't
 * be read. What a server does is no such thing: it ends the run, which goes on from its checkpoint.
 */
import { DataError, LaclipError } from "../../support/index.ts";
import type { MemberTextOptions } from "../member-texts.ts";
import type { Patience } from "../remote/patience.ts";
import { RewritesLookup, type RewritesLookupMemory } from "../rewrites-lookup.ts";
import type { FedBatch, FedSample, SampleFeed } from "../sample-feed.ts";
import { ofSources } from "../tar-pairs.ts";
import type { CountedShard } from "./count-samples.ts";
import { type ShardBlock, ShardOrder, type ShardOrderOptions, type ShardSlot } from "./shard-order.ts";
import { ShardCursor, type TarredSample } from "./shard-reader.ts";

/** Tars, and what decides which samples come when. */
export interface ShardFeedOptions extends Omit<ShardOrderOptions, "counts"> {
  shards: readonly CountedShard[];
  texts?: MemberTextOptions;
  /** Sources of rewrites to take, in this order. Default: all that there are. */
  sources?: readonly string[] | undefined;
  /** Rewrites by id, in place of those in the tars. */
  rewrites?: RewritesLookupMemory | undefined;
  patience?: Patience;
}

/** A block, and its samples in the order in which they were read. */
interface OpenBlock {
  plan: ShardBlock;
  samples: Promise<readonly FedSample[]>;
}

/** What has been seen while a block was read. */
interface Seen {
  /** Why nothing more is read of a tar, by its number. */
  broken: Map<number, string>;
  /**
   * Numbers of the samples by their ids. Two samples with one id would have each other's rewrites. Nobody has a list of all ids, but tars
   * that each count their samples from 0 are side by side in a block.
   */
  numbers: Map<string, number>;
}

/** Samples of many tars. */
export class ShardFeed implements SampleFeed {
  readonly #options: ShardFeedOptions;
  readonly #order: ShardOrder;
  readonly #rewrites: RewritesLookup | undefined;
  /** Number of each tar's first sample, over all tars. */
  readonly #firsts: number[] = [];
  readonly #cursors = new Map<number, ShardCursor>();
  readonly #blocks = new Map<number, OpenBlock>();
  /** Tars are read by one block at a time. */
  #reading: Promise<unknown> = Promise.resolve();
  readonly #leaving = new AbortController();

  /** @throws DataError when there are fewer samples than one batch takes */
  constructor(options: ShardFeedOptions) {
    this.#options = options;
    const counts = options.shards.map(({ samples }) => samples);
    this.#order = new ShardOrder({ ...options, counts });
    this.#rewrites = options.rewrites && new RewritesLookup(options.rewrites);
    let first = 0;
    for (const count of counts) {
      this.#firsts.push(first);
      first += count;
    }
  }

  get stepsPerEpoch(): number {
    return this.#order.stepsPerEpoch;
  }

  epochOf(step: number): number {
    return this.#order.epochOf(step);
  }

  /** The batch holds its block, however far the reading has got ahead of it by the time that it is done. */
  async batch(step: number): Promise<FedBatch> {
    const { plan, samples } = this.#at(step);
    const { batchSize } = this.#options;
    const from = ((step % this.stepsPerEpoch) - plan.from) * batchSize;
    const to = from + batchSize;
    const read = await samples;
    return {
      samples: Array.from(plan.order.subarray(from, to), (at) => read[at]!),
      *replacements(slot) {
        const { length } = plan.order;
        for (let k = 0; k < length; k++) {
          const place = (to + slot + k) % length;
          if (place < from || place >= to) yield read[plan.order[place]!]!;
        }
      },
    };
  }

  async close(): Promise<void> {
    this.#leaving.abort();
    await this.#reading.catch(() => undefined);
    for (const cursor of this.#cursors.values()) await cursor.close();
    this.#cursors.clear();
    this.#blocks.clear();
  }

  #at(step: number): OpenBlock {
    const number = this.#order.blockOf(step);
    const block = this.#block(number);
    // The next one is read while this one is used.
    this.#block(number + 1);
    for (const old of this.#blocks.keys()) if (old < number || old > number + 1) this.#blocks.delete(old);
    return block;
  }

  #block(number: number): OpenBlock {
    let block = this.#blocks.get(number);
    if (!block) {
      const plan = this.#order.block(number);
      const samples = this.#reading.then(async () => await this.#load(plan));
      // Seen to when its turn comes; until then a failure must not count as unhandled.
      this.#reading = samples.catch(() => undefined);
      this.#blocks.set(number, (block = { plan, samples }));
    }
    return block;
  }

  async #load({ slots }: ShardBlock): Promise<FedSample[]> {
    const seen: Seen = { broken: new Map(), numbers: new Map() };
    const samples: FedSample[] = [];
    for (const slot of slots) {
      if (this.#leaving.signal.aborted) throw new Error("cancelled");
      samples.push(await this.#take(slot, seen));
    }
    const used = new Set(slots.map(({ shard }) => shard));
    for (const [shard, cursor] of this.#cursors) {
      // What a block holds must not depend on the ones before it: a run that goes on here has not read them, so what is damaged is tried anew.
      if (used.has(shard) && !seen.broken.has(shard) && cursor.next < this.#options.shards[shard]!.samples) continue;
      await cursor.close();
      this.#cursors.delete(shard);
    }
    return samples;
  }

  async #take({ shard, sample }: ShardSlot, seen: Seen): Promise<FedSample> {
    const number = this.#firsts[shard]! + sample;
    const known = seen.broken.get(shard);
    if (known !== undefined) return unusable(number, known);
    let cursor = this.#cursors.get(shard);
    if (!cursor) {
      cursor = new ShardCursor(this.#options.shards[shard]!, { ...this.#options.patience, signal: this.#leaving.signal });
      this.#cursors.set(shard, cursor);
    }
    try {
      return this.#describe(number, await cursor.take(sample), seen.numbers);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      seen.broken.set(shard, error.message);
      return unusable(number, error.message);
    }
  }

  #describe(number: number, { image, texts, where, problem }: TarredSample, numbers: Seen["numbers"]): FedSample {
    const { texts: options = {}, sources } = this.#options;
    if (problem !== undefined) return unusable(number, `${where}: ${problem}`);
    try {
      const id = texts.id(options.idColumn);
      if (id === "") return unusable(number, `${where}: no id ("${options.idColumn}" of the .json)`);
      // Drawn with replacement, a sample may come again itself.
      if ((numbers.get(id) ?? number) !== number)
        return { ...unusable(number, `${where}: another sample has the id ${JSON.stringify(id)} too`), repeated: true };
      numbers.set(id, number);
      const captions = texts.captions(options);
      if (captions.length === 0) return unusable(number, `${where}: no caption`);
      const rewrites = this.#rewrites?.of(id) ?? captions.slice(1);
      const weight = this.#rewrites?.captionWeight(id);
      const original = weight === undefined ? captions[0]! : { ...captions[0]!, weight };
      return { number, id, image, captions: [original, ...ofSources(rewrites, sources)] };
    } catch (error) {
      if (!LaclipError.is(error)) throw error;
      return unusable(number, error.message);
    }
  }
}

function unusable(number: number, problem: string): FedSample {
  return { number, id: "", captions: [], image: "", problem };
}
