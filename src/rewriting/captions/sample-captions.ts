/**
 * Captions from the user's own data that make good examples: a few, drawn at random in one pass over a file of any length.
 *
 * Each different caption has a number that follows from the seed and its words; those with the smallest numbers are taken. So the
 * draw is the same for any order of the rows, and a caption that is there a thousand times has one chance like any other.
 */
import { FingerprintBuilder, hash64 } from "../../data/index.ts";
import type { CaptionsFingerprint } from "../../data/index.ts";
import { DataError } from "../../support/index.ts";
import { datasetName } from "./captions-input.ts";
import type { CaptionsInput } from "./captions-input.ts";
import { isEmpty } from "./captions-survey.ts";
import { normalise } from "../checks/checks.ts";
import { safeCaption } from "../prompts/prompt.ts";

/** Captions of fewer words have little that could be said in other words. */
const fewestWords = 4;
/** Longer ones can't be said in under thirty words without losing much. */
const mostWords = 30;
/** Share of letters, below which a caption is a file name, a price list or a row of hashtags. */
const leastLetters = 0.7;

/** Captions drawn from a file, and which file that was. */
export interface CaptionSample {
  /** In the order in which they were drawn; the first n of them are a sample, too. */
  readonly captions: readonly string[];
  readonly dataset: { readonly name: string } & CaptionsFingerprint;
}

/**
 * Draws different captions that would make good examples, as they go into a prompt.
 * @param count at most so many; fewer where the file has fewer
 * @param signal gives up, with its own reason
 * @throws DataError when the file has no caption
 */
export async function sampleCaptions(
  input: CaptionsInput,
  { count, seed, signal }: { count: number; seed: number; signal?: AbortSignal },
): Promise<CaptionSample> {
  const fingerprint = new FingerprintBuilder();
  let smallest = new Map<number, string>();
  let limit = Infinity;
  for await (const batch of input.rows()) {
    signal?.throwIfAborted();
    for (const { id, caption } of batch) {
      if (isEmpty(caption)) continue;
      fingerprint.add(id, caption);
      // Soon hardly any number is small enough: what costs more is done for those alone.
      const number = numberOf(seed, caption);
      if (number > limit) continue;
      const { text, shortened } = safeCaption(caption);
      if (shortened || !isUseful(text)) continue;
      const known = smallest.get(number);
      // Captions that differ only in case or stops: the same one must win in any order of the rows.
      if (known === undefined || text < known) smallest.set(number, text);
      if (smallest.size < 2 * count + 64) continue;
      smallest = new Map(inOrder(smallest).slice(0, count));
      limit = [...smallest.keys()].at(-1)!;
    }
  }
  const { count: all, hash } = fingerprint.finish();
  if (all === 0) throw new DataError(`${input.path}: there is no caption in this file.`);
  return {
    captions: inOrder(smallest)
      .slice(0, count)
      .map(([, text]) => text),
    dataset: { name: datasetName(input.path), count: all, hash },
  };
}

function inOrder(captions: ReadonlyMap<number, string>): [number, string][] {
  return [...captions].sort(([a], [b]) => a - b);
}

function numberOf(seed: number, caption: string): number {
  const [low, high] = hash64(`${seed}\n${normalise(caption)}`);
  return high * 2 ** 21 + (low >>> 11);
}

function isUseful(text: string): boolean {
  const words = text.split(" ").length;
  if (words < fewestWords || words > mostWords || /https?:|www\.|\ufffd/i.test(text)) return false;
  const letters = text.match(/[\p{L}\p{M}]/gu)?.length ?? 0;
  return letters >= leastLetters * text.replaceAll(" ", "").length;
}
