/** A look at the first samples of tars, before hours are spent on the rest. */
import type { ShardedSamples } from "../training-samples.ts";
import { ShardFeed } from "./shard-feed.ts";

/** Tars that are looked into: what is wrong with ids shows only where several are seen. */
const sideBySide = 4;

/** What the first samples hold. */
export interface ShardProbe {
  looked: number;
  /** Samples that can't be used, and why the first few of them. */
  unusable: number;
  examples: string[];
  /** Those of them whose id another sample has. */
  repeated: number;
  /** Samples with at least one rewrite. */
  rewritten: number;
  /** Sources of these rewrites. */
  sources: string[];
}

/**
 * Looks at samples as training would see them.
 * @param most so many samples are looked at, of the first tars side by side
 * @throws DataError, EndpointError when the tars can't be read at all
 */
export async function probeShards(samples: ShardedSamples, most: number): Promise<ShardProbe> {
  const shards: ShardedSamples["shards"][number][] = [];
  let there = 0;
  for (const shard of samples.shards) {
    if (there >= most && shards.length >= sideBySide) break;
    if (shard.samples > 0) shards.push(shard);
    there += shard.samples;
  }
  const probe: ShardProbe = { looked: 0, unusable: 0, examples: [], repeated: 0, rewritten: 0, sources: [] };
  if (there === 0) return probe;
  const batchSize = Math.min(most, there);
  const feed = new ShardFeed({ ...samples, resample: undefined, shards, batchSize, seed: 0, shuffle: batchSize, interleave: sideBySide });
  try {
    const sources = new Set<string>();
    for (const { problem, repeated, captions } of (await feed.batch(0)).samples) {
      probe.looked++;
      if (repeated) probe.repeated++;
      if (problem !== undefined) {
        probe.unusable++;
        if (probe.examples.length < 3) probe.examples.push(problem);
      }
      if (captions.length > 1) probe.rewritten++;
      for (const { source } of captions.slice(1)) sources.add(source);
    }
    return { ...probe, sources: [...sources] };
  } finally {
    await feed.close();
  }
}
