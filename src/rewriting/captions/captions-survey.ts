/**
 * One look at all captions before any is rewritten: which data set this is, and whether its ids can be relied on.
 *
 * The look also numbers the captions, in file order; by these numbers a run knows what is done, and which rows are repetitions.
 * Twelve million captions cost some 250 MB for their ids, whatever the length of ids and captions.
 */
import { FingerprintBuilder, HashedKeys } from "../../data/index.ts";
import type { CaptionsFingerprint } from "../../data/index.ts";
import { DataError, InterruptedError, log } from "../../support/index.ts";
import type { CaptionRow } from "./captions-input.ts";

/** What reading all captions once has shown. */
export interface CaptionsSurvey {
  readonly fingerprint: CaptionsFingerprint;
  /** Rows without a caption: they are neither rewritten nor part of the fingerprint. */
  readonly empty: number;
  /** Rows that repeat the id and the caption of an earlier one. */
  readonly repeated: number;
  /** Fingerprint of the second captions that are not empty, where such were asked for. */
  readonly second?: CaptionsFingerprint;
  /** The number of each id: 0 for the first row with a caption, one more for each that is neither empty nor a repetition. */
  readonly numbers: HashedKeys;
  /** The row, from 0, of the captions with the numbers 0, 65,536, 2 x 65,536 and so on: who wants a late one need not read all before it. */
  readonly marks: readonly number[];
}

/** Captions from one mark to the next. */
export const captionsPerMark = 65_536;

/** Milliseconds between two lines that say how far the look has come. */
const saidEvery = 10_000;

/**
 * Reads all captions once.
 * @param path the file, for messages
 * @param signal gives up
 * @throws DataError when an id is empty or stands for two different captions, or there is no caption; InterruptedError when stopped
 */
export async function surveyCaptions(
  path: string,
  batches: AsyncIterable<readonly CaptionRow[]>,
  signal?: AbortSignal,
): Promise<CaptionsSurvey> {
  const fingerprint = new FingerprintBuilder();
  const seconds = new FingerprintBuilder();
  let withSecond = false;
  const numbers = new HashedKeys();
  const words = new WordList();
  const marks: number[] = [];
  let [row, empty, repeated] = [0, 0, 0];
  let said = performance.now();
  for await (const batch of batches) {
    if (signal?.aborted) throw new InterruptedError("Stopped before the first rewrite.", { mend: "Start the same command again." });
    if (performance.now() - said > saidEvery) {
      said = performance.now();
      log.info(`${path}: ${row} captions looked at, before the first is rewritten`);
    }
    for (const { id, caption, second, where } of batch) {
      row++;
      if (isEmpty(caption)) {
        empty++;
        continue;
      }
      if (id === "")
        throw new DataError(`${path}: ${where ?? `row ${row}`} has no id.`, {
          mend: "Fill in its id, or name another column with --id-column; `--id-column hash:NAME` takes a hash of a column, such as the caption's.",
        });
      const word = fingerprint.add(id, caption);
      const known = numbers.size;
      const number = numbers.intern(id);
      if (number === known) {
        words.add(word);
        if (number % captionsPerMark === 0) marks.push(row - 1);
      } else if (words.at(number) === word) repeated++;
      else {
        throw new DataError(`${path}: ${where ?? `row ${row}`}: the id ${JSON.stringify(id)} occurs twice with different captions.`, {
          mend: "Ids join rewrites to captions. Name a column with --id-column whose values are unique, or columns with `hash:NAME,NAME`.",
        });
      }
      if (second === undefined) continue;
      withSecond = true;
      if (!isEmpty(second)) seconds.add(id, second);
    }
  }
  if (row === 0) throw new DataError(`${path}: there is no caption in this file.`);
  if (empty === row)
    throw new DataError(`${path}: none of its ${row} rows has a caption.`, {
      mend: "Name the column with the captions: --caption-column.",
    });
  return {
    fingerprint: fingerprint.finish(),
    empty,
    repeated,
    ...(withSecond ? { second: seconds.finish() } : {}),
    numbers,
    marks,
  };
}

/** A caption of nothing but spaces can't be rewritten. */
export function isEmpty(caption: string): boolean {
  return caption.trim() === "";
}

/** Millions of 32-bit numbers, in blocks, so that growing copies nothing. */
class WordList {
  readonly #blocks: Uint32Array[] = [];
  #length = 0;

  add(word: number): void {
    const block = (this.#blocks[this.#length >>> 16] ??= new Uint32Array(1 << 16));
    block[this.#length++ & 0xffff] = word;
  }

  at(index: number): number | undefined {
    return this.#blocks[index >>> 16]?.[index & 0xffff];
  }
}
