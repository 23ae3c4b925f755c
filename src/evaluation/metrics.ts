/** Scores of a classification, under the names that CLIP_benchmark writes them with. */

/** Scores over all images of a classification. */
export interface ClassificationMetrics {
  /** Share of images whose best class is right, 0..1. */
  acc1: number;
  /** Share of images with the right class among the best five (among all, where there are fewer), 0..1. */
  acc5: number;
  /** Mean over classes of the share of their images that is right, 0..1; classes without images are left out. */
  mean_per_class_recall: number;
}

/** An image's class, and what a model took it for. */
export interface RankedLabels {
  label: number;
  /** Predicted classes, best first. */
  ranked: readonly number[];
}

/** The scores of `results` among so many classes; a class without images has no part in the mean over classes. */
export function classificationMetrics(results: readonly RankedLabels[], classes: number): ClassificationMetrics {
  const right = new Float64Array(classes);
  const seen = new Float64Array(classes);
  let among5 = 0;
  for (const { label, ranked } of results) {
    seen[label]!++;
    if (ranked[0] === label) right[label]!++;
    if (ranked.slice(0, 5).includes(label)) among5++;
  }
  const total = results.length;
  const recalls = Array.from(seen, (count, label) => right[label]! / count).filter((recall) => !Number.isNaN(recall));
  const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);
  return {
    acc1: total === 0 ? 0 : sum(right) / total,
    acc5: total === 0 ? 0 : among5 / total,
    mean_per_class_recall: recalls.length === 0 ? 0 : sum(recalls) / recalls.length,
  };
}
