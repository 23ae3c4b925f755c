/**
 * The batch of a step, made from nothing but the data, the settings and the step's number.
 *
 * Whatever runs beside it, whatever was made before, and whether a decoded image came from the cache: the pixels and tokens are the same.
 * A sample whose image can't be read is replaced by one from outside of the batch that the order decides.
 */
import { availableParallelism } from "node:os";
import {
  type ColourLists,
  decodeImage,
  emptyColourLists,
  imageFormat,
  type Interpolation,
  type Pixels,
  readImageFile,
  setColourList,
  slipViews,
  slipViewsInto,
  type SlipViewsOptions,
  trainingView,
  trainingViewInto,
} from "../images/index.ts";
import { DataError, Random } from "../support/index.ts";
import type { ClipTokenizer } from "../text/index.ts";
import { sameTextKey } from "./same-text-key.ts";
import { type CaptionChoice, type CaptionRules, chooseCaptions } from "./captions.ts";
import { imageInput, imageName } from "./image-source.ts";
import { InFlight } from "./in-flight.ts";
import type { FedBatch, FedSample, SampleFeed } from "./sample-feed.ts";
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
  /** `[2, batch, size, size, 3]`: the first of two strongly changed views of every image, then the second; only when asked for. */
  views?: Uint8Array;
  /** What is left to do to the colours of these `2 x batch` views, in their order; only when asked for. */
  viewColours?: ColourLists;
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
  /** `sameTextKey` of each text; only when asked for. */
  textKeys?: BigInt64Array;
  /** How well each text fits its image, 0..1; only where weights are for the loss. */
  textWeights?: Float32Array;
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
  /** Also make the two views of each image that SimCLR's loss compares (SLIP). Default false. */
  views?: boolean;
  /** Leave changing the colours of these views to whoever takes the batch, who finds in it what is to be done. Default false. */
  leaveColours?: boolean;
  /** Also tell which texts say the same. Default false. */
  textKeys?: boolean;
  /** Default "bilinear". */
  interpolation?: Interpolation;
  /** Most tokens of a caption, with start and end. Default 77. */
  contextLength?: number;
  /** This process among those that train together. Default 0 of 1. */
  rank?: number;
  ranks?: number;
  /**
   * Decode every JPEG whole. Without it, a large one is decoded at a half, a quarter or an eighth where the crop has more than enough
   * pixels: several times faster, and less than 1/255 away on average. Default false.
   */
  exactCrops?: boolean;
  /** Decoded images other than JPEGs are kept in up to this many bytes of memory. Default 256 MB. */
  cacheBytes?: number;
  /** Most pixels of an image file. Default 50 million. */
  maxPixels?: number;
  /** Images under way at once. Default 8, or twice the processors where that is more. */
  inFlight?: number;
}

/** Settings with the defaults filled in; what has none stays out. */
export type CompleteBatchSettings = Required<Omit<BatchSettings, keyof CaptionRules>> & CaptionRules;

