/**
 * The linear probe: how well a linear classifier on frozen features tells classes apart (CLIP and its successors; Fan et al. 2023).
 *
 * L-BFGS logistic regression; C is chosen on validation images, coarse and then fine, and the classifier is fitted again to the training and
 * validation images together. Without validation images, a part of the training images of each class is held out, drawn by a seed.
 *
 * Shapes: N rows, D features, K classes.
 */
import { DataError, Random, UsageError, log, percent } from "../../support/index.ts";
import { Tensor, cat, scope } from "../../torch/index.ts";
import { type ClassificationMetrics, classificationMetrics } from "../metrics.ts";
import { LinearClassifier } from "./linear-classifier.ts";
import { type Fit, type FitOptions, LogisticRegression, fitSettings } from "./logistic-regression.ts";
import type { LabelledFeatures } from "./softmax-objective.ts";
import { type SweepPoint, strengthSweep } from "./strength-sweep.ts";

/** How a probe is fitted; `probeSettings` holds the defaults. */
export interface ProbeOptions extends FitOptions {
  /** C; default: chosen on validation images. */
  strength?: number | undefined;
  /** The score by which C is chosen. */
  metric?: keyof ClassificationMetrics;
  /** Features divided by their deviation over the rows that are fitted to. */
  standardise?: boolean;
  /** Share of each class's training images that is held out where there are no validation images, 0..1. */
  validationShare?: number;
  /** What is held out. */
  seed?: number;
}

/** The settings of a probe, with defaults for what is left open. */
export function probeSettings(options: ProbeOptions = {}): Required<Omit<ProbeOptions, "strength" | "signal">> {
  const { metric = "acc1", standardise = false, validationShare = 0.2, seed = 0 } = options;
  return { ...fitSettings(options), metric, standardise, validationShare, seed };
}

/** A fitted probe. */
export interface FittedProbe {
  /** The caller disposes of it. */
  readonly classifier: LinearClassifier;
  readonly strength: number;
  /** What C was chosen from; empty where it was given. */
  readonly sweep: SweepPoint[];
  /** Rows that were fitted to in the search, rows that C was chosen on, and rows of the last fit. */
  readonly counts: { train: number; validation: number; fitted: number };
  /** Whether the validation rows are a part of the training rows. */
  readonly heldOut: boolean;
  /** The last fit. */
  readonly objective: number;
  readonly iterations: number;
  readonly converged: boolean;
}

/**
 * Fits a probe.
 * @param validation rows that C is chosen on; undefined to hold out a part of `train`
 * @throws DataError for rows that make no probe (one class, labels out of range, features that are not finite); InterruptedError when stopped
 */
export async function fitProbe(
  train: LabelledFeatures,
  validation: LabelledFeatures | undefined,
  classes: number,
  options: ProbeOptions = {},
): Promise<FittedProbe> {
  const { strength } = options;
  const { standardise } = probeSettings(options);
  if (strength !== undefined) {
    const all = scope(() => joinRows(train, validation));
    try {
      const counts = { train: all.labels.length, validation: 0, fitted: all.labels.length };
      return { ...(await fitOnce(all, classes, strength, undefined, standardise, options)), sweep: [], counts, heldOut: false };
    } finally {
      if (validation !== undefined) all.features.dispose();
    }
  }
  const parts = validation === undefined ? holdOut(train, options) : { train, validation };
  try {
    const { best, sweep, parameters } = await search(parts, classes, options);
    const all = scope(() => (validation === undefined ? train : joinRows(train, validation)));
    try {
      const counts = { train: parts.train.labels.length, validation: parts.validation.labels.length, fitted: all.labels.length };
      // Weights refer to features after scaling: where that is another now, those of the search are no place to start.
      const from = standardise ? undefined : parameters;
      return { ...(await fitOnce(all, classes, best, from, standardise, options)), sweep, counts, heldOut: validation === undefined };
    } finally {
      parameters.dispose();
      if (all.features !== train.features) all.features.dispose();
    }
  } finally {
    if (validation === undefined) for (const { features } of Object.values(parts)) features.dispose();
  }
}

