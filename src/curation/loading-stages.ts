/**
 * The stages that data pass through on their way into training, each as one function: `laclip data bench` measures them alone.
 *
 * They are the functions that training uses, called as it calls them; when training gets another one, it belongs here too.
 */
import { imageName, imageSuffixes, openLoader, readTarSamples, textMembers } from "../data/index.ts";
import type { ImageSource, Loader, LoaderSamples, TarSample } from "../data/index.ts";
import { decodeImage, trainingView, trainingViewInto } from "../images/index.ts";
import type { Pixels } from "../images/index.ts";
import type { Random } from "../support/index.ts";
import { ClipTokenizer } from "../text/index.ts";
import { readImage } from "./packed-sample.ts";

/** Members of a tar that training reads. */
const trainedOn: ReadonlySet<string> = new Set([...imageSuffixes, ...textMembers]);

/** The bytes of an image. */
export async function readStage(image: ImageSource): Promise<Uint8Array> {
  return await readImage(image, imageName(image));
}

/** The samples of a tar, with image and texts. */
export function readTarStage(tar: string): AsyncGenerator<TarSample> {
  return readTarSamples(tar, trainedOn);
}

/** Bytes to pixels. */
export async function decodeStage(bytes: Uint8Array): Promise<Pixels> {
  return await decodeImage(bytes);
}

/** Pixels to a random crop at the model's size, `[size, size, 3]`. */
export function augmentStage(pixels: Pixels, size: number, random: Random): Uint8Array {
  return trainingView(pixels, { size, random });
}

/** Both in one call, as training makes it where no decoded images are kept: of large photos only as many pixels as the crop needs. */
export async function decodeAndAugmentStage(bytes: Uint8Array, size: number, random: Random): Promise<Uint8Array> {
  const view = new Uint8Array(size * size * 3);
  await trainingViewInto(bytes, { size, random }, view);
  return view;
}

/** Captions to token ids. */
export function tokenizeStage(captions: readonly string[]): Int32Array {
  return ClipTokenizer.load().tokenizeBatch(captions).ids;
}

/** Crops to one batch, `[batch, size, size, 3]`. */
export function collateStage(views: readonly Uint8Array[]): Uint8Array {
  const [first] = views;
  const bytes = first?.byteLength ?? 0;
  const batch = new Uint8Array(views.length * bytes);
  views.forEach((view, i) => batch.set(view, i * bytes));
  return batch;
}

/** Batches as training gets them, in the first epoch: none of the decoded images is there from before. */
export function loadStage(samples: LoaderSamples, { batchSize, imageSize }: { batchSize: number; imageSize: number }): Loader {
  const steps = Number.MAX_SAFE_INTEGER;
  return openLoader({ samples, batchSize, imageSize, seed: 0, choose: "original", totalSteps: steps, cacheBytes: 0, maximumSkipped: 1 });
}
