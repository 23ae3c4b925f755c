/**
 * The captions of a data set in numbers: how long they are for CLIP, and how many say the same.
 *
 * Equal captions are counted over all of them, to the letter (by a hash of 64 bits); lengths on a sample of those of large sets.
 */
import { HashedKeys } from "../data/index.ts";
import type { SampleTable } from "../data/index.ts";
import { clipTokens } from "../rewriting/index.ts";
import type { LengthStatistics } from "../rewriting/index.ts";
import { Random } from "../support/index.ts";
import { contextLength } from "../text/index.ts";
import { drawRows } from "./inspected-data.ts";

/** Captions in numbers. */
export interface CaptionSurvey {
  /** In CLIP tokens, of as many captions as were looked at. */
  length: LengthStatistics & { median: number; longest: number };
  /** Different captions. */
  distinct: number;
  /** Samples whose caption an earlier sample has too. */
  repeated: number;
  /** The captions that come most often, of those that come more than once. */
  mostFrequent: { text: string; count: number }[];
}

/** Captions whose tokens are counted. */
const captionsLookedAt = 200_000;
/** Longer ones share the last place of the histogram. */
const longestShown = 160;

/** Looks at captions; the sample of large sets is drawn by the seed. */
export function surveyCaptions(samples: SampleTable, seed: number): CaptionSurvey {
  const different = new HashedKeys();
  // Of each different caption, in the order in which they come: how often, and in which row first.
  const counts = new Uint32Array(samples.length);
  const firstRows = new Uint32Array(samples.length);
  for (let row = 0; row < samples.length; row++) {
    const number = different.intern(samples.caption(row));
    if (counts[number] === 0) firstRows[number] = row;
    counts[number]! += 1;
  }
  const mostFrequent: { row: number; count: number }[] = [];
  for (let number = 0; number < different.size; number++) {
    const count = counts[number]!;
    if (count < 2 || (mostFrequent.length === 10 && count <= mostFrequent.at(-1)!.count)) continue;
    mostFrequent.push({ row: firstRows[number]!, count });
    mostFrequent.sort((a, b) => b.count - a.count || a.row - b.row);
    mostFrequent.length = Math.min(mostFrequent.length, 10);
  }
  return {
    length: lengthsOf(samples, drawRows(samples.length, captionsLookedAt, Random.of(seed, "caption lengths"))),
    distinct: different.size,
    repeated: samples.length - different.size,
    mostFrequent: mostFrequent.map(({ row, count }) => ({ text: samples.caption(row), count })),
  };
}

function lengthsOf(samples: SampleTable, rows: readonly number[]): CaptionSurvey["length"] {
  const histogram = Array.from({ length: longestShown + 1 }, () => 0);
  const lengths = Uint32Array.from(rows, (row) => clipTokens(samples.caption(row))).sort();
  for (const length of lengths) histogram[Math.min(length, longestShown)]! += 1;
  const texts = lengths.length;
  return {
    texts,
    mean: lengths.reduce((sum, length) => sum + length, 0) / Math.max(1, texts),
    median: lengths[texts >> 1] ?? 0,
    longest: lengths.at(-1) ?? 0,
    truncated: lengths.filter((length) => length > contextLength).length / Math.max(1, texts),
    histogram,
  };
}
