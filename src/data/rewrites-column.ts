/**
 * The rewrites of many samples: each in a record that knows the one before it of the same sample. So they may come in any order, and
 * memory holds one number a sample, whatever was written about it.
 */
import { invariant } from "../support/index.ts";
import { BitSet } from "./bit-set.ts";
import { ByteLog, ByteLogBuilder, type ByteLogMemory, type ByteLogOptions } from "./byte-log.ts";
import type { Caption } from "./sample.ts";
import { Scratch } from "./scratch.ts";
import { SharedNumbers, type SharedNumbersMemory } from "./shared-numbers.ts";

/** A column as plain memory: posting it to another thread of the process shares it. */
export interface RewritesColumnMemory {
  sources: readonly string[];
  texts: ByteLogMemory;
  /** Where each sample's last rewrite is, plus 1; 0 where it has none. */
  last: SharedNumbersMemory;
  /** See `RewritesBuilderOptions`. */
  asAdded: boolean;
  /** Whether some samples' own captions have a weight. */
  weighed: boolean;
}

/** Bytes before a rewrite's text: where the one before it is, plus 1 (float64); weight (float32); source (uint8). */
const header = 13;
/** In the place of a source: the record holds the weight of the sample's own caption, and no text. */
const ownCaption = 255;
/** Most sources. */
export const mostRewriteSources = 255;

/** Rewrites by the number of their sample. */
export class RewritesColumn {
  readonly memory: RewritesColumnMemory;
  readonly #texts: ByteLog;
  readonly #last: SharedNumbers;

  constructor(memory: RewritesColumnMemory) {
    this.memory = memory;
    this.#texts = new ByteLog(memory.texts);
    this.#last = new SharedNumbers(memory.last);
  }

  has(sample: number): boolean {
    if (!this.memory.weighed) return this.#last.at(sample) > 0;
    for (const record of this.#records(sample)) if (record[12] !== ownCaption) return true;
    return false;
  }

  /** How much the sample's own caption counts, above 0 and up to 1; undefined for 1. */
  captionWeight(sample: number): number | undefined {
    if (!this.memory.weighed) return undefined;
    for (const record of this.#records(sample)) if (record[12] === ownCaption) return record.readFloatLE(8);
    return undefined;
  }

  /**
   * In the order of the sources; several of one source are sorted, so that the order in which they were written down does not matter.
   * Or as they were added.
   */
  at(sample: number): Caption[] {
    const found: { source: number; text: string; bytes: Buffer; weight: number }[] = [];
    for (const record of this.#records(sample)) {
      if (record[12] === ownCaption) continue;
      const bytes = Buffer.from(record.subarray(header));
      found.push({ source: record[12]!, weight: record.readFloatLE(8), bytes, text: bytes.toString("utf8") });
    }
    const { sources, asAdded } = this.memory;
    const inOrder = asAdded ? found.toReversed() : found.toSorted((a, b) => a.source - b.source || a.bytes.compare(b.bytes));
    return inOrder.map(({ source, text, weight }) => ({ source: sources[source]!, text, ...(weight === 1 ? {} : { weight }) }));
  }

  /** Gives back what lies on disk, once no thread reads it any more. */
  close(): void {
    this.#texts.close();
  }

  /** The records of a sample, the last one first. */
  *#records(sample: number): Generator<Buffer> {
    for (let next = this.#last.at(sample); next > 0;) {
      const record = this.#texts.at(next - 1);
      next = record.readDoubleLE(0);
      yield record;
    }
  }
}

export interface RewritesBuilderOptions extends ByteLogOptions {
  /** Keep a sample's rewrites in the order in which they are added, for data that say themselves which comes first. Default false. */
  asAdded?: boolean | undefined;
}

/** Collects rewrites, in any order. */
export class RewritesBuilder {
  readonly #asAdded: boolean;
  readonly #sources: readonly string[];
  readonly #log: ByteLogBuilder;
  readonly #last = new SharedNumbers();
  readonly #scratch = new Scratch();
  /** Samples whose own caption has a weight. */
  readonly #weighed = new BitSet();
  #anyWeighed = false;

  /** @param sources names that rewrites refer to by their number; at most `mostRewriteSources`, and more may be added while it is filled */
  constructor(sources: readonly string[], { asAdded = false, ...options }: RewritesBuilderOptions = {}) {
    this.#asAdded = asAdded;
    this.#sources = sources;
    this.#log = new ByteLogBuilder(options);
  }

  /**
   * @param sample number of its sample
   * @param source number of its source
   * @param weight chance relative to the original's, above 0 and up to 1. Default 1
   * @throws LaclipError when the disk is full
   */
  add(sample: number, source: number, text: string, weight = 1): void {
    invariant(source < mostRewriteSources && source < this.#sources.length, `rewrite source ${source} of ${this.#sources.length}`);
    this.#append(sample, source, text, weight);
  }

  /**
   * Says how much a sample's own caption counts.
   * @param weight above 0 and up to 1
   * @returns false when that was said before; then nothing changes
   */
  weighCaption(sample: number, weight: number): boolean {
    if (!this.#weighed.add(sample)) return false;
    if (weight === 1) return true;
    this.#anyWeighed = true;
    this.#append(sample, ownCaption, "", weight);
    return true;
  }

  finish(): RewritesColumn {
    return new RewritesColumn({
      sources: [...this.#sources],
      texts: this.#log.finish().memory,
      last: this.#last.memory,
      asAdded: this.#asAdded,
      weighed: this.#anyWeighed,
    });
  }

  #append(sample: number, source: number, text: string, weight: number): void {
    const bytes = this.#scratch.take(header + text.length * 3);
    bytes.writeDoubleLE(this.#last.at(sample), 0);
    bytes.writeFloatLE(weight, 8);
    bytes[12] = source;
    const end = header + bytes.write(text, header, "utf8");
    this.#last.set(sample, this.#log.append(bytes.subarray(0, end)) + 1);
  }
}