/** Where the views of an image go. */
interface Target {
  image: Uint8Array;
  views?: readonly [Uint8Array, Uint8Array];
  /** Takes note of changes of colour that are left to do. */
  leaveColours?: SlipViewsOptions["leaveColours"];
}

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
  /** Arrays for the three views of an image, as many as were under way at once: new ones for each would keep the garbage collector busy. */
  readonly #spare: Uint8Array[] = [];

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
    const { batchSize, imageSize, contextLength, textsPerImage = 1, views: withViews, textKeys: withKeys, weighing } = this.#settings;
    const colours = withViews && this.#settings.leaveColours ? emptyColourLists(2 * batchSize) : undefined;
    const epoch = this.#feed.epochOf(step);
    const fed = await this.#feed.batch(step);
    const samples = [...fed.samples];
    const bytes = imageSize * imageSize * 3;
    const images = new Uint8Array(batchSize * bytes);
    const views = withViews ? new Uint8Array(2 * batchSize * bytes) : undefined;
    const part = (pixels: Uint8Array, index: number): Uint8Array => pixels.subarray(index * bytes, (index + 1) * bytes);
    const place = (slot: number): Target => ({
      image: part(images, slot),
      ...(views && { views: [part(views, slot), part(views, batchSize + slot)] as const }),
      ...(colours && {
        leaveColours: (first, second) => {
          setColourList(colours, slot, first);
          setColourList(colours, batchSize + slot, second);
        },
      }),
    });
    const unreadable: UnreadableImage[] = [];
    const problems = await Promise.all(samples.map(async (sample, slot) => await this.#view(sample, epoch, place(slot))));
    const taken = new Set(samples.map(({ number }) => number));
    for (let slot = 0; slot < batchSize; slot++) {
      const reason = problems[slot];
      if (reason === undefined) continue;
      unreadable.push({ row: samples[slot]!.number, reason });
      samples[slot] = await this.#replace(fed.replacements(slot), epoch, place(slot), taken, unreadable);
    }
    const chosen = samples.flatMap((sample) => chooseCaptions(sample, { ...this.#settings, epoch }));
    const texts = chosen.map(({ text }) => text);
    const { ids: tokens, length: tokenLength } = this.#tokenizer.tokenizeBatch(texts, contextLength);
    const ids = samples.map(({ id }) => id);
    const sources = chosen.map(({ source }) => source);
    const batch: Batch = { step, epoch, ids, images, imageSize, tokens, tokenLength, textsPerImage, texts, sources };
    if (views) batch.views = views;
    if (colours) batch.viewColours = colours;
    if (withKeys) batch.textKeys = BigInt64Array.from(texts, sameTextKey);
    if (weighing === "loss") batch.textWeights = Float32Array.from(chosen, ({ weight = 1 }) => weight);
    return { batch, unreadable };
  }

  /** Makes the batches that are under way fail instead of decoding the rest of their images. */
  cancel(): void {
    this.#decoding.cancel();
  }

  /** Puts the view of another sample in the place of one that can't be used; returns that sample. */
  async #replace(
    replacements: ReturnType<FedBatch["replacements"]>,
    epoch: number,
    target: Target,
    taken: Set<number>,
    unreadable: UnreadableImage[],
  ): Promise<FedSample> {
    for (const sample of replacements) {
      if (taken.has(sample.number)) continue;
      taken.add(sample.number);
      const reason = await this.#view(sample, epoch, target);
      if (reason === undefined) return sample;
      unreadable.push({ row: sample.number, reason });
    }
    throw new DataError(`No image can be read. First: ${unreadable[0]!.reason}`, {
      mend: "Check the images. Of tars that are read from front to back, larger blocks have more to take instead: --set data.shuffle=...",
    });
  }

  /** Writes the view of a sample's image in an epoch; or says why it can't be read. */
  async #view(sample: FedSample, epoch: number, target: Target): Promise<string | undefined> {
    if (sample.problem !== undefined) return sample.problem;
    return await this.#decoding.run(async () => {
      const known = this.#unreadable.get(sample.number);
      if (known !== undefined) return known;
      const { imageSize: size, seed, scale, interpolation, maxPixels, exactCrops: exact } = this.#settings;
      const random = Random.of(seed, "crop", epoch, sample.id);
      const { leaveColours } = target;
      const draw = { size, scale, interpolation, random, ...(leaveColours && { leaveColours }) };
      try {
        const cached = this.#cache.get(sample.number);
        if (cached) {
          put(cached, draw, target);
          return undefined;
        }
        const input = await imageInput(sample.image);
        const bytes = typeof input === "string" ? await readImageFile(input) : input;
        const name = imageName(sample.image);
        // A JPEG is decoded no further than its crop needs; what was decoded whole would have other pixels, so it has no place in the cache.
        if (imageFormat(bytes) === "jpeg") {
          // A batch is handed on when all of its images are made.
          const options = { ...draw, exact, maxPixels, name, targetStays: true };
          if (target.views === undefined) await trainingViewInto(bytes, options, target.image);
          else await this.#threeViews(target, async (all) => await slipViewsInto(bytes, options, all));
          return undefined;
        }
        const pixels = await decodeImage(bytes, { maxPixels, name });
        this.#keep(sample.number, pixels);
        put(pixels, draw, target);
        return undefined;
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        this.#unreadable.set(sample.number, error.message);
        return error.message;
      }
    });
  }

  /** Views of one image come one after the other, those of a batch lie apart. */
  async #threeViews(target: Target, make: (all: Uint8Array) => Promise<void>): Promise<void> {
    const all = this.#spare.pop() ?? new Uint8Array(3 * target.image.byteLength);
    try {
      await make(all);
      share(all, target);
    } finally {
      this.#spare.push(all);
    }
  }

  /** Filled once and never emptied: each image comes once an epoch, so whatever was thrown out would be the next to be missed. */
  #keep(number: number, pixels: Pixels): void {
    if (pixels.data.byteLength > this.#cacheRoom || this.#cache.has(number)) return;
    this.#cacheRoom -= pixels.data.byteLength;
    this.#cache.set(number, pixels);
  }
}

function put(pixels: Pixels, options: SlipViewsOptions, target: Target): void {
  if (target.views === undefined) target.image.set(trainingView(pixels, options));
  else share(slipViews(pixels, options), target);
}

function share(all: Uint8Array, { image, views }: Target): void {
  [image, ...views!].forEach((place, i) => place.set(all.subarray(i * place.byteLength, (i + 1) * place.byteLength)));
}

/** Settings with the defaults filled in. */
export function batchSettings(settings: BatchSettings): CompleteBatchSettings {
  const defaults = {
    scale: [0.5, 1] as const,
    interpolation: "bilinear" as const,
    contextLength: 77,
    rank: 0,
    ranks: 1,
    exactCrops: false,
    views: false,
    leaveColours: false,
    textKeys: false,
    cacheBytes: 256e6,
    maxPixels: 50e6,
    inFlight: Math.max(8, 2 * availableParallelism()),
  };
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as unknown as BatchSettings;
  return { ...defaults, ...given };
}
