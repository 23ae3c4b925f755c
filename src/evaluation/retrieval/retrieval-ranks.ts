/**
 * Where the right image or text stands when a model sorts all of them, in memory that does not grow with their product.
 *
 * A block of similarities serves both directions and is then forgotten: only counts are kept. A query's rank is that of the best of its
 * own: one more than the number of others that are as good. Ties so count against the model: one that gives all images the same feature
 * finds nothing. Cosines of float32 features are known to about a millionth, so less than that apart counts as a tie, and the ranks do
 * not depend on the size of the blocks.
 *
 * Shapes: I images, T texts, D joint width.
 */
import { DataError, InterruptedError } from "../../support/index.ts";
import { Tensor, noGrad, ops, scope, zeros } from "../../torch/index.ts";
import { unitRows } from "../../nn/index.ts";

/** Ranks of both directions, from 1; 0 for an image without a text, which is no query. */
export interface RetrievalRanks {
  /** `[I]` of each image's best text among the texts of others. */
  readonly ofImages: Int32Array;
  /** `[T]` of each text's image among all images. */
  readonly ofTexts: Int32Array;
}

/** How much is computed at once. */
export interface RetrievalBlocks {
  /** Images of a block. Default 1024. */
  images?: number;
  /** Texts of a block. Default 8192. */
  texts?: number;
}

/** Cosines closer than this are a tie. */
const tie = 1e-6;

/**
 * @param images `[I, D]` float32, need not be of length 1
 * @param texts `[T, D]` float32
 * @param owners `[T]` index of the image that each text describes
 * @throws DataError when there is no text, an owner is no image, or features are not finite; InterruptedError when stopped
 */
export async function retrievalRanks(
  images: Tensor,
  texts: Tensor,
  owners: Int32Array,
  { signal, ...blocks }: RetrievalBlocks & { signal?: AbortSignal | undefined } = {},
): Promise<RetrievalRanks> {
  const run = rankBlocks(images, texts, owners, blocks);
  try {
    for (;;) {
      const { done, value } = run.next();
      if (done) return value;
      // Many images and texts take minutes: between two blocks the process must be able to hear that it shall stop.
      await new Promise((resolve) => setImmediate(resolve));
      if (signal?.aborted) {
        throw new InterruptedError("Stopped while images and texts were compared.", {
          mend: "Start the same command again: features that are kept are not made again.",
        });
      }
    }
  } finally {
    run.return(undefined as never);
  }
}

/** What `retrievalRanks` does, a block at each step. */
export function* rankBlocks(
  images: Tensor,
  texts: Tensor,
  owners: Int32Array,
  { images: imagesAtOnce = 1024, texts: textsAtOnce = 8192 }: RetrievalBlocks = {},
): Generator<void, RetrievalRanks> {
  const [imageCount, textCount] = [images.sizeOf(0), texts.sizeOf(0)];
  const textsOf = ownTexts(owners, imageCount);
  const kept = noGrad(() =>
    scope(() => {
      const [images_ID, texts_TD] = [unitRows(images), unitRows(texts)];
      const device = images.device;
      const own_T = ownCosines(images_ID, texts_TD, owners);
      if (!Number.isFinite(own_T.sum().item())) {
        throw new DataError("A feature of an image or a text is not a finite number.", { mend: "Make the features again." });
      }
      return {
        images_ID: images_ID.keep(),
        texts_TD: texts_TD.keep(),
        imageBars: bestOwn(own_T, owners, imageCount).sub(tie).keep(),
        textBars: own_T.sub(tie).keep(),
        imageCounts: zeros([imageCount], { dtype: "float64", device }).keep(),
        textCounts: zeros([textCount], { dtype: "float64", device }).keep(),
      };
    }),
  );
  const { images_ID, texts_TD, imageBars, textBars, imageCounts, textCounts } = kept;
  const block = ([top, bottom]: Range, [left, right]: Range): void => {
    const cosines = images_ID.slice(0, top, bottom).matmul(texts_TD.slice(0, left, right).t());
    hideOwn(cosines, ownPlaces(textsOf, [top, bottom], [left, right]));
    // Sums of float32 are exact for a block's numbers, and take half the time of those of booleans.
    const count = (bars: Tensor, dim: number): Tensor => ops.geTensor(cosines, bars).to("float32").sum(dim);
    imageCounts.slice(0, top, bottom).add_(count(imageBars.slice(0, top, bottom).unsqueeze(1), 1));
    textCounts.slice(0, left, right).add_(count(textBars.slice(0, left, right), 0));
  };
  try {
    for (let top = 0; top < imageCount; top += imagesAtOnce) {
      for (let left = 0; left < textCount; left += textsAtOnce) {
        const rows: Range = [top, Math.min(imageCount, top + imagesAtOnce)];
        noGrad(() => scope(() => block(rows, [left, Math.min(textCount, left + textsAtOnce)])));
        yield;
      }
    }
    const ranks = (counts: Tensor): Int32Array => Int32Array.from(scope(() => counts.add(1).toArray()));
    const ofImages = ranks(imageCounts);
    for (const [image, own] of textsOf.entries()) if (own.length === 0) ofImages[image] = 0;
    return { ofImages, ofTexts: ranks(textCounts) };
  } finally {
    for (const tensor of Object.values(kept)) tensor.dispose();
  }
}

