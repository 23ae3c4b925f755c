/**
 * Images in the order of a list, as evaluation sees them: centre views, each once, those that can't be read left out and counted.
 */
import { evaluationImage, type EvaluationImageOptions, evaluationView, type Interpolation } from "../images/index.ts";
import { DataError } from "../support/index.ts";
import { type FilePart, imageInput, type RawPixels, rawPixels } from "./image-source.ts";
import { InFlight } from "./in-flight.ts";
import type { UnreadableImage } from "./skipped-images.ts";

/** An image to evaluate. */
export interface EvaluationItem {
  /** What the image is called in results: path of its file, or of the larger file with the image's name or number behind it. */
  path: string;
  /** Where it is when it has no file of its own: part of a larger one, encoded or as pixels, or in memory. Default: the file `path`. */
  source?: FilePart | RawPixels | Uint8Array;
  /** Index of its class, or any number that the caller wants back. */
  label: number;
}

/** Some images, as a model sees them. */
export interface EvaluationBatch {
  /** `[n, size, size, 3]` RGB, 0..255; n may be less than the batch size. */
  images: Uint8Array;
  /** Side of the images in pixels. */
  imageSize: number;
  /** `[n]` label of each image. */
  labels: Int32Array;
  /** Path of each image. */
  paths: string[];
  /** `[n]` index of each image in the list. */
  rows: Uint32Array;
}

/** How the images are cut out and handed over. */
export interface EvaluationSettings {
  /** Side of the images in pixels. */
  size: number;
  /** Default "bilinear". */
  interpolation?: Interpolation;
  batchSize: number;
  /** Most pixels of an image file. Default 50 million. */
  maxPixels?: number;
  /** Images under way at once. Default 8. */
  inFlight?: number;
}

/** Makes the batches of a list of images, any of them by its number. */
export class EvaluationImages {
  readonly #items: readonly EvaluationItem[];
  readonly #settings: EvaluationSettings;
  readonly #decoding: InFlight;

  constructor(items: readonly EvaluationItem[], settings: EvaluationSettings) {
    this.#items = items;
    this.#settings = settings;
    this.#decoding = new InFlight(settings.inFlight ?? 8);
  }

  /** Number of batches. */
  get count(): number {
    return Math.ceil(this.#items.length / this.#settings.batchSize);
  }

  /** Makes the batches that are under way fail instead of decoding the rest of their images. */
  cancel(): void {
    this.#decoding.cancel();
  }

  /** Makes batch `index`, from 0. */
  async make(index: number): Promise<{ batch: EvaluationBatch; unreadable: UnreadableImage[] }> {
    const { size, interpolation = "bilinear", batchSize, maxPixels = 50e6 } = this.#settings;
    const start = index * batchSize;
    const items = this.#items.slice(start, start + batchSize);
    const unreadable: UnreadableImage[] = [];
    const views = await Promise.all(
      items.map((item, i) =>
        this.#decoding.run(async () => {
          try {
            return await viewOf(item, { size, interpolation, maxPixels });
          } catch (error) {
            if (!(error instanceof DataError)) throw error;
            unreadable.push({ row: start + i, reason: error.message });
            return undefined;
          }
        }),
      ),
    );
    unreadable.sort((a, b) => a.row - b.row);
    const read = items.flatMap((item, i) => (views[i] ? [{ path: item.path, label: item.label, row: start + i, view: views[i] }] : []));
    const images = new Uint8Array(read.length * size * size * 3);
    read.forEach(({ view }, i) => images.set(view, i * size * size * 3));
    return {
      batch: {
        images,
        imageSize: size,
        labels: Int32Array.from(read, ({ label }) => label),
        paths: read.map(({ path }) => path),
        rows: Uint32Array.from(read, ({ row }) => row),
      },
      unreadable,
    };
  }
}

/** @throws DataError when the image can't be read */
async function viewOf({ path, source }: EvaluationItem, options: EvaluationImageOptions): Promise<Uint8Array> {
  if (source !== undefined && "order" in source) return evaluationView(await rawPixels(source), options);
  return await evaluationImage(await imageInput(source ?? path), { ...options, name: path });
}
