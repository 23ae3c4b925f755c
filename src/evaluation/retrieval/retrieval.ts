/**
 * Retrieval between images and their texts: how often the right one is among the first, both ways.
 *
 * An image may have several texts: it has found them when any of them is among the first. Names of the metrics are CLIP_benchmark's: "text
 * retrieval" is texts found by an image, "image retrieval" an image found by a text.
 */
import { UsageError } from "../../support/index.ts";
import { type Tensor } from "../../torch/index.ts";
import { type RetrievalBlocks, type RetrievalRanks, retrievalRanks } from "./retrieval-ranks.ts";

/** What came out. */
export interface RetrievalResult {
  /** `image_retrieval_recall@K` and `text_retrieval_recall@K`, 0..1; `image_retrieval_median_rank` and `text_...`, from 1. */
  readonly metrics: Record<string, number>;
  readonly ranks: RetrievalRanks;
}

/** What is asked for. */
export interface RetrievalOptions extends RetrievalBlocks {
  /** Places that count as found. Default 1, 5 and 10. */
  recalls?: readonly number[];
  /** Stops between two blocks. */
  signal?: AbortSignal | undefined;
}

/**
 * Sorts all texts for each image and all images for each text.
 * @param images `[I, D]` float32 @param texts `[T, D]` float32 @param owners `[T]` index of the image of each text
 * @throws DataError as `retrievalRanks`; UsageError for a recall at no place
 */
export async function retrieval(
  images: Tensor,
  texts: Tensor,
  owners: Int32Array,
  options: RetrievalOptions = {},
): Promise<RetrievalResult> {
  const { recalls = [1, 5, 10], ...blocks } = options;
  const wrong = recalls.find((place) => !Number.isSafeInteger(place) || place < 1);
  if (wrong !== undefined) throw new UsageError(`Recall at ${wrong}: expected whole numbers from 1 up.`);
  const ranks = await retrievalRanks(images, texts, owners, blocks);
  const metrics: Record<string, number> = {};
  for (const [name, all] of [
    ["image_retrieval", ranks.ofTexts],
    ["text_retrieval", ranks.ofImages],
  ] as const) {
    const asked = all.filter((rank) => rank > 0).sort();
    for (const place of recalls) metrics[`${name}_recall@${place}`] = asked.filter((rank) => rank <= place).length / asked.length;
    metrics[`${name}_median_rank`] = (asked[(asked.length - 1) >> 1]! + asked[asked.length >> 1]!) / 2;
  }
  return { metrics, ranks };
}
