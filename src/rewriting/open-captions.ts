/**
 * The captions of a file that are still to be rewritten, in chunks, as the survey has numbered them.
 */
import type { CaptionsInput } from "./captions-input.ts";
import { isEmpty } from "./captions-survey.ts";
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

/** Captions with which something is left to do, each id once, in file order. */
export async function* openCaptionChunks(
  captions: CaptionsInput,
  { survey, from, to, size, isDone }: OpenCaptionsOptions,
): AsyncGenerator<OpenCaption[]> {
  let chunk: OpenCaption[] = [];
  let number = 0;
  for await (const batch of captions.rows()) {
    for (const { id, caption, second } of batch) {
      if (isEmpty(caption)) continue;
      // The first row of an id is the one whose number has not come yet.
      if (survey.repeated > 0 && survey.numbers.get(id) !== number) continue;
      const own = number++;
      if (own < from || isDone(own)) continue;
      if (own >= to) break;
      chunk.push({ number: own, id, caption, second });
      if (chunk.length < size) continue;
      yield chunk;
      chunk = [];
    }
    if (number >= to) break;
  }
  if (chunk.length > 0) yield chunk;
}
