/** Zero-shot classification while a model trains: what `laclip evaluate zero-shot` says of a data set, along the way. */
import { type EvaluationDataset, type SplitName, splitItems, zeroShot } from "../evaluation/index.ts";
import type { Evaluator } from "../training/index.ts";

/** What is classified, and when. */
export interface ZeroShotEvaluatorOptions {
  /** As `openEvaluationDataset` opens it, with the split. */
  dataset: EvaluationDataset;
  /** Whose images are classified. Default "test". */
  split?: SplitName;
  /** Steps between evaluations; there is always one after the last step. */
  everySteps: number;
  /** Share of images that may be unreadable. Default 0.01. */
  maximumSkipped?: number | undefined;
  device?: string;
}

const measures = ["val/zero-shot-top1", "val/zero-shot-top5", "val/zero-shot-mean-per-class"] as const;

/** @throws DataError when the split has no images; it is looked at now, not hours later */
export function zeroShotEvaluator(options: ZeroShotEvaluatorOptions): Evaluator {
  const { dataset, split = "test", everySteps, maximumSkipped, device = "cpu" } = options;
  const items = splitItems(dataset, split);
  return {
    everySteps,
    measures,
    evaluate: async (model, preprocessing) => {
      const { metrics } = await zeroShot({ model, preprocessing }, items, dataset, {
        device,
        ...(maximumSkipped === undefined ? {} : { maximumSkipped }),
      });
      const values = [metrics.acc1, metrics.acc5, metrics.mean_per_class_recall];
      return Object.fromEntries(measures.map((name, i) => [name, values[i]!]));
    },
  };
}