async function fitOnce(
  rows: LabelledFeatures,
  classes: number,
  strength: number,
  from: Tensor | undefined,
  standardise: boolean,
  options: FitOptions,
): Promise<Pick<FittedProbe, "classifier" | "strength" | "objective" | "iterations" | "converged">> {
  const regression = new LogisticRegression(rows, classes, { standardise });
  try {
    const { parameters, objective, iterations, converged } = await regression.fit(strength, from, options);
    const classifier = LinearClassifier.fromScaled(parameters, regression.scaling);
    parameters.dispose();
    return { classifier, strength, objective, iterations, converged };
  } finally {
    regression.dispose();
  }
}

/** Scores every strength that is tried, each fit beginning where that of the nearest strength ended. */
async function search(
  { train, validation }: { train: LabelledFeatures; validation: LabelledFeatures },
  classes: number,
  options: ProbeOptions,
): Promise<{ best: number; sweep: SweepPoint[]; parameters: Tensor }> {
  const { metric, standardise } = probeSettings(options);
  const regression = new LogisticRegression(train, classes, { standardise });
  const fits = new Map<number, Fit>();
  try {
    const { best, tried } = await strengthSweep(async (strength) => {
      const distance = (other: number): number => Math.abs(Math.log(other / strength));
      const nearest = [...fits.keys()].sort((a, b) => distance(a) - distance(b))[0];
      const fit = await regression.fit(strength, nearest === undefined ? undefined : fits.get(nearest)!.parameters, options);
      fits.set(strength, fit);
      const classifier = LinearClassifier.fromScaled(fit.parameters, regression.scaling);
      const score = probeMetrics(classifier, validation)[metric];
      classifier.dispose();
      log.info(`C = ${strength.toPrecision(3)}: ${percent(score, 2)} of the validation images, ${fit.iterations} iterations`);
      return score;
    });
    return { best: best.strength, sweep: tried, parameters: fits.get(best.strength)!.parameters.clone().keep() };
  } finally {
    for (const { parameters } of fits.values()) parameters.dispose();
    regression.dispose();
  }
}

/** Scores of a classifier on some rows. */
export function probeMetrics(classifier: LinearClassifier, rows: LabelledFeatures): ClassificationMetrics {
  const predictions = classifier.predict(rows);
  return classificationMetrics(
    predictions.map(({ label, guesses }) => ({ label, ranked: guesses })),
    classifier.classes,
  );
}

function joinRows(a: LabelledFeatures, b: LabelledFeatures | undefined): LabelledFeatures {
  if (b === undefined) return a;
  const labels = new Int32Array(a.labels.length + b.labels.length);
  labels.set(a.labels);
  labels.set(b.labels, a.labels.length);
  return { features: cat([a.features, b.features]).keep(), labels };
}

/** A seeded part of each class's rows for validation, the rest for training. At least one of a class; a class of one row stays in training. */
function holdOut(rows: LabelledFeatures, options: ProbeOptions): { train: LabelledFeatures; validation: LabelledFeatures } {
  const { validationShare, seed } = probeSettings(options);
  if (!(validationShare > 0 && validationShare < 1))
    throw new UsageError(`A share of ${validationShare} to hold out: expected more than 0 and less than 1.`);
  const ofClass = new Map<number, number[]>();
  rows.labels.forEach((label, row) => {
    const own = ofClass.get(label) ?? [];
    ofClass.set(label, own);
    own.push(row);
  });
  const held = new Uint8Array(rows.labels.length);
  for (const [label, own] of ofClass) {
    const order = Random.of(seed, "held out", label).permutation(own.length);
    const count = Math.min(own.length - 1, Math.max(1, Math.round(validationShare * own.length)));
    for (const at of order.subarray(0, count)) held[own[at]!] = 1;
  }
  const take = (value: number): LabelledFeatures =>
    scope(() => {
      const index = Int32Array.from([...held.keys()].filter((row) => held[row] === value));
      if (index.length === 0) {
        throw new DataError("The classes have too few images for a part of them to be held out.", {
          mend: "Give C (--strength), or validation images.",
        });
      }
      const features = rows.features.indexSelect(0, Tensor.from(index, [index.length], { device: rows.features.device }));
      return { features: features.keep(), labels: index.map((row) => rows.labels[row]!) };
    });
  return { train: take(0), validation: take(1) };
}
