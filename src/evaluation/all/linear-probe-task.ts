/** The linear probe as a task of `evaluateAll`: fitted to the training images, C chosen on the validation images, scored on the test images. */
import { UsageError } from "../../support/index.ts";
import type { EvaluationDataset, SplitName } from "../datasets/index.ts";
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
import { type EvaluatedModel, preparationProtocol } from "./evaluated-model.ts";
import { type KeptClassifier, appliedProtocol, checkClassifier, foundWhenFitted, readKept } from "./kept-classifier.ts";
import type { EvaluationTask, TaskOutcome, TaskSettings } from "./task-plan.ts";

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
  const settings = resolve(options);
  const kept = options.classifier === undefined ? undefined : readKept(options.classifier);
  const feature = kept?.feature ?? settings.feature;
  return {
    name: "linear-probe",
    takes: "classification",
    splits: kept === undefined ? ["train", "validation", "test"] : ["test"],
    plan(model, dataset, shared) {
      if (dataset.task !== "classification") return "it has captions and no classes";
      const { train = [], validation = [], test = [] } = dataset.splits;
      if (test.length === 0) return "there are no test images";
      if (train.length === 0 && kept === undefined) return "there are no train images to fit a probe to";
      const preparation = preparationProtocol(model);
      if (kept !== undefined) checkClassifier(kept, { model: model.hash, preparation, dataset });
      const protocol = kept === undefined ? fittingProtocol(settings, validation.length > 0) : appliedProtocol(kept);
      const { device, maximumSkipped, seed } = shared;
      return {
        task: "linear-probe",
        dataset: dataset.name,
        protocol: { ...preparation, feature, ...protocol, maximumSkipped },
        mainMetric: dataset.metric === "acc1" ? "lp_acc1" : "lp_mean_per_class_recall",
        dataHash: itemsHash(kept === undefined ? [...train, ...validation, ...test] : test, dataset.path, dataset.classes),
        seed,
        root: dataset.path,
        writes: settings.save,
        classes: dataset.names.map((own, label) => own[0] ?? dataset.classes[label]!),
        async run() {
          const features = new SplitFeatures(model, dataset, feature, shared);
          let probe: Probe | undefined;
          try {
            probe = kept === undefined ? await fit(features, dataset, settings, shared) : loadKept(kept, device);
            if (settings.save !== undefined) {
              const fitted = { dataset: dataset.name, ...protocol, ...probe.found, seed };
              probe.classifier.save(settings.save, { classes: [...dataset.classes], feature, model: model.hash, preparation, fitted });
            }
            return await score(probe, features, dataset, seed);
          } finally {
            probe?.classifier.dispose();
            features.dispose();
          }
        },
      };
    },
  };
}

/** The options with what they leave open. @throws UsageError when they exclude each other */
function resolve(options: LinearProbeTaskOptions) {
  const { feature = "class-token", solver = "lbfgs", strength, sgd: asked = {}, save, classifier } = options;
  if (solver === "sgd" && strength !== undefined) throw new UsageError("C is a setting of L-BFGS; SGD has none.");
  if (classifier !== undefined && save !== undefined) throw new UsageError("A classifier that was kept is kept already.");
  const lbfgs = { ...probeSettings(options), strength };
  return { feature, solver, lbfgs, sgd: sgdSettings({ ...asked, standardise: lbfgs.standardise }), asked, save };
}

type Settings = ReturnType<typeof resolve>;

/** What stands in the result of a classifier that is fitted. */
function fittingProtocol({ solver, lbfgs, asked }: Settings, hasValidation: boolean): ClassifierDescription["fitted"] {
  const { standardise, strength, maximumIterations, validationShare } = lbfgs;
  // Of the descent what was asked for: results have never said the rest, and are found again by what they say.
  if (solver === "sgd") return { solver, standardise, ...asked };
  if (strength !== undefined) return { solver, standardise, C: strength, maximumIterations };
  const C = "chosen on validation images";
  return { solver, standardise, C, maximumIterations, ...(hasValidation ? {} : { validationShare }) };
}

/** A classifier, and what results say of how it came about. */
interface Probe {
  /** Whoever has the probe disposes of it. */
  readonly classifier: LinearClassifier;
  readonly found: EvaluationResult["metrics"];
  readonly counts: Record<string, number>;
}

function loadKept(kept: KeptClassifier, device: string): Probe {
  return { classifier: LinearClassifier.load(kept.folder, device).classifier, found: foundWhenFitted(kept), counts: {} };
}

async function fit(
  features: SplitFeatures,
  { classes: { length: classes }, splits, metric }: EvaluationDataset,
  { solver, lbfgs, sgd }: Settings,
  { seed, signal }: TaskSettings,
): Promise<Probe> {
  const rows = await features.of("train");
  if (solver === "sgd") {
    // It takes no part in the choice of C, and so needs no validation images.
    const classifier = await sgdProbe(rows, classes, { ...sgd, seed, signal });
    const { weightDecay: weight_decay, epochs } = sgd;
    return { classifier, found: { weight_decay, epochs }, counts: { fitted: rows.labels.length } };
  }
  const chosenOn = splits.validation?.length ? await features.of("validation") : undefined;
  const { classifier, counts, ...fitted } = await fitProbe(rows, chosenOn, classes, { ...lbfgs, metric, seed, signal });
  // CLIP_benchmark calls the punishment of weights so, whichever its scale.
  // It has `epochs` too: an iteration of L-BFGS sees all rows once.
  const { strength: C, converged, iterations: epochs } = fitted;
  return { classifier, found: { C, weight_decay: 1 / C, epochs, converged }, counts };
}

/** Scores a probe on the test images. */
async function score(
  { classifier, found, counts }: Probe,
  features: SplitFeatures,
  { classes, path, splits: { test = [] } }: EvaluationDataset,
  seed: number,
): Promise<TaskOutcome> {
  const rows = await features.of("test");
  const metrics = probeMetrics(classifier, rows);
  const images = Array.from(rows.rows, (row) => test[row]!);
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
    counts: { images: rows.labels.length, classes: classes.length, ...counts },
    skipped: features.skipped,
    classified: classifier.predict(rows).map((prediction, i) => ({ item: itemName(images[i]!.path, path), ...prediction })),
    images,
  };
}

/** Features of the splits of a data set, made when they are asked for. Owns them: dispose of it. */
class SplitFeatures {
  readonly #make: (split: SplitName) => Promise<ImageFeatures>;
  readonly #made: ImageFeatures[] = [];

  constructor(model: EvaluatedModel, { name, splits }: EvaluationDataset, kind: ImageFeatureKind, settings: TaskSettings) {
    const { batchSize, device, maximumSkipped, store, signal } = settings;
    const options = { kind, batchSize, device, maximumSkipped, store, signal };
    this.#make = (split) => imageFeatures(model, splits[split] ?? [], { ...options, name: `${name} ${split}` });
  }

  async of(split: SplitName): Promise<ImageFeatures> {
    const made = await this.#make(split);
    this.#made.push(made);
    return made;
  }

  /** Images that could not be read, of the splits up to now. */
  get skipped(): TaskOutcome["skipped"] {
    const count = this.#made.reduce((sum, { skipped }) => sum + skipped, 0);
    return { count, reasons: this.#made.flatMap(({ reasons }) => reasons).slice(0, 20) };
  }

  dispose(): void {
    for (const { features } of this.#made) features.dispose();
  }
}
