/** The linear probe as a task of `evaluateAll`: fitted to the training images, C chosen on the validation images, scored on the test images. */
import { UsageError } from "../../support/index.ts";
import { type ImageFeatureKind, type ImageFeatures, imageFeatures } from "../features/index.ts";
import {
  type ClassifierDescription,
  LinearClassifier,
  type ProbeOptions,
  type SgdOptions,
  fitProbe,
  probeMetrics,
  sgdProbe,
} from "../linear-probe/index.ts";
import { itemName, itemsHash } from "../results/items-hash.ts";
import type { EvaluationResult } from "../results/result.ts";
import { preparationProtocol } from "./evaluated-model.ts";
import type { EvaluationTask } from "./task-plan.ts";

/** Settings of the task. */
export interface LinearProbeTaskOptions extends Omit<ProbeOptions, "seed" | "signal" | "metric" | "tolerance" | "history"> {
  /** Default "class-token". */
  feature?: ImageFeatureKind;
  /** How weights are fitted. Default "lbfgs"; "sgd" for training sets of ImageNet's size. */
  solver?: "lbfgs" | "sgd";
  /** Numbers of "sgd". */
  sgd?: Omit<SgdOptions, "seed" | "standardise" | "signal">;
  /** Folder for the classifier. Default: it is not kept. */
  save?: string | undefined;
  /** Folder of a classifier that was kept: it is scored, and nothing is fitted. */
  classifier?: string | undefined;
}

/** The task with these settings. @throws UsageError when they exclude each other */
export function linearProbeTask(options: LinearProbeTaskOptions = {}): EvaluationTask {
  const { solver = "lbfgs", standardise = false, validationShare = 0.2, maximumIterations = 1000, strength, classifier: folder } = options;
  if (solver === "sgd" && strength !== undefined) throw new UsageError("C is a setting of L-BFGS; SGD has none.");
  if (folder !== undefined && options.save !== undefined) throw new UsageError("A classifier that was kept is kept already.");
  const kept = folder === undefined ? undefined : describe(folder);
  const feature = kept?.feature ?? options.feature ?? "class-token";
  return {
    name: "linear-probe",
    takes: "classification",
    splits: folder === undefined ? ["train", "validation", "test"] : ["test"],
    plan(model, dataset, { batchSize, device, maximumSkipped, seed, store, signal }) {
      if (dataset.task !== "classification") return "it has captions and no classes";
      const { train = [], validation = [], test = [] } = dataset.splits;
      if (test.length === 0) return "there are no test images";
      if (train.length === 0 && kept === undefined) return "there are no train images to fit a probe to";
      if (kept !== undefined) checkClassifier(folder!, kept, model.hash, dataset.classes);
      const fitted = {
        solver,
        standardise,
        ...(solver === "sgd" ? { ...options.sgd } : { C: strength ?? "chosen on validation images", maximumIterations }),
        ...(validation.length > 0 || strength !== undefined || solver === "sgd" ? {} : { validationShare }),
      };
      return {
        task: "linear-probe",
        dataset: dataset.name,
        protocol: {
          ...preparationProtocol(model),
          feature,
          ...(kept === undefined ? fitted : { classifier: folder!, classifierHash: kept.hash, ...kept.fitted }),
          maximumSkipped,
        },
        mainMetric: dataset.metric === "acc1" ? "lp_acc1" : "lp_mean_per_class_recall",
        dataHash: itemsHash(kept === undefined ? [...train, ...validation, ...test] : test, dataset.path, dataset.classes),
        seed,
        root: dataset.path,
        writes: options.save,
        classes: dataset.names.map((own, label) => own[0] ?? dataset.classes[label]!),
        async run() {
          const made: ImageFeatures[] = [];
          const features = async (split: string, items: typeof test): Promise<ImageFeatures> => {
            const settings = { kind: feature, batchSize, device, maximumSkipped, store, signal, name: `${dataset.name} ${split}` };
            const own = await imageFeatures(model, items, settings);
            made.push(own);
            return own;
          };
          let classifier = folder === undefined ? undefined : LinearClassifier.load(folder, device).classifier;
          try {
            const found: EvaluationResult["metrics"] = {};
            const counts: Record<string, number> = {};
            if (classifier === undefined) {
              const rows = await features("train", train);
              // Descent takes no part in the choice of C, and so needs no validation images.
              const chosenOn = validation.length === 0 || solver === "sgd" ? undefined : await features("validation", validation);
              if (solver === "sgd") {
                classifier = await sgdProbe(rows, dataset.classes.length, { ...options.sgd, seed, standardise, signal });
                Object.assign(found, { weight_decay: options.sgd?.weightDecay ?? 0, epochs: options.sgd?.epochs ?? 90 });
                counts["fitted"] = rows.labels.length;
              } else {
                const probe = await fitProbe(rows, chosenOn, dataset.classes.length, { ...options, metric: dataset.metric, seed, signal });
                classifier = probe.classifier;
                // CLIP_benchmark calls the punishment of weights so, whichever its scale.
                Object.assign(found, { C: probe.strength, weight_decay: 1 / probe.strength, converged: probe.converged });
                Object.assign(counts, probe.counts);
              }
              const description: ClassifierDescription = {
                classes: [...dataset.classes],
                feature,
                model: model.hash,
                fitted: { dataset: dataset.name, ...fitted, ...("C" in found ? { C: found["C"] } : {}), seed },
              };
              if (options.save !== undefined) classifier.save(options.save, description);
            }
            const rows = await features("test", test);
            const metrics = probeMetrics(classifier, rows);
            const classified = classifier
              .predict(rows)
              .map((prediction, i) => ({ item: itemName(test[rows.rows[i]!]!.path, dataset.path), ...prediction }));
            return {
              metrics: {
                lp_acc1: metrics.acc1,
                lp_acc5: metrics.acc5,
                lp_mean_per_class_recall: metrics.mean_per_class_recall,
                ...found,
                seed,
                fewshot_k: -1,
                normalized: false,
              },
              counts: { images: rows.labels.length, classes: dataset.classes.length, ...counts },
              skipped: {
                count: made.reduce((sum, { skipped }) => sum + skipped, 0),
                reasons: made.flatMap(({ reasons }) => reasons).slice(0, 20),
              },
              classified,
              images: Array.from(rows.rows, (row) => test[row]!),
            };
          } finally {
            classifier?.dispose();
            for (const { features: tensor } of made) tensor.dispose();
          }
        },
      };
    },
  };
}

function describe(folder: string): ClassifierDescription & { hash: string } {
  const { classifier, description, hash } = LinearClassifier.load(folder);
  classifier.dispose();
  return { ...description, hash };
}

/** @throws UsageError when a classifier is of another model, or tells other classes apart */
function checkClassifier(folder: string, { model, classes }: ClassifierDescription, hash: string, expected: readonly string[]): void {
  if (model !== hash) {
    throw new UsageError(`${folder}: this classifier was fitted to features of a model with other weights.`, {
      mend: "Give that model, or fit a classifier to this one (without --classifier).",
    });
  }
  const wrong = expected.findIndex((name, label) => classes[label] !== name);
  if (classes.length === expected.length && wrong < 0) return;
  throw new UsageError(
    classes.length === expected.length
      ? `${folder}: class ${wrong} is "${classes[wrong]}" in this classifier and "${expected[wrong]}" in the data set.`
      : `${folder}: this classifier has ${classes.length} classes, the data set ${expected.length}.`,
    { mend: "Give the data set that it was fitted to." },
  );
}
