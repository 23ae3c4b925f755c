/** Zero-shot classification of a labelled folder while a model trains: what `laclip evaluate zero-shot` says of it, along the way. */
import { type LabelledFolder, openLabelledFolder } from "../data/index.ts";
import { ownWords, protocolOf, zeroShot } from "../evaluation/index.ts";
import type { Evaluator } from "../training/index.ts";

/** On what, and how often, classification is measured along the way. */
export interface ZeroShotEvaluatorOptions {
  /** A folder for each class, see `openLabelledFolder`. */
  folder: string;
  /** Steps between evaluations; there is always one after the last step. */
  everySteps: number;
  /** File with the names of the classes. Default: as the folder says. */
  classes?: string | undefined;
  /** Share of images that may be unreadable. Default 0.01. */
  maximumSkipped?: number | undefined;
  device?: string;
}

const measures = ["val/zero-shot-top1", "val/zero-shot-top5", "val/zero-shot-mean-per-class"] as const;

/** @throws DataError when the folder holds no classes with images; it is looked at now, not hours later */
export function zeroShotEvaluator({ folder, everySteps, classes, maximumSkipped, device = "cpu" }: ZeroShotEvaluatorOptions): Evaluator {
  const { items, folders, names, templates }: LabelledFolder = openLabelledFolder(folder, { classes });
  return {
    everySteps,
    measures,
    evaluate: async (model, preprocessing) => {
      const options = { device, ...(maximumSkipped === undefined ? {} : { maximumSkipped }) };
      const words = ownWords(folders, { names, templates }, protocolOf(preprocessing));
      const { metrics } = await zeroShot({ model, preprocessing }, items, words, options);
      const values = [metrics.acc1, metrics.acc5, metrics.mean_per_class_recall];
      return Object.fromEntries(measures.map((name, i) => [name, values[i]!]));
    },
  };
}
