/**
 * How well captions fit their images on average: what the policy that weighs pairs holds each of them against.
 *
 * It is a number of the data set and the model, taken before anything is weighed, so that a weight depends neither on the order of the
 * work nor on where it was interrupted. A model looks at some captions from all over the data set for it.
 */
import { isAbsolute, join } from "node:path";
import { HeldImages } from "../../data/index.ts";
import type { RewritesFolder } from "../../data/index.ts";
import { DataError, UsageError } from "../../support/index.ts";
import type { CaptionRow, CaptionsInput } from "../captions/captions-input.ts";
import type { ImageTextScorer, ImageTexts } from "./image-policies.ts";

/** Captions that are looked at, about: the mean of so many is known to a thousandth. */
const looked = 4096;
const atOnce = 512;
const digits = 5;

export interface CaptionMeanOptions {
  folder: RewritesFolder;
  captions: CaptionsInput;
  /** How many captions there are. */
  count: number;
  /** Folder that image paths are relative to. */
  images: string;
  /** Default: what an earlier look has left in the folder. */
  scorer?: ImageTextScorer | undefined;
}

/**
 * The mean cosine of images and their captions, -1..1.
 * @throws UsageError when there is neither a model nor an earlier look; DataError when no image can be read
 */
export async function meanCaptionCosine(options: CaptionMeanOptions): Promise<number> {
  let [sum, count] = [0, 0];
  for await (const cosine of options.scorer === undefined ? measuredBefore(options.folder) : measured(options, options.scorer)) {
    sum += cosine;
    count++;
  }
  if (count > 0) return Number((sum / count).toFixed(digits));
  if (options.scorer !== undefined) {
    throw new DataError(`${options.captions.path}: no caption has an image that can be read, so that none can be weighed.`, {
      mend: "Say where the images are (--images).",
    });
  }
  throw new UsageError(`${options.folder.path}: how well captions fit their images was never measured here.`, {
    mend: "Give a model folder (--model).",
  });
}

/** Of one source, so that each caption counts once. */
async function* measuredBefore(folder: RewritesFolder): AsyncGenerator<number> {
  for await (const batch of folder.read({ sources: folder.sources.slice(0, 1) })) {
    for (const { captionCosine } of batch) if (captionCosine !== undefined) yield captionCosine;
  }
}

async function* measured({ captions, count, images }: CaptionMeanOptions, scorer: ImageTextScorer): AsyncGenerator<number> {
  const every = Math.max(1, Math.floor(count / looked));
  let row = 0;
  let waiting: CaptionRow[] = [];
  const score = async (): Promise<number[]> => {
    const items = waiting.map((caption) => ({ ...imageOf(images, caption)!, texts: [caption.caption] }));
    waiting = [];
    return (await scorer.score(items)).flatMap((found) => ("cosines" in found ? [found.cosines[0]!] : []));
  };
  const isLooked = (at: number): boolean => at % every === 0;
  for await (const batch of captions.rowsWithImages?.(new HeldImages(), isLooked) ?? captions.rows()) {
    for (const caption of batch) {
      if (!isLooked(row++) || imageOf(images, caption) === undefined || caption.caption.trim() === "") continue;
      waiting.push(caption);
      if (waiting.length >= atOnce) yield* await score();
    }
  }
  yield* await score();
}

/**
 * Where the image of a caption is; undefined where it has none. A row that was read together with its image has no other: a file that is
 * called as the row says may be of something else.
 * @param folder that relative paths are relative to
 */
export function imageOf(folder: string, caption: CaptionRow): Omit<ImageTexts, "texts"> | undefined {
  const { image = "", stored } = caption;
  if (stored) return { image: stored.name, source: stored };
  if (image === "" || "stored" in caption) return undefined;
  return { image: isAbsolute(image) ? image : join(folder, image) };
}
