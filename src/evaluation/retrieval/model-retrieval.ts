/** Retrieval by a model on a data set of images and captions: features, then ranks. */
import type { EvaluationItem } from "../../data/index.ts";
import { type FeatureModel, type ImageFeatureOptions, imageFeatures, textFeatures } from "../features/index.ts";
import { type RetrievalResult, retrieval } from "./retrieval.ts";

/** Images and captions, each of which belongs to one of them: a `RetrievalDataset` is one. */
export interface CaptionedItems {
  readonly name: string;
  readonly images: readonly EvaluationItem[];
  readonly captions: readonly string[];
  /** `[captions]` index of the image of each. */
  readonly imageOf: Uint32Array;
}

/** What came out, and of what. */
export interface ModelRetrieval extends RetrievalResult {
  /** Indices of the images that could be read, and of their captions, in the order of the ranks. */
  readonly images: Int32Array;
  readonly captions: number[];
  /** Images left out, and why the first 20 of them. */
  readonly skipped: number;
  readonly reasons: string[];
}

/**
 * Captions of images that can't be read are left out too: there is nothing for them to find.
 * @throws as `imageFeatures` and `textFeatures`
 */
export async function modelRetrieval(
  model: FeatureModel,
  { name, images, captions, imageOf }: CaptionedItems,
  { recalls, ...settings }: Omit<ImageFeatureOptions, "kind" | "name"> & { recalls?: readonly number[] } = {},
): Promise<ModelRetrieval> {
  const seen = await imageFeatures(model, images, { ...settings, kind: "joint", name: `${name} images` });
  try {
    const places = new Map(Array.from(seen.rows, (row, place) => [row, place]));
    const kept = captions.flatMap((_, caption) => (places.has(imageOf[caption]!) ? [caption] : []));
    const { device = "cpu", store, signal, progress = true } = settings;
    const texts = kept.map((caption) => captions[caption]!);
    const read = await textFeatures(model, texts, { device, store, signal, progress, name: `${name} captions` });
    try {
      const owners = Int32Array.from(kept, (caption) => places.get(imageOf[caption]!)!);
      const result = await retrieval(seen.features, read, owners, { signal, ...(recalls === undefined ? {} : { recalls }) });
      return { ...result, images: seen.rows, captions: kept, skipped: seen.skipped, reasons: seen.reasons };
    } finally {
      read.dispose();
    }
  } finally {
    seen.features.dispose();
  }
}
