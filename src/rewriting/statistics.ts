/**
 * What is in a rewrites folder, in numbers: per source how many, how long, what was flagged, and which say the same.
 */
import { HashedKeys, isUsable } from "../data/index.ts";
import type { Rewrite, RewriteSource, RewritesFolder } from "../data/index.ts";
import { normalise } from "./checks.ts";

/** What one source has written. */
export interface SourceStatistics {
  readonly source: string;
  readonly made: Pick<RewriteSource, "engine" | "model" | "provenance" | "seed">;
  rewrites: number;
  usable: number;
  /** Captions of the data set without a usable rewrite from this source. */
  missing: number;
  /** Mean words of the usable ones. */
  meanWords: number;
  meanTokens: number;
  /** Rewrites that say the same, in the same words, as an earlier one of the same caption. */
  duplicates: number;
  flags: Record<string, number>;
}

/** What a whole folder holds. */
export interface RewritesStatistics {
  readonly folder: string;
  readonly dataset: { readonly name: string; readonly count: number };
  readonly rewrites: number;
  readonly sources: readonly SourceStatistics[];
  /** The first rewrites of each source, to be looked at. */
  readonly examples: readonly Pick<Rewrite, "id" | "source" | "text" | "flags">[];
}

/** Reads a folder once and counts. */
export async function rewritesStatistics(
  folder: RewritesFolder,
  { examples = 3 }: { examples?: number } = {},
): Promise<RewritesStatistics> {
  const { dataset, sources } = folder.manifest;
  const table = new Map<string, SourceStatistics>();
  for (const [source, { engine, model, provenance, seed }] of Object.entries(sources)) {
    table.set(source, {
      source,
      made: { engine, model, provenance, seed },
      rewrites: 0,
      usable: 0,
      missing: 0,
      meanWords: 0,
      meanTokens: 0,
      duplicates: 0,
      flags: {},
    });
  }
  const seen = new HashedKeys();
  const shown: Rewrite[] = [];
  let rewrites = 0;
  for await (const batch of folder.read()) {
    for (const rewrite of batch) {
      rewrites++;
      const entry = table.get(rewrite.source)!;
      entry.rewrites++;
      entry.meanTokens += rewrite.tokens;
      for (const flag of rewrite.flags) entry.flags[flag] = (entry.flags[flag] ?? 0) + 1;
      if (entry.rewrites <= examples) shown.push(rewrite);
      if (!isUsable(rewrite)) continue;
      entry.usable++;
      entry.meanWords += rewrite.text.split(/\s+/).length;
      const said = `${rewrite.id}\n${normalise(rewrite.text)}`;
      if (seen.has(said)) entry.duplicates++;
      seen.set(said);
    }
  }
  for (const entry of table.values()) {
    entry.meanWords /= Math.max(1, entry.usable);
    entry.meanTokens /= Math.max(1, entry.rewrites);
    entry.missing = Math.max(0, dataset.count - entry.usable);
  }
  return {
    folder: folder.path,
    dataset: { name: dataset.name, count: dataset.count },
    rewrites,
    sources: [...table.values()],
    examples: shown.map(({ id, source, text, flags }) => ({ id, source, text, flags })),
  };
}
