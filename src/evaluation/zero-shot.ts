/**
 * Zero-shot classification (Radford et al. 2021; eval_zeroshot_imagenet.py of LijieFan/LaCLIP).
 *
 * A class is the normalised mean of the normalised features of all its texts (every template with every name); an image belongs to the
 * class with the largest cosine. Shapes: N images, C classes, D joint width.
 */
import { type EvaluationItem, evaluationBatches } from "../data/index.ts";
import { type Clip, type Preprocessing, normalizeImages } from "../models/index.ts";
import { unitRows } from "../nn/index.ts";
import { ClipTokenizer } from "../text/index.ts";
import { Tensor, cat, noGrad, ops, scope } from "../torch/index.ts";
import { UsageError } from "../support/index.ts";
import { type ClassificationMetrics, classificationMetrics } from "./metrics.ts";

export interface ZeroShotClasses {
  /** The names of each class, all of them averaged. */
  names: readonly (readonly string[])[];
  /** Prompts with `{}` where the name goes. */
  templates: readonly string[];
}

export interface ZeroShotOptions {
  /** Images a batch. Default 64. */
  batchSize?: number;
  /** Share of images that may be unreadable, 0..1. Default 0.01. */
  maximumSkipped?: number;
  device?: string;
}

export interface Prediction {
  /** Index of the image in the list. */
  row: number;
  path: string;
  label: number;
  /** Place of the right class among all, 1 = best. */
  rank: number;
  /** The classes with the largest cosines, falling, at most 5. */
  top: { label: number; cosine: number }[];
  /** Softmax of the best class over all classes, of cosines times `logitScale`, 0..1. */
  confidence: number;
  /** The same of the right class. */
  probability: number;
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

/** The template with the name in it. @throws UsageError for a template without `{}` */
export function fillTemplate(template: string, name: string): string {
  if (!template.includes("{}")) throw new UsageError(`The template "${template}" has no {} for the class name.`);
  return template.replace("{}", () => name);
}

/** `[C, D]` float32: one vector of length 1 for each class. */
export function classVectors(model: Clip, { names, templates }: ZeroShotClasses, device = "cpu"): Tensor {
  const tokenizer = ClipTokenizer.load();
  const vectors = names.map((own) =>
    noGrad(() =>
      scope(() => {
        const texts = own.flatMap((name) => templates.map((template) => fillTemplate(template, name)));
        const { ids, length } = tokenizer.tokenizeBatch(texts, model.config.text.contextLength);
        const features_TD = unitRows(model.encodeTexts(Tensor.from(ids, [texts.length, length], { device }).to("int64")));
        return unitRows(features_TD.mean(0, true));
      }),
    ),
  );
  try {
    return cat(vectors);
  } finally {
    for (const vector of vectors) vector.dispose();
  }
}

/** Classifies every image of the list. */
export async function zeroShot(
  { model, preprocessing }: { model: Clip; preprocessing: Preprocessing },
  items: readonly EvaluationItem[],
  classes: ZeroShotClasses,
  { batchSize = 64, maximumSkipped = 0.01, device = "cpu" }: ZeroShotOptions = {},
): Promise<ZeroShotResult> {
  const classes_CD = classVectors(model, classes, device);
  const kept = Math.min(5, classes.names.length);
  const size = model.config.vision.imageSize;
  const batches = evaluationBatches(items, { size, interpolation: preprocessing.interpolation, batchSize, maximumSkipped });
  const logitScale = Math.exp(model.logitScale.item());
  const predictions: Prediction[] = [];
  try {
    for await (const { images, labels, paths, rows } of batches) {
      const { cosines, indices, ranks, confidences, probabilities } = scope(() =>
        best(normalizeImages(images, labels.length, size, preprocessing, device), labels),
      );
      paths.forEach((path, i) => {
        const top = Array.from({ length: kept }, (_, k) => ({ label: indices[i * kept + k]!, cosine: cosines[i * kept + k]! }));
        const [confidence, probability] = [confidences[i]!, probabilities[i]!];
        predictions.push({ row: rows[i]!, path, label: labels[i]!, rank: ranks[i]!, top, confidence, probability });
      });
    }
  } finally {
    await batches.close();
    classes_CD.dispose();
  }
  const metrics = classificationMetrics(
    predictions.map(({ label, top }) => ({ label, ranked: top.map((candidate) => candidate.label) })),
    classes.names.length,
  );
  const reasons = [...batches.skipped.reasons.values()].slice(0, 20);
  return { metrics, predictions, skipped: batches.skipped.count, reasons, logitScale };

  function best(
    pixels: Tensor,
    labels: Int32Array,
  ): { cosines: number[]; indices: number[]; ranks: number[]; confidences: number[]; probabilities: number[] } {
    return noGrad(() => {
      const cosines_NC = unitRows(model.encodeImages(pixels)).matmul(classes_CD.t());
      const [values, indices] = cosines_NC.topk(kept);
      const labels_N1 = Tensor.from(labels, [labels.length, 1], { device }).to("int64");
      const right_N1 = ops.gather(cosines_NC, 1, labels_N1);
      const better_N = ops.gtTensor(cosines_NC, right_N1).sum(1);
      const chances_NC = ops.softmaxInt(cosines_NC.mul(logitScale), 1);
      return {
        cosines: values.toArray(),
        indices: indices.toArray(),
        ranks: better_N.add(1).toArray(),
        confidences: ops.amax(chances_NC, 1).toArray(),
        probabilities: ops.gather(chances_NC, 1, labels_N1).toArray(),
      };
    });
  }
}
