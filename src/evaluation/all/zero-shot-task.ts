/** Zero-shot classification as a task: what its number depends on, and how it is run. */
import { sha256 } from "../../support/index.ts";
import { type EvaluationDataset, type SplitName, splitItems } from "../datasets/index.ts";
import { itemsHash } from "../results/items-hash.ts";
import { classifiedItems } from "../results/outcomes.ts";
import { zeroShot } from "../zero-shot.ts";
import { preparationProtocol } from "./evaluated-model.ts";
import type { EvaluatedModel } from "./evaluated-model.ts";
import type { EvaluationTask, TaskPlan, TaskSettings } from "./task-plan.ts";

/** Zero-shot classification of the test split, for `laclip evaluate all`. */
export const zeroShotTask: EvaluationTask = {
  name: "zero-shot",
  takes: "classification",
  splits: ["test"],
  plan(model, dataset, settings) {
    if (dataset.task !== "classification") return "it has captions and no classes";
    if ((dataset.splits.test ?? []).length === 0) return "there are no test images";
    return zeroShotPlan(model, dataset, settings);
  },
};

/**
 * Plans it on a split, by default that for testing; another is part of the data set's name in the result.
 * @throws DataError when the split has no images
 */
export function zeroShotPlan(
  model: EvaluatedModel,
  dataset: EvaluationDataset,
  settings: Omit<TaskSettings, "seed">,
  split: SplitName = "test",
): TaskPlan {
  const items = splitItems(dataset, split);
  const { names, templates, several = "mean", words, path, classes } = dataset;
  return {
    task: "zero-shot",
    dataset: split === "test" ? dataset.name : `${dataset.name}-${split}`,
    protocol: {
      ...preparationProtocol(model),
      words,
      templates: templates.length,
      prompts: sha256(JSON.stringify([names, templates, several])).slice(0, 16),
      maximumSkipped: settings.maximumSkipped,
    },
    mainMetric: dataset.metric,
    dataHash: itemsHash(items, path, classes),
    root: path,
    classes: names.map((own, label) => own[0] ?? classes[label]!),
    async run() {
      const result = await zeroShot(model, items, { names, templates, several }, { ...settings, name: `${dataset.name} ${split}` });
      return {
        metrics: { ...result.metrics },
        counts: { images: result.predictions.length, classes: names.length },
        skipped: { count: result.skipped, reasons: result.reasons },
        logitScale: result.logitScale,
        classified: classifiedItems(result.predictions, path),
        images: result.predictions.map(({ row }) => items[row]!),
      };
    },
  };
}
