/** Zero-shot classification as a task of `evaluateAll`. */
import { sha256 } from "../../support/index.ts";
import { itemsHash } from "../results/items-hash.ts";
import { classifiedItems } from "../results/outcomes.ts";
import { zeroShot } from "../zero-shot.ts";
import { preparationProtocol } from "./evaluated-model.ts";
import type { EvaluationTask } from "./task-plan.ts";

export const zeroShotTask: EvaluationTask = {
  name: "zero-shot",
  takes: "classification",
  splits: ["test"],
  plan(model, dataset, { batchSize, device, maximumSkipped }) {
    if (dataset.task !== "classification") return "it has captions and no classes";
    const items = dataset.splits.test ?? [];
    if (items.length === 0) return "there are no test images";
    const { names, templates, words, path, classes } = dataset;
    const several = dataset.several ?? "mean";
    return {
      task: "zero-shot",
      dataset: dataset.name,
      protocol: {
        ...preparationProtocol(model),
        words,
        templates: templates.length,
        prompts: sha256(JSON.stringify([names, templates, several])).slice(0, 16),
        maximumSkipped,
      },
      mainMetric: dataset.metric,
      dataHash: itemsHash(items, path, classes),
      root: path,
      classes: names.map((own, label) => own[0] ?? classes[label]!),
      async run() {
        const result = await zeroShot(
          model,
          items,
          { names, templates, ...(dataset.several === undefined ? {} : { several: dataset.several }) },
          { batchSize, device, maximumSkipped },
        );
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
  },
};
