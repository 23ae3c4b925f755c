/**
 * Zero-shot classification (Radford et al. 2021; eval_zeroshot_imagenet.py of LijieFan/LaCLIP): images are held against texts for the
 * classes, and each belongs to the class with the largest cosine.
 *
 * Texts go through the model once, before all images. Images are read, decoded and cut out in a thread of their own, some batches ahead,
 * so that the model does not wait for them.
 */
import { type EvaluationItem, evaluationBatches } from "../data/index.ts";
import { type Clip, type Preprocessing, normalizeImages } from "../models/index.ts";
import { DataError, Progress } from "../support/index.ts";
import { noGrad, scope } from "../torch/index.ts";
import { type ClassPrediction, ClassScorer } from "./class-scorer.ts";
import { type ZeroShotClasses, classVectors, countTexts } from "./class-vectors.ts";
import { type ClassificationMetrics, classificationMetrics } from "./metrics.ts";

export interface ZeroShotOptions {
  /** Images a batch. Default 64. */
  batchSize?: number;
  /** Share of images that may be unreadable, 0..1. Default 0.01. */
  maximumSkipped?: number;
  device?: string;
  /** Whether progress is shown. Default false. */
  progress?: boolean;
}

/** What was predicted for an image of the list. */
export interface Prediction extends ClassPrediction {
  /** Index of the image in the list. */
  row: number;
  path: string;
}

export interface ZeroShotResult {
  metrics: ClassificationMetrics;
  predictions: Prediction[];
  /** Images left out because they could not be read, and why the first 20 of them. */
  skipped: number;
  reasons: string[];
  /** The model's factor on cosines, at which confidences are computed. */
  logitScale: number;
}

/**
 * Classifies every image of the list.
 * @throws DataError when a label is no class, too many images can't be read, or features are not finite
 */
export async function zeroShot(
  { model, preprocessing }: { model: Clip; preprocessing: Preprocessing },
  items: readonly EvaluationItem[],
  classes: ZeroShotClasses,
  { batchSize = 64, maximumSkipped = 0.01, device = "cpu", progress = false }: ZeroShotOptions = {},
): Promise<ZeroShotResult> {
  const outside = items.find(({ label }) => !(label >= 0 && label < classes.names.length));
  if (outside !== undefined) {
    throw new DataError(
      `${outside.path}: its label is ${outside.label}, and there are ${classes.names.length} classes (0 to ${classes.names.length - 1}).`,
    );
  }
  const size = model.config.vision.imageSize;
  // Begun before the texts: the first images are ready when the texts are.
  const batches = evaluationBatches(items, { size, interpolation: preprocessing.interpolation, batchSize, maximumSkipped });
  const predictions: Prediction[] = [];
  const logitScale = Math.exp(model.logitScale.item());
  try {
    const texts = progress ? new Progress({ label: "texts", total: countTexts(classes), unit: "texts" }) : undefined;
    const vectors = classVectors(model, classes, device, (count) => texts?.advance(count));
    texts?.finish();
    const shown = progress ? new Progress({ label: "images", total: items.length, unit: "images" }) : undefined;
    try {
      const scorer = new ClassScorer(vectors, classes, logitScale, device);
      for await (const { images, labels, paths, rows } of batches) {
        const scored = noGrad(() =>
          scope(() => {
            const pixels = normalizeImages(images, labels.length, size, preprocessing, device);
            return scorer.score(model.encodeImages(pixels), labels, (i) => paths[i]!);
          }),
        );
        scored.forEach((prediction, i) => predictions.push({ ...prediction, row: rows[i]!, path: paths[i]! }));
        shown?.advance(labels.length);
      }
    } finally {
      shown?.finish();
      vectors.dispose();
    }
  } finally {
    await batches.close();
  }
  const metrics = classificationMetrics(
    predictions.map(({ label, top }) => ({ label, ranked: top.map((candidate) => candidate.label) })),
    classes.names.length,
  );
  const reasons = [...batches.skipped.reasons.values()].slice(0, 20);
  return { metrics, predictions, skipped: batches.skipped.count, reasons, logitScale };
}
