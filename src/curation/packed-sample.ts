/**
 * One sample as it goes into a tar: its image, its caption as `.txt`, and a `.json` with its id, its caption and its rewrites.
 *
 * The id stands in the `.json` and not in the names of the members: a reader of webdatasets cuts names at their first dot and takes
 * slashes for folders, and ids may hold either. The names are running numbers.
 */
import { readFile, stat } from "node:fs/promises";
import { decodeImage, encodeJpeg, encodePng, imageFormat, readImageHeader } from "../images/index.ts";
import type { ImageFormat } from "../images/index.ts";
import { captionKey, imageInput } from "../data/index.ts";
import type { ImageSource, Sample, SampleTable } from "../data/index.ts";
import { DataError, explainReadFailure } from "../support/index.ts";

/** How images are stored. */
export interface StoredImageOptions {
  /** Pixels of the shorter side; larger images become JPEGs of that size, the others stay as they are. Default: none is changed. */
  resize?: number | undefined;
  /** Of the JPEGs that are made, 1..100. Default 95. */
  quality?: number | undefined;
  /** Whether every image is decoded to see that it is whole; without it, only its header is read. Default true. */
  decode?: boolean | undefined;
}

/** An image in the form in which it is stored. */
export interface StoredImage {
  /** Name's ending in the tar. */
  suffix: "jpg" | "png" | "webp";
  bytes: Uint8Array;
  /** "resized": made smaller. "converted": of a format that other readers of webdatasets don't know, and now a PNG. */
  change?: "resized" | "converted";
}

/** Larger files are no photos; reading several at once would take all memory. */
const largestFile = 256 << 20;

const suffixes: Partial<Record<ImageFormat, StoredImage["suffix"]>> = { jpeg: "jpg", png: "png", webp: "webp" };

/**
 * Reads an image and brings it into the form in which it is stored: its bytes as they are, wherever they can stay.
 * @param name of the image in messages
 * @throws DataError when it can't be read
 */
export async function storedImage(source: ImageSource, name: string, options: StoredImageOptions = {}): Promise<StoredImage> {
  const { resize, quality, decode = true } = options;
  const bytes = await readImage(source, name);
  const format = imageFormat(bytes);
  const suffix = format && suffixes[format];
  if (!decode && suffix !== undefined) {
    const { width, height } = await readImageHeader(bytes, name);
    if (resize === undefined || Math.min(width, height) <= resize) return { suffix, bytes };
  }
  const pixels = await decodeImage(bytes, { name });
  if (resize !== undefined && Math.min(pixels.width, pixels.height) > resize) {
    return { suffix: "jpg", bytes: await encodeJpeg(pixels, { shorterSide: resize, quality }), change: "resized" };
  }
  return suffix === undefined ? { suffix: "png", bytes: await encodePng(pixels), change: "converted" } : { suffix, bytes };
}

/**
 * The bytes of an image, wherever it lies.
 * @param name of the image in messages
 * @throws DataError when it is missing, not to be read, or larger than 256 MiB
 */
export async function readImage(source: ImageSource, name: string): Promise<Uint8Array> {
  if (typeof source === "string") return await readImageFile(source, name);
  if (!(source instanceof Uint8Array) && source.size > largestFile) throw tooLarge(name, source.size);
  return (await imageInput(source)) as Uint8Array;
}

async function readImageFile(path: string, name: string): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size > largestFile) throw tooLarge(name, size);
    return await readFile(path);
  } catch (error) {
    throw explainReadFailure(error, name);
  }
}

function tooLarge(name: string, size: number): DataError {
  return new DataError(`${name}: a file of ${size} bytes; no more than ${largestFile} were expected of an image.`);
}

/** Names the texts of a sample in its `.json`. */
export class TextKeys {
  /** The caption's, then those of the rewrites, in the order of their sources. */
  readonly all: readonly string[];

  /** @throws DataError when two sources would get the same name */
  constructor(samples: SampleTable) {
    const { rewriteSources } = samples;
    const most = new Map(rewriteSources.map((source) => [source, 0]));
    for (let row = 0; rewriteSources.length > 0 && row < samples.length; row++) {
      const own = new Map<string, number>();
      for (const { source } of samples.at(row).captions.slice(1)) own.set(source, (own.get(source) ?? 0) + 1);
      for (const [source, texts] of own) most.set(source, Math.max(most.get(source)!, texts));
    }
    const keys = rewriteSources.flatMap((source) => Array.from({ length: most.get(source)! }, (_, nth) => textKey(source, nth)));
    this.all = ["caption", ...keys];
    const twice = this.all.find((key, i) => this.all.indexOf(key) !== i);
    if (twice !== undefined) {
      throw new DataError(`The rewrites have several texts of one source, and the name "${twice}" would stand for two of them.`, {
        mend: "Leave one of these sources out (--sources).",
      });
    }
  }

  /**
   * What goes into a sample's `.json`: its id, its row in the data set that was packed, its texts under their names, and the weights of
   * those that weigh other than 1. The row lets a reader have the samples in their first order again.
   */
  describe({ id, captions: [original, ...rewrites] }: Sample, row: number): Record<string, unknown> {
    const seen = new Map<string, number>();
    const texts: Record<string, string> = {};
    const weights: Record<string, number> = {};
    if (original?.weight !== undefined) weights["caption"] = Number(original.weight.toPrecision(6));
    for (const { source, text, weight = 1 } of rewrites) {
      const nth = seen.get(source) ?? 0;
      seen.set(source, nth + 1);
      const key = textKey(source, nth);
      texts[key] = text;
      // Kept as 32 bits; in six digits it is again the number that someone wrote.
      if (weight !== 1) weights[key] = Number(weight.toPrecision(6));
    }
    return { id, row, caption: original!.text, ...texts, ...(Object.keys(weights).length > 0 ? { weights } : {}) };
  }
}

/** A second text of one source is `caption_NAME_2`, and so on. */
function textKey(source: string, nth: number): string {
  return nth === 0 ? captionKey(source) : `${captionKey(source)}_${nth + 1}`;
}
