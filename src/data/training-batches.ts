/**
 * The batch of a step, made from nothing but the data, the settings and the step's number.
 *
 * Whatever runs beside it, whatever was made before, and whether a decoded image came from the cache: the pixels and tokens are the same.
 * A sample whose image can't be read is replaced by one from outside of the batch that the order decides.
 */
import { decodeImage, type Interpolation, type Pixels, trainingView } from "../images/index.ts";
import { DataError, LaclipError, Random } from "../support/index.ts";
import type { ClipTokenizer } from "../text/index.ts";
import { type CaptionChoice, type CaptionRules, chooseCaptions } from "./captions.ts";
import { imageInput, imageName } from "./image-source.ts";
import { InFlight } from "./in-flight.ts";
import type { FedSample, SampleFeed } from "./sample-feed.ts";
import type { UnreadableImage } from "./skipped-images.ts";

/** What a training step needs of the data. */
export interface Batch {
  /** Step of the run, from 0. */
  step: number;
  /** Epoch of that step, from 0. */
  epoch: number;
  ids: string[];
  /** `[batch, size, size, 3]` RGB, 0..255. */
  images: Uint8Array;
  /** Side of the images in pixels. */
  imageSize: number;
  /** `[batch x textsPerImage, tokenLength]` token ids with start and end, padded with 0. */
  tokens: Int32Array;
  /** Tokens in the longest caption of the batch. */
  tokenLength: number;
  /** Texts of each image. */
  textsPerImage: number;
  /** The texts that were chosen: those of the first image, then those of the second, and so on, as the rows of `tokens`. */
  texts: string[];
  /** Where each of them comes from: "original" or a rewrite source. */
  sources: string[];
}

/** What decides the batches of a run, beside the data. */
export interface BatchSettings extends CaptionRules {
  /** Samples a step on each rank. */
  batchSize: number;
  /** Side of the images in pixels. */
  imageSize: number;
  /** Seed of the run: decides order, captions and crops. */
  seed: number;
  /** "original" (CLIP), "uniform" (LaCLIP), or "weighted". */
  choose: CaptionChoice;
  /** Range of the crop's share of the image's area. Default [0.5, 1]. */
  scale?: readonly [number, number];
  /** Default "bilinear". */
  interpolation?: Interpolation;
  /** Most tokens of a caption, with start and end. Default 77. */
  contextLength?: number;
  /** This process among those that train together. Default 0 of 1. */
  rank?: number;
  ranks?: number;
  /** Decoded images are kept in up to this many bytes of memory. Default 256 MB. */
  cacheBytes?: number;
  /** Most pixels of an image file. Default 50 million. */
  maxPixels?: number;
  /** Images under way at once. Default 8. */
  inFlight?: number;
}

/** Settings with the defaults filled in; what has none stays out. */
export type CompleteBatchSettings = Required<Omit<BatchSettings, keyof CaptionRules>> & CaptionRules;

/** Makes the batches of a training run, any of them by its step. */
export class TrainingBatches {
  readonly #feed: SampleFeed;
  readonly #settings: CompleteBatchSettings;
  readonly #tokenizer: ClipTokenizer;
  readonly #decoding: InFlight;
  /** Decoded images by the number of their sample. */
  readonly #cache = new Map<number, Pixels>();
  #cacheRoom: number;
  readonly #unreadable = new Map<number, string>();

  constructor(feed: SampleFeed, settings: BatchSettings, tokenizer: ClipTokenizer) {
    this.#feed = feed;
    this.#settings = batchSettings(settings);
    this.#tokenizer = tokenizer;
    this.#decoding = new InFlight(this.#settings.inFlight);
    this.#cacheRoom = this.#settings.cacheBytes;
  }

