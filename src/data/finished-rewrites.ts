/**
 * Which captions have been rewritten by which source: what a start that goes on from an earlier one must know.
 *
 * Each caption has a number, and each source a bit for each number. Twelve million captions with four sources cost 6 MB, beside
 * the table of ids that gives them their numbers.
 */
import { existsSync } from "node:fs";
import { readTextMasks } from "../formats/index.ts";
import { BitSet } from "./bit-set.ts";
import type { HashedKeys } from "./hashed-keys.ts";
import { readLog } from "./rewrites-log.ts";
import { damagedPart, logPath, partPath, segments } from "./rewrites-folder.ts";

/** Parts that are looked at together: a caption's rewrites by several sources lie near each other, and then its id is read once. */
const partsAtOnce = 8;
/** Sources that a mask of `readTextMasks` has room for. */
const sourcesAtOnce = 52;

/** Says of a caption and a source whether a rewrites folder has that rewrite. */
export class FinishedRewrites {
  readonly #bySource: ReadonlyMap<string, BitSet>;
  readonly #numbers: HashedKeys;

  /**
   * @param sources those that matter; rewrites of others are not looked at
   * @param numbers the number of each id; ids that it lacks are added
   */
  constructor(sources: readonly string[], numbers: HashedKeys) {
    this.#bySource = new Map(sources.map((source) => [source, new BitSet()]));
    this.#numbers = numbers;
  }

  /** Number of rewrites. */
  get count(): number {
    let count = 0;
    for (const bits of this.#bySource.values()) count += bits.count();
    return count;
  }

  /** The numbers of the captions that this source has rewritten; undefined for a source that does not matter. */
  of(source: string): BitSet | undefined {
    return this.#bySource.get(source);
  }

  has(source: string, id: string): boolean {
    const number = this.#numbers.get(id);
    return number !== undefined && this.of(source)!.has(number);
  }

  /** False when it was there already. */
  add(source: string, id: string): boolean {
    return this.of(source)!.add(this.#numbers.intern(id));
  }

  /**
   * Adds what is in a rewrites folder, without reading any text.
   * @throws DataError when a part or log is damaged
   */
  async read(path: string): Promise<void> {
    const parts: string[] = [];
    for (const segment of segments(path)) {
      if (existsSync(partPath(path, segment))) parts.push(partPath(path, segment));
      else
        for await (const batch of readLog(logPath(path, segment)))
          for (const { source, id } of batch) if (this.of(source)) this.add(source, id);
    }
    const sources = [...this.#bySource.keys()];
    for (let from = 0; from < parts.length; from += partsAtOnce) {
      for (let first = 0; first < sources.length; first += sourcesAtOnce)
        await this.#readParts(parts.slice(from, from + partsAtOnce), sources.slice(first, first + sourcesAtOnce));
    }
  }

  async #readParts(parts: readonly string[], sources: readonly string[]): Promise<void> {
    const sets = sources.map((source) => this.of(source)!);
    try {
      for await (const { keys, masks } of readTextMasks(parts, { key: "id", column: "source", values: sources })) {
        for (let i = 0; i < keys.length; i++) {
          const number = this.#numbers.intern(keys[i]!);
          for (let source = 0, mask = masks[i]!; mask > 0; source++, mask = Math.floor(mask / 2))
            if (mask % 2 === 1) sets[source]!.add(number);
        }
      }
    } catch (error) {
      if (parts.length === 1) throw damagedPart(parts[0]!, error);
      // Read together, it is not said which of them it was.
      for (const part of parts) await this.#readParts([part], sources);
      throw error;
    }
  }
}