/** From the first to before the last. */
type Range = readonly [number, number];

/** The texts of each image, rising. */
function ownTexts(owners: Int32Array, images: number): number[][] {
  if (owners.length === 0) throw new DataError("There is no text to find images by.");
  const texts: number[][] = Array.from({ length: images }, () => []);
  for (const [text, owner] of owners.entries()) {
    const own = texts[owner];
    if (own === undefined) throw new DataError(`Text ${text} belongs to image ${owner}; there are ${images} images.`);
    own.push(text);
  }
  return texts;
}

/** `[T]` cosine of each text with its image, a block at a time: all images beside their texts would be a second set of features. */
function ownCosines(images_ID: Tensor, texts_TD: Tensor, owners: Int32Array): Tensor {
  const own_T = zeros([owners.length], { device: images_ID.device });
  for (let at = 0; at < owners.length; at += 8192) {
    const end = Math.min(owners.length, at + 8192);
    scope(() => {
      const index = Tensor.from(owners.subarray(at, end), [end - at], { device: images_ID.device }).to("int64");
      own_T.slice(0, at, end).copy_(
        images_ID
          .indexSelect(0, index)
          .mul(texts_TD.slice(0, at, end))
          .sum(1),
      );
    });
  }
  return own_T;
}

/** `[I]` the best of each image's own cosines; -Infinity for an image without a text. */
function bestOwn(own_T: Tensor, owners: Int32Array, images: number): Tensor {
  const best = new Float32Array(images).fill(-Infinity);
  own_T.toFloat32Array().forEach((cosine, text) => {
    const owner = owners[text]!;
    if (cosine > best[owner]!) best[owner] = cosine;
  });
  return Tensor.from(best, [images], { device: own_T.device });
}

/** Rows and columns of a block at which an image meets its own text. */
function ownPlaces(textsOf: readonly number[][], [top, bottom]: Range, [left, right]: Range): [number[], number[]] {
  const [rows, columns]: [number[], number[]] = [[], []];
  for (let image = top; image < bottom; image++) {
    for (const text of textsOf[image]!) {
      if (text < left || text >= right) continue;
      rows.push(image - top);
      columns.push(text - left);
    }
  }
  return [rows, columns];
}

function hideOwn(cosines: Tensor, [rows, columns]: [number[], number[]]): void {
  if (rows.length === 0) return;
  const index = (values: readonly number[]): Tensor =>
    Tensor.from(BigInt64Array.from(values, BigInt), [values.length], { device: cosines.device });
  ops.indexPut_(cosines, [index(rows), index(columns)], ops.full([], -Infinity, cosines.dtype, null, cosines.device));
}
