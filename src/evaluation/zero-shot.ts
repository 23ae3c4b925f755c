/**
 * Zero-shot classification (Radford et al. 2021; eval_zeroshot_imagenet.py of LijieFan/LaCLIP): images are held against texts for the
 * classes, and each belongs to the class with the largest cosine.
 *
 * Texts go through the model once, before all images. Images are read, decoded and cut out in a thread of their own, some batches ahead,
 * so that the model does not wait for them; or their features come from a store, so that other prompts cost no second look at them.
 */
import { type EvaluationItem, evaluationBatches } from "../data/index.ts";
import { byteImages } from "../models/index.ts";
import { DataError, InterruptedError, Progress } from "../support/index.ts";
import { type Tensor, noGrad, scope } from "../torch/index.ts";
import { type ClassPrediction, ClassScorer } from "./class-scorer.ts";
import { type ZeroShotClasses, classVectors, countTexts } from "./class-vectors.ts";
import { type FeatureModel, type FeatureStore, imageFeatures, noneReadable } from "./features/index.ts";
import { type ClassificationMetrics, classificationMetrics } from "./metrics.ts";

/** How `zeroShot` goes about its images. */
export interface ZeroShotOptions {
  /** Images a batch. Default 64. */
  batchSize?: number;
  /** Share of images that may be unreadable, 0..1. Default 0.01. */
  maximumSkipped?: number;
  device?: string;
  /** Whether progress is shown. Default false; with a store, it always is. */
  progress?: boolean;
  /** Where features of images are kept, for models with a hash. Default nowhere. */
  store?: FeatureStore | undefined;
  /** What the images are called in a store, for people. Default "images". */
  name?: string;
  /** Stops between two batches. */
  signal?: AbortSignal | undefined;
}

/** What was predicted for an image of the list. */
export interface Prediction extends ClassPrediction {
  /** Index of the image in the list. */
  row: number;
  path: string;
}

/** What `zeroShot` has found: scores, each prediction, and what was left out. */
export interface ZeroShotResult {
  metrics: ClassificationMetrics;
  predictions: Prediction[];
  /** Images left out because they could not be read, and why the first 20 of them. */
  skipped: number;
  reasons: string[];
  /** The model's factor on cosines, at which confidences are computed. */
  logitScale: number;
}

/** Images whose features are scored at once. */
const scoredAtOnce = 1024;

/**
 * Classifies every image of the list.
 * @throws DataError when a label is no class, too many images or all of them can't be read, or features are not finite; InterruptedError when stopped
 */
export async function zeroShot(
  loaded: FeatureModel,
  items: readonly EvaluationItem[],
  classes: ZeroShotClasses,
  options: ZeroShotOptions = {},
): Promise<ZeroShotResult> {
  const { model } = loaded;
  const { device = "cpu", progress = false, store } = options;
  const outside = items.find(({ label }) => !(label >= 0 && label < classes.names.length));
  if (outside !== undefined) {
    throw new DataError(
      `${outside.path}: its label is ${outside.label}, and there are ${classes.names.length} classes (0 to ${classes.names.length - 1}).`,
    );
  }
  const texts = progress ? new Progress({ label: "texts", total: countTexts(classes), unit: "texts" }) : undefined;
  const vectors = await classVectors(model, classes, device, { onTexts: (count) => texts?.advance(count), signal: options.signal });
  texts?.finish();
  const logitScale = Math.exp(model.logitScale.item());
  const scorer = new ClassScorer(vectors, classes, logitScale, device);
  try {
    const kept = store !== undefined && loaded.hash !== undefined;
    const { predictions, skipped, reasons } = await (kept ? scoreKept : scoreSeen)(loaded, items, scorer, options);
    const metrics = classificationMetrics(
      predictions.map(({ label, top }) => ({ label, ranked: top.map((candidate) => candidate.label) })),
      classes.names.length,
    );
    return { metrics, predictions, skipped, reasons, logitScale };
  } finally {
    vectors.dispose();
  }
}

type Scored = Pick<ZeroShotResult, "predictions" | "skipped" | "reasons">;

/** Each image goes through the model and is forgotten. */
async function scoreSeen(
  { model, preprocessing }: FeatureModel,
  items: readonly EvaluationItem[],
  scorer: ClassScorer,
  { batchSize = 64, maximumSkipped = 0.01, device = "cpu", progress = false, signal }: ZeroShotOptions,
): Promise<Scored> {
  const size = model.config.vision.imageSize;
  const batches = evaluationBatches(items, { size, interpolation: preprocessing.interpolation, batchSize, maximumSkipped });
  const shown = progress ? new Progress({ label: "images", total: items.length, unit: "images" }) : undefined;
  const predictions: Prediction[] = [];
  try {
    for await (const { images, labels, paths, rows } of batches) {
      if (signal?.aborted) {
        throw new InterruptedError(`Stopped after ${rows[0]!} of ${items.length} images.`, {
          mend: "Nothing was kept: features are, without --no-features.",
        });
      }
      const scored = noGrad(() =>
        scope(() => {
          const pixels = byteImages(images, labels.length, size, preprocessing, device);
          return scorer.score(model.encodeImages(pixels), labels, (i) => paths[i]!);
        }),
      );
      scored.forEach((prediction, i) => predictions.push({ ...prediction, row: rows[i]!, path: paths[i]! }));
      shown?.advance(labels.length);
    }
  } finally {
    shown?.finish();
    await batches.close();
  }
  if (predictions.length === 0) throw noneReadable(items.length, [...batches.skipped.reasons.values()]);
  return { predictions, skipped: batches.skipped.count, reasons: [...batches.skipped.reasons.values()].slice(0, 20) };
}

/** Features come from the store, which makes those that it has not. */
async function scoreKept(
  loaded: FeatureModel,
  items: readonly EvaluationItem[],
  scorer: ClassScorer,
  options: ZeroShotOptions,
): Promise<Scored> {
  const { features, rows, labels, skipped, reasons } = await imageFeatures(loaded, items, { ...options, kind: "joint" });
  try {
    const predictions: Prediction[] = [];
    for (let at = 0; at < labels.length; at += scoredAtOnce) {
      const pathOf = (i: number): string => items[rows[at + i]!]!.path;
      const some = scope((): Tensor => features.slice(0, at, Math.min(at + scoredAtOnce, labels.length)).keep());
      try {
        const scored = scorer.score(some, labels.slice(at, at + scoredAtOnce), pathOf);
        scored.forEach((prediction, i) => predictions.push({ ...prediction, row: rows[at + i]!, path: pathOf(i) }));
      } finally {
        some.dispose();
      }
    }
    return { predictions, skipped, reasons };
  } finally {
    features.dispose();
  }
}