  /**
   * Makes the batch of a step. Several may be under way at once.
   *
   * @returns the batch, and which of its samples could not be read
   * @throws DataError when no sample outside of the batch can be read either; whatever the feed throws
   */
  async make(step: number): Promise<{ batch: Batch; unreadable: UnreadableImage[] }> {
    const { batchSize, imageSize, contextLength, textsPerImage = 1 } = this.#settings;
    const epoch = this.#feed.epochOf(step);
    const samples = await this.#feed.batch(step);
    const bytes = imageSize * imageSize * 3;
    const images = new Uint8Array(batchSize * bytes);
    const unreadable: UnreadableImage[] = [];
    const views = await Promise.all(samples.map(async (sample) => await this.#view(sample, epoch)));
    const taken = new Set<number>();
    for (let slot = 0; slot < batchSize; slot++) {
      const view = views[slot]!;
      if (typeof view !== "string") {
        images.set(view, slot * bytes);
        continue;
      }
      unreadable.push({ row: samples[slot]!.number, reason: view });
      const replacement = await this.#replacement(step, slot, epoch, taken, unreadable);
      samples[slot] = replacement.sample;
      images.set(replacement.view, slot * bytes);
    }
    const chosen = samples.flatMap((sample) => chooseCaptions(sample, { ...this.#settings, epoch }));
    const texts = chosen.map(({ text }) => text);
    const { ids: tokens, length: tokenLength } = this.#tokenizer.tokenizeBatch(texts, contextLength);
    const ids = samples.map(({ id }) => id);
    const sources = chosen.map(({ source }) => source);
    return { batch: { step, epoch, ids, images, imageSize, tokens, tokenLength, textsPerImage, texts, sources }, unreadable };
  }

  /** Makes the batches that are under way fail instead of decoding the rest of their images. */
  cancel(): void {
    this.#decoding.cancel();
  }

  async #replacement(
    step: number,
    slot: number,
    epoch: number,
    taken: Set<number>,
    unreadable: UnreadableImage[],
  ): Promise<{ sample: FedSample; view: Uint8Array }> {
    for await (const sample of this.#feed.replacements(step, slot)) {
      if (taken.has(sample.number)) continue;
      taken.add(sample.number);
      const view = await this.#view(sample, epoch);
      if (typeof view !== "string") return { sample, view };
      unreadable.push({ row: sample.number, reason: view });
    }
    throw new DataError(`No image can be read. First: ${unreadable[0]!.reason}`, {
      mend: "Check the folder of images.",
    });
  }

  /** The view of a sample's image in an epoch, or why it can't be read. */
  async #view(sample: FedSample, epoch: number): Promise<Uint8Array | string> {
    if (sample.problem !== undefined) return sample.problem;
    return this.#decoding.run(async () => {
      const known = this.#unreadable.get(sample.number);
      if (known !== undefined) return known;
      const { imageSize: size, seed, scale, interpolation } = this.#settings;
      try {
        const pixels = this.#cache.get(sample.number) ?? (await this.#decode(sample));
        const random = Random.of(seed, "crop", epoch, sample.id);
        return trainingView(pixels, { size, scale, interpolation, random });
      } catch (error) {
        if (!LaclipError.is(error)) throw error;
        this.#unreadable.set(sample.number, error.message);
        return error.message;
      }
    });
  }

  async #decode({ number, image }: FedSample): Promise<Pixels> {
    const pixels = await decodeImage(await imageInput(image), { maxPixels: this.#settings.maxPixels, name: imageName(image) });
    // Filled once and never emptied: each image comes once an epoch, so whatever was thrown out would be the next to be missed.
    if (pixels.data.byteLength <= this.#cacheRoom && !this.#cache.has(number)) {
      this.#cacheRoom -= pixels.data.byteLength;
      this.#cache.set(number, pixels);
    }
    return pixels;
  }
}

/** Settings with the defaults filled in. */
export function batchSettings(settings: BatchSettings): CompleteBatchSettings {
  const defaults = {
    scale: [0.5, 1] as const,
    interpolation: "bilinear" as const,
    contextLength: 77,
    rank: 0,
    ranks: 1,
    cacheBytes: 256e6,
    maxPixels: 50e6,
    inFlight: 8,
  };
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as unknown as BatchSettings;
  return { ...defaults, ...given };
}
