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
import { type Caption, originalSource } from "../sample.ts";
import type { FedSample, SampleFeed } from "../sample-feed.ts";
import { withOriginal } from "../tar-pairs.ts";
import type { CountedShard } from "./count-samples.ts";
import { ShardOrder, type ShardOrderOptions, type ShardSlot } from "./shard-order.ts";
import { ShardCursor, type TarredSample } from "./shard-reader.ts";

/** Tars, and what decides which samples come when. */
export interface ShardFeedOptions extends Omit<ShardOrderOptions, "counts"> {
  shards: readonly CountedShard[];
  texts?: MemberTextOptions;
  /** Sources of rewrites to take, in this order. Default: all that there are. */
  sources?: readonly string[] | undefined;
  /** Rewrites by id, beside those in the tars. */
  rewrites?: RewritesLookupMemory | undefined;
  patience?: Patience;
}

/** Samples of a block, in the order in which they were read. */
type LoadedBlock = readonly FedSample[];

/** Samples of many tars. */
export class ShardFeed implements SampleFeed {
  readonly #options: ShardFeedOptions;
  readonly #order: ShardOrder;
  readonly #rewrites: RewritesLookup | undefined;
  /** Number of each tar's first sample, over all tars. */
  readonly #firsts: number[] = [];
  readonly #cursors = new Map<number, ShardCursor>();
  readonly #blocks = new Map<number, Promise<LoadedBlock>>();
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

  async batch(step: number): Promise<FedSample[]> {
    const { places, block } = await this.#at(step);
    return Array.from(places, (at) => block[at]!);
  }

  async *replacements(step: number, slot: number): AsyncGenerator<FedSample> {
    const { places, block, order, start } = await this.#at(step);
    const batch = new Set(places);
    for (let k = 0; k < order.length; k++) {
      const at = order[(start + slot + places.length + k) % order.length]!;
      if (!batch.has(at)) yield block[at]!;
    }
  }

  async close(): Promise<void> {
    this.#leaving.abort();
    await this.#reading.catch(() => undefined);
    for (const cursor of this.#cursors.values()) await cursor.close();
    this.#cursors.clear();
    this.#blocks.clear();
  }

  /** The block of a step, and the places in it that the step takes. */
  async #at(step: number): Promise<{ places: Uint32Array; block: LoadedBlock; order: Uint32Array; start: number }> {
    const { batchSize } = this.#options;
    const number = this.#order.blockOf(step);
    const { order, from } = this.#order.block(number);
    const start = ((step % this.stepsPerEpoch) - from) * batchSize;
    const block = this.#block(number);
    // The next one is read while this one is used; of those before, at most one is still being decoded.
    this.#block(number + 1).catch(() => undefined);
    for (const old of this.#blocks.keys()) if (old < number - 1 || old > number + 1) this.#blocks.delete(old);
    return { places: order.subarray(start, start + batchSize), block: await block, order, start };
  }

  #block(number: number): Promise<LoadedBlock> {
    let block = this.#blocks.get(number);
    if (!block) {
      block = this.#reading.then(async () => await this.#load(number));
      this.#reading = block.catch(() => undefined);
      this.#blocks.set(number, block);
    }
    return block;
  }

  async #load(number: number): Promise<LoadedBlock> {
    const { slots } = this.#order.block(number);
    const broken = new Map<number, string>();
    const samples: FedSample[] = [];
    for (const slot of slots) {
      if (this.#leaving.signal.aborted) throw new Error("cancelled");
      samples.push(await this.#take(slot, broken));
    }
    const used = new Set(slots.map(({ shard }) => shard));
    for (const [shard, cursor] of this.#cursors) {
      if (used.has(shard) && cursor.next < this.#options.shards[shard]!.samples) continue;
      await cursor.close();
      this.#cursors.delete(shard);
    }
    return samples;
  }

  async #take({ shard, sample }: ShardSlot, broken: Map<number, string>): Promise<FedSample> {
    const number = this.#firsts[shard]! + sample;
    const unusable = (problem: string): FedSample => ({ number, id: "", captions: [], image: "", problem });
    const known = broken.get(shard);
    if (known !== undefined) return unusable(known);
    let cursor = this.#cursors.get(shard);
    if (!cursor) {
      cursor = new ShardCursor(this.#options.shards[shard]!, { ...this.#options.patience, signal: this.#leaving.signal });
      this.#cursors.set(shard, cursor);
    }
    try {
      return this.#describe(number, await cursor.take(sample));
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      broken.set(shard, error.message);
      return unusable(error.message);
    }
  }

  #describe(number: number, { image, texts, where }: TarredSample): FedSample {
    const { texts: options = {}, sources } = this.#options;
    const unusable = (problem: string): FedSample => ({ number, id: "", captions: [], image: "", problem });
    try {
      const id = texts.id(options.idColumn);
      if (id === "") return unusable(`${where}: no id ("${options.idColumn}" of the .json)`);
      const captions = withOriginal(texts.captions(options));
      if (captions.length === 0) return unusable(`${where}: no caption`);
      const rewrites = [...captions.slice(1), ...(this.#rewrites?.of(id) ?? [])];
      return { number, id, image, captions: [captions[0]!, ...chosen(rewrites, sources)] };
    } catch (error) {
      if (!LaclipError.is(error)) throw error;
      return unusable(error.message);
    }
  }
}

/** The rewrites of the sources that are wanted, in their order. */
export function chosen(rewrites: readonly Caption[], sources: readonly string[] | undefined): readonly Caption[] {
  if (!sources) return rewrites;
  return sources.filter((source) => source !== originalSource).flatMap((wanted) => rewrites.filter(({ source }) => source === wanted));
}
