/**
 * The rewrites of a folder by sample id, for data that are read from front to back and whose ids nobody has a list of.
 *
 * Memory holds some 30 bytes for each sample that was rewritten; the texts of large folders lie on disk.
 */
import { type CaptionsFingerprint, FingerprintBuilder } from "./captions-fingerprint.ts";
import { HashedKeys, type HashedKeysMemory } from "./hashed-keys.ts";
import { isUsable, openRewritesFolder } from "./rewrites-folder.ts";
import { RewritesBuilder, RewritesColumn, type RewritesColumnMemory } from "./rewrites-column.ts";
import { type Caption, originalSource } from "./sample.ts";

/** A lookup as plain memory: posting it to another thread of the process shares it. */
export interface RewritesLookupMemory {
  numbers: HashedKeysMemory;
  rewrites: RewritesColumnMemory;
}

/** Rewrites by id. */
export class RewritesLookup {
  readonly memory: RewritesLookupMemory;
  readonly #numbers: HashedKeys;
  readonly #rewrites: RewritesColumn;

  constructor(memory: RewritesLookupMemory) {
    this.memory = memory;
    this.#numbers = new HashedKeys(memory.numbers);
    this.#rewrites = new RewritesColumn(memory.rewrites);
  }

  /** Samples that have rewrites. */
  get size(): number {
    return this.#numbers.size;
  }

  /** None for ids that were not rewritten. */
  of(id: string): Caption[] {
    const number = this.#numbers.get(id);
    return number === undefined ? [] : this.#rewrites.at(number);
  }

  /** How much the own caption of a sample counts, above 0 and up to 1; undefined for 1. */
  captionWeight(id: string): number | undefined {
    const number = this.#numbers.get(id);
    return number === undefined ? undefined : this.#rewrites.captionWeight(number);
  }

  /** Gives back what lies on disk, once no thread reads it any more. */
  close(): void {
    this.#rewrites.close();
  }
}

/** What was taken from a rewrites folder. */
export interface LookedUpRewrites {
  lookup: RewritesLookup;
  sources: readonly string[];
  /** Rewrites taken, by source, and those that were rejected by the checks or are empty. */
  texts: Record<string, number>;
  unusable: number;
  /** Of all texts, as a join has it. */
  fingerprint: CaptionsFingerprint;
}

/**
 * Reads a rewrites folder.
 * @param options.sources to take, in this order. Default: all of the folder
 * @param options.workFolder see `openPairs`
 * @throws DataError when the folder is damaged or lacks a source
 */
export async function lookUpRewrites(
  path: string,
  options: { sources?: readonly string[] | undefined; workFolder?: string | undefined } = {},
): Promise<LookedUpRewrites> {
  const folder = await openRewritesFolder(path);
  const sources = [...(options.sources ?? folder.sources)];
  const numbers = new HashedKeys();
  const builder = new RewritesBuilder(sources, { folder: options.workFolder });
  const fingerprint = new FingerprintBuilder();
  const texts: Record<string, number> = Object.fromEntries(sources.map((source) => [source, 0]));
  let unusable = 0;
  for await (const batch of folder.read({ sources })) {
    for (const rewrite of batch) {
      const { id, source, text, weight = 1, captionWeight } = rewrite;
      if (captionWeight !== undefined && builder.weighCaption(numbers.intern(id), captionWeight)) {
        fingerprint.add(rewriteKey(id, originalSource, captionWeight), "");
      }
      if (!isUsable(rewrite) || text.trim() === "") {
        unusable++;
        continue;
      }
      builder.add(numbers.intern(id), sources.indexOf(source), text, weight);
      fingerprint.add(rewriteKey(id, source, weight), text);
      texts[source]! += 1;
    }
  }
  const lookup = new RewritesLookup({ numbers: numbers.memory, rewrites: builder.finish().memory });
  return { lookup, sources, texts, unusable, fingerprint: fingerprint.finish() };
}

/** What the fingerprint of a data set knows a rewrite by; weights are kept in single precision, so that is what counts. */
export function rewriteKey(id: string, source: string, weight: number): string {
  return `${source}/${id}${weight === 1 ? "" : `*${Math.fround(weight)}`}`;
}
