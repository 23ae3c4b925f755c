/**
 * The captions of a data set in numbers: how long they are for CLIP, and how many say the same.
 *
 * Equal captions are counted over all of them, to the letter; lengths on a sample of those of large sets.
 */
import { TextIndex } from "../data/index.ts";
import type { TextColumn } from "../data/index.ts";
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
export function surveyCaptionColumn(captions: TextColumn, seed: number): CaptionSurvey {
  const index = new TextIndex(captions);
  const counts = new Uint32Array(captions.length);
  for (let row = 0; row < captions.length; row++) counts[index.find(captions.at(row))]! += 1;
  const mostFrequent: { row: number; count: number }[] = [];
  for (let row = 0; row < counts.length; row++) {
    const count = counts[row]!;
    if (count < 2 || (mostFrequent.length === 10 && count <= mostFrequent.at(-1)!.count)) continue;
    mostFrequent.push({ row, count });
    mostFrequent.sort((a, b) => b.count - a.count || a.row - b.row);
    mostFrequent.length = Math.min(mostFrequent.length, 10);
  }
  return {
    length: lengthsOf(captions, drawRows(captions.length, captionsLookedAt, Random.of(seed, "caption lengths"))),
    distinct: captions.length - index.duplicateCount,
    repeated: index.duplicateCount,
    mostFrequent: mostFrequent.map(({ row, count }) => ({ text: captions.at(row), count })),
  };
}

function lengthsOf(captions: TextColumn, rows: readonly number[]): CaptionSurvey["length"] {
  const histogram = Array.from({ length: longestShown + 1 }, () => 0);
  const lengths = Uint32Array.from(rows, (row) => clipTokens(captions.at(row))).sort();
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
