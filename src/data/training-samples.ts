/**
 * What is trained on, in a form that can be handed to the thread that makes batches.
 */
import { BatchOrder } from "./order.ts";
import type { Pairs } from "./pairs.ts";
import { type SampleFeed, TableFeed } from "./sample-feed.ts";
import { SampleTable, type SampleTableMemory } from "./sample-table.ts";
import { ShardFeed, type ShardFeedOptions } from "./shards/shard-feed.ts";
import type { BatchSettings } from "./training-batches.ts";

/** Tars that are read from front to back, and how: see `ShardFeedOptions`. */
export type ShardedSamples = Omit<ShardFeedOptions, "batchSize" | "seed" | "rank" | "ranks">;

/** A table, or tars. */
export type TrainingSamples = { kind: "table"; table: SampleTableMemory } | ({ kind: "shards" } & ShardedSamples);

/** What a loader takes: opened pairs, a table of samples, or tars. */
export type LoaderSamples = Pairs | SampleTable | ShardedSamples;

/** The same for the thread, and how many samples there are. */
export function trainingSamples(source: LoaderSamples): { samples: TrainingSamples; count: number } {
  if ("shards" in source)
    return { samples: { kind: "shards", ...source }, count: source.shards.reduce((sum, { samples }) => sum + samples, 0) };
  const table = source instanceof SampleTable ? source : source.samples;
  return { samples: { kind: "table", table: table.memory }, count: table.length };
}

/** @throws DataError when there are fewer samples than one batch takes; UsageError for settings out of range */
export function openFeed(samples: TrainingSamples, settings: BatchSettings): SampleFeed {
  const { batchSize, seed, rank = 0, ranks = 1 } = settings;
  if (samples.kind === "shards") return new ShardFeed({ ...samples, batchSize, seed, rank, ranks });
  const table = new SampleTable(samples.table);
  return new TableFeed(table, new BatchOrder({ count: table.length, batchSize, seed, rank, ranks }));
}
