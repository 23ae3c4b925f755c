/**
 * How well texts fit images, by the cosine of their features: what rewrites are held against their images with.
 *
 * Shapes: N images, T texts of all of them together, D joint width.
 */
import { type FilePart, evaluationBatches } from "../data/index.ts";
import { type ByteImages, type LoadedModel, byteImages } from "../models/index.ts";
import { unitRows } from "../nn/index.ts";
import { ClipTokenizer } from "../text/index.ts";
import { Tensor, cat, noGrad, ops, scope } from "../torch/index.ts";

/** An image and the texts it is compared with. */
export interface ScoredImage {
  /** What the image is called: path of its file, or where else it is. */
  readonly image: string;
  /** Where it is when it has no file of its own. Default: the file `image`. */
  readonly source?: FilePart;
  readonly texts: readonly string[];
}

/** The cosines of an image with its texts, in their order, -1..1; or why it can't be read. */
export type ImageTextScore = { readonly cosines: readonly number[] } | { readonly unreadable: string };

/** How many are computed at once, and where. */
export interface ScorerOptions {
  /** Images a batch. Default 64. */
  batchSize?: number;
  /** Default "cpu". */
  device?: string;
}

/** Texts that go through the text tower at once. */
const textsAtOnce = 256;

/** Compares images and texts with a CLIP model, which stays its caller's. */
export class ImageTextScorer {
  readonly #loaded: LoadedModel;
  readonly #batchSize: number;
  readonly #device: string;

  /**
   * @param model its name, for people
   * @param modelHash hash of its weights
   */
  constructor(
    loaded: LoadedModel,
    readonly model: string,
    readonly modelHash: string,
    { batchSize = 64, device = "cpu" }: ScorerOptions = {},
  ) {
    this.#loaded = loaded;
    this.#batchSize = batchSize;
    this.#device = device;
  }

  /** Scores of each image, in the order of `items`. */
  async score(items: readonly ScoredImage[]): Promise<ImageTextScore[]> {
    const { model, preprocessing } = this.#loaded;
    const size = model.config.vision.imageSize;
    const scores: (ImageTextScore | undefined)[] = items.map(() => undefined);
    if (items.length === 0) return [];
    const batches = evaluationBatches(
      items.map(({ image, source }, label) => ({ path: image, label, ...(source ? { source } : {}) })),
      { size, interpolation: preprocessing.interpolation, batchSize: this.#batchSize, maximumSkipped: 1, report: false },
    );
    try {
      for await (const { images, labels } of batches) {
        const texts = Array.from(labels, (label) => items[label]!.texts);
        const cosines = noGrad(() =>
          scope(() => this.#cosines(byteImages(images, labels.length, size, preprocessing, this.#device), texts)),
        );
        labels.forEach((label, i) => (scores[label] = { cosines: cosines[i]! }));
      }
    } finally {
      await batches.close();
    }
    return scores.map((score, i) => score ?? { unreadable: batches.skipped.reasons.get(i) ?? `${items[i]!.image}: can't be read` });
  }

  /** @param images N of them @param texts those of each image */
  #cosines(images: ByteImages, texts: readonly (readonly string[])[]): number[][] {
    const all = texts.flat();
    if (all.length === 0) return texts.map(() => []);
    const images_ND = unitRows(this.#loaded.model.encodeImages(images));
    const owners = Int32Array.from(texts.flatMap((own, i) => own.map(() => i)));
    const owners_T = Tensor.from(owners, [owners.length], { device: this.#device }).to("int64");
    const cosines_T = ops.indexSelect(images_ND, 0, owners_T).mul(this.#textFeatures(all)).sum(1);
    const cosines = cosines_T.toArray();
    let at = 0;
    return texts.map((own) => cosines.slice(at, (at += own.length)));
  }

  /** `[T, D]` float32, rows of length 1 */
  #textFeatures(texts: readonly string[]): Tensor {
    const { model } = this.#loaded;
    const tokenizer = ClipTokenizer.load();
    const parts: Tensor[] = [];
    for (let at = 0; at < texts.length; at += textsAtOnce) {
      const some = texts.slice(at, at + textsAtOnce);
      parts.push(
        scope(() => {
          const { ids, length } = tokenizer.tokenizeBatch(some, model.config.text.contextLength);
          return unitRows(model.encodeTexts(Tensor.from(ids, [some.length, length], { device: this.#device }).to("int64")));
        }),
      );
    }
    return cat(parts);
  }
}
