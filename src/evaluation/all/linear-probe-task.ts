/** The linear probe as a task of `evaluateAll`: fitted to the training images, C chosen on the validation images, scored on the test images. */
import { UsageError, log } from "../../support/index.ts";
import { type ImageFeatureKind, type ImageFeatures, imageFeatures } from "../features/index.ts";
import {
  type ClassifierDescription,
  LinearClassifier,
  type ProbeOptions,
  type SgdOptions,
  fitProbe,
  probeMetrics,
  probeSettings,
  sgdProbe,
  sgdSettings,
} from "../linear-probe/index.ts";
import { itemName, itemsHash } from "../results/items-hash.ts";
import type { EvaluationResult } from "../results/result.ts";
import { preparationProtocol } from "./evaluated-model.ts";
import type { EvaluationTask, TaskPlan } from "./task-plan.ts";

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
  const { solver = "lbfgs", strength, classifier: folder } = options;
  const lbfgs = probeSettings(options);
  const { standardise } = lbfgs;
  const sgd = sgdSettings({ ...options.sgd, standardise });
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
      const preparation = preparationProtocol(model);
      if (kept !== undefined) {
        checkClassifier(folder!, kept, { model: model.hash, preparation, classes: dataset.classes });
        if (kept.fitted["dataset"] !== dataset.name) {
          log.warn(
            `${folder}: this classifier was fitted to ${kept.fitted["dataset"]}, and is applied to ${dataset.name}. Both call their classes alike; whether they mean the same by that is not known here.`,
          );
        }
      }
      const fitted = {
        solver,
        standardise,
        // Of the descent what was asked for: results have never said the rest, and are found again by what they say.
        ...(solver === "sgd"
          ? { ...options.sgd }
          : { C: strength ?? "chosen on validation images", maximumIterations: lbfgs.maximumIterations }),
        ...(validation.length > 0 || strength !== undefined || solver === "sgd" ? {} : { validationShare: lbfgs.validationShare }),
      };
      return {
        task: "linear-probe",
        dataset: dataset.name,
        protocol: {
          ...preparation,
          feature,
          ...(kept === undefined ? fitted : appliedProtocol(folder!, kept)),
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
            if (kept !== undefined) {
              const known = ["C", "weight_decay", "epochs", "converged"].filter((name) => kept.fitted[name] !== undefined);
              for (const name of known) found[name] = kept.fitted[name]!;
            }
            if (classifier === undefined) {
              const rows = await features("train", train);
              // Descent takes no part in the choice of C, and so needs no validation images.
              const chosenOn = validation.length === 0 || solver === "sgd" ? undefined : await features("validation", validation);
              if (solver === "sgd") {
                classifier = await sgdProbe(rows, dataset.classes.length, { ...sgd, seed, signal });
                Object.assign(found, { weight_decay: sgd.weightDecay, epochs: sgd.epochs });
                counts["fitted"] = rows.labels.length;
              } else {
                const settings = { ...lbfgs, strength, metric: dataset.metric, seed, signal };
                const probe = await fitProbe(rows, chosenOn, dataset.classes.length, settings);
                classifier = probe.classifier;
                // CLIP_benchmark calls the punishment of weights so, whichever its scale.
                // It has `epochs` too: an iteration of L-BFGS sees all rows once.
                const { strength: C, converged, iterations: epochs } = probe;
                Object.assign(found, { C, weight_decay: 1 / C, epochs, converged });
                Object.assign(counts, probe.counts);
              }
              const description: ClassifierDescription = {
                classes: [...dataset.classes],
                feature,
                model: model.hash,
                preparation,
                fitted: { dataset: dataset.name, ...fitted, ...found, seed },
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

/** What stands in the result of a classifier that was kept: how it was fitted, and to which data set. */
function appliedProtocol(
  folder: string,
  { hash, fitted: { dataset, ...fitted } }: ClassifierDescription & { hash: string },
): TaskPlan["protocol"] {
  return { classifier: folder, classifierHash: hash, fittedTo: dataset ?? null, ...fitted };
}

/** @throws UsageError when a classifier is of another model, of images that were prepared otherwise, or tells other classes apart */
function checkClassifier(
  folder: string,
  kept: ClassifierDescription,
  now: Pick<ClassifierDescription, "model" | "preparation" | "classes">,
): void {
  if (kept.model !== now.model) {
    throw new UsageError(`${folder}: this classifier was fitted to features of a model with other weights.`, {
      mend: "Give that model, or fit a classifier to this one (without --classifier).",
    });
  }
  const other = Object.keys({ ...now.preparation, ...kept.preparation }).find((name) => kept.preparation[name] !== now.preparation[name]);
  if (other !== undefined) {
    const said = (value: string | number | undefined): string => String(value ?? "unknown");
    const what =
      other === "description"
        ? "of a model with the same weights and another description (laclip.json)"
        : `of images with ${other} ${said(kept.preparation[other])}; here it is ${said(now.preparation[other])}`;
    throw new UsageError(`${folder}: this classifier was fitted to features ${what}.`, {
      mend: "Prepare images as it was fitted, or fit another classifier (without --classifier).",
    });
  }
  const wrong = now.classes.findIndex((name, label) => kept.classes[label] !== name);
  if (kept.classes.length === now.classes.length && wrong < 0) return;
  throw new UsageError(
    kept.classes.length === now.classes.length
      ? `${folder}: class ${wrong} is "${kept.classes[wrong]}" in this classifier and "${now.classes[wrong]}" in the data set.`
      : `${folder}: this classifier has ${kept.classes.length} classes, the data set ${now.classes.length}.`,
    { mend: "Give a data set with the classes that it was fitted to." },
  );
}
