/**
 * The captions of a file that are still to be rewritten, in chunks, as the survey has numbered them.
 */
import { DataError } from "../../support/index.ts";
import type { CaptionsInput } from "./captions-input.ts";
import { captionsPerMark, isEmpty } from "./captions-survey.ts";
import type { CaptionsSurvey } from "./captions-survey.ts";

/** A caption that is to be rewritten. */
export interface OpenCaption {
  /** Its number in the survey. */
  readonly number: number;
  readonly id: string;
  readonly caption: string;
  /** Another caption of the same image, as the data set has it. */
  readonly second?: string | undefined;
}

/** Which captions are wanted, and how many at a time. */
export interface OpenCaptionsOptions {
  readonly survey: CaptionsSurvey;
  /** Numbers of the captions that are wanted, `to` not among them. */
  readonly from: number;
  readonly to: number;
  /** Most captions of a chunk. */
  readonly size: number;
  /** True for a caption with which nothing is left to do. */
  readonly isDone: (number: number) => boolean;
}

/**
 * Captions with which something is left to do, each id once, in file order.
 * @throws DataError when the file is not what the survey saw
 */
export async function* openCaptionChunks(
  captions: CaptionsInput,
  { survey, from, to, size, isDone }: OpenCaptionsOptions,
): AsyncGenerator<OpenCaption[]> {
  let first = from;
  while (first < to && isDone(first)) first++;
  if (first >= to) return;
  const mark = Math.floor(first / captionsPerMark);
  let number = mark * captionsPerMark;
  let chunk: OpenCaption[] = [];
  for await (const batch of captions.rows(survey.marks[mark])) {
    for (const { id, caption, second } of batch) {
      if (isEmpty(caption)) continue;
      // The first row of an id is the one whose number has not come yet.
      if (survey.repeated > 0 && survey.numbers.get(id) !== number) continue;
      const own = number++;
      if (own < first || isDone(own)) continue;
      if (own >= to) break;
      if (survey.numbers.get(id) !== own) throw changed(captions.path);
      chunk.push({ number: own, id, caption, second });
      if (chunk.length < size) continue;
      yield chunk;
      chunk = [];
    }
    if (number >= to) break;
  }
  if (number < to) throw changed(captions.path);
  if (chunk.length > 0) yield chunk;
}

function changed(path: string): DataError {
  return new DataError(`${path}: this file of captions was changed while it was read.`, {
    mend: "Start the same command again, with a file that stays as it is.",
  });
}
