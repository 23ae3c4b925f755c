/**
 * Multinomial logistic regression by L-BFGS (Nocedal and Wright, algorithm 7.4), as the linear probe of CLIP and its successors uses it.
 *
 * It finds what scikit-learn's `LogisticRegression` finds, for the same C: the sum of cross-entropies plus half the squared weights over C,
 * bias free. Two classes are no special case here, while scikit-learn gives them one vector of weights: the same classifier has
 * twice the C there.
 *
 * Shapes: N rows, D features, K classes.
 */
import { DataError, InterruptedError, UsageError } from "../../support/index.ts";
import { Tensor, scope, zeros } from "../../torch/index.ts";
import { GramPreconditioner } from "./gram-preconditioner.ts";
import { scalingOf } from "./feature-scaling.ts";
import { lineSearch } from "./line-search.ts";
import { type FeatureScaling, type LabelledFeatures, SoftmaxObjective } from "./softmax-objective.ts";

/** How a fit is made; `fitSettings` holds the defaults. */
export interface FitOptions {
  /**
   * Ends when what is still to be gained is estimated to be within this share of the value, or of what the weights have gained over a bias
   * alone where that is less.
   */
  tolerance?: number;
  /** Most iterations. */
  maximumIterations?: number;
  /** Pairs of steps and gradient changes that are remembered. */
  history?: number;
  /** Stops in the midst of an iteration. */
  signal?: AbortSignal | undefined;
}

/** The settings of a fit, with defaults for what is left open. */
export function fitSettings({ tolerance = 1e-7, maximumIterations = 1000, history = 10 }: FitOptions = {}): Required<
  Omit<FitOptions, "signal">
> {
  return { tolerance, maximumIterations, history };
}

/** Where a fit ended. */
export interface Fit {
  /** `[D + 1, K]` float64, for features after scaling; the bias last. The caller disposes of it. */
  readonly parameters: Tensor;
  /** The objective there. */
  readonly objective: number;
  readonly iterations: number;
  /** Evaluations of value and slope along a direction, of all iterations. */
  readonly evaluations: number;
  /** Whether the tolerance was reached, or rounding before it. */
  readonly converged: boolean;
}

/** Elements of features up to which products are taken in float64: it costs nothing there. */
const smallEnoughForDouble = 1 << 24;

/** Gain a row, in nats, below which features say nothing. */
const leastGain = 1e-7;

/** Change of the value a row, in nats, that is rounding: logarithms are taken in the type of the features. */
const rounding = { float64: 1e-16, float32: 3e-10 } as const;

/** Iterations in a row without a gain beyond rounding after which there is none to come. */
const idleIterations = 5;

/** Fits to the same rows, for one strength after another. Owns tensors: dispose of it. */
export class LogisticRegression {
  readonly #scaling: FeatureScaling;
  readonly #objective: SoftmaxObjective;
  readonly #preconditioner: GramPreconditioner;
  readonly #features: Tensor;
  readonly #classes: number;
  /** The least value without weights: what the frequencies of the classes leave open. */
  readonly #biasAlone: number;

  /**
   * @param data features float32 or float64; small ones are computed with in float64
   * @param standardise features divided by their deviation; one that never changes counts as it is. Default false
   * @throws DataError for a label outside of 0..K - 1, a feature that is not finite, or less than two classes among the labels
   */
  constructor({ features, labels }: LabelledFeatures, classes: number, { standardise = false }: { standardise?: boolean } = {}) {
    checkRows(features, labels, classes);
    this.#classes = classes;
    this.#biasAlone = uncertainty(labels, classes);
    this.#features = scope(() => features.to(features.size <= smallEnoughForDouble ? "float64" : features.dtype).detach()).keep();
    this.#scaling = scalingOf(this.#features, standardise);
    this.#preconditioner = new GramPreconditioner(this.#features, this.#scaling);
    this.#objective = new SoftmaxObjective({ features: this.#features, labels }, classes, this.#scaling, 1);
  }

  /** Mean and scale of the features that parameters refer to. */
  get scaling(): FeatureScaling {
    return this.#scaling;
  }

  /**
   * Finds the minimum for a strength.
   * @param strength C: the larger, the less the weights are punished
   * @param from parameters to start at; default zeros
   * @throws UsageError for a C that is not above 0; InterruptedError when stopped
   */
  async fit(strength: number, from?: Tensor, options: FitOptions = {}): Promise<Fit> {
    const { tolerance, maximumIterations, history } = fitSettings(options);
    const { signal } = options;
    if (!(strength > 0 && strength < Infinity)) throw new UsageError(`C must be a number above 0, got ${strength}.`);
    const objective = this.#objective;
    const start = from ?? zeros([this.#features.sizeOf(1) + 1, this.#classes], { dtype: "float64", device: this.#features.device });
    objective.reset(start, strength);
    if (from === undefined) start.dispose();
    const noise = rounding[this.#features.dtype === "float64" ? "float64" : "float32"] * objective.rows;
    const memory = new StepMemory(history);
    let [iterations, evaluations, idle, converged] = [0, 0, 0, false];
    let { gradient, curvature } = kept(objective.gradient());
    try {
      while (iterations < maximumIterations) {
        await heard(signal);
        const inverse = this.#preconditioner.inverse(curvature, 1 / strength);
        const direction = scope(() => memory.direction(gradient, inverse.apply)).keep();
        inverse.dispose();
        const slope = scope(() => direction.mul(gradient).sum().item());
        // Half of the slope is what the quadratic model still promises to gain. Against the value alone, small weights would be cut short:
        // with a small C, nearly all of the value is what no weights can change.
        const gained = Math.max(Math.min(objective.value, this.#biasAlone - objective.value), leastGain * objective.rows);
        converged = -slope / 2 <= tolerance * gained;
        if (converged || !(slope < 0)) {
          direction.dispose();
          break;
        }
        const at = objective.along(direction);
        const value = objective.value;
        const counted = (step: number): { value: number; slope: number } => {
          evaluations++;
          return at(step);
        };
        const trial = lineSearch(counted, { value, slope }, { noise, slope: 0.5 });
        if (trial === undefined) {
          // Nothing falls in this direction. Without what was remembered, one more is tried; then rounding is all that is left.
          direction.dispose();
          if (memory.empty) {
            converged = true;
            break;
          }
          memory.clear();
          continue;
        }
        objective.move(trial.step);
        await heard(signal, direction);
        const next = kept(objective.gradient());
        memory.add(direction, trial.step, gradient, next.gradient);
        for (const tensor of [direction, gradient, curvature]) tensor.dispose();
        ({ gradient, curvature } = next);
        iterations++;
        idle = value - trial.value > noise ? 0 : idle + 1;
        if (idle === idleIterations) {
          converged = true;
          break;
        }
      }
      return { parameters: objective.parameters.clone().keep(), objective: objective.value, iterations, evaluations, converged };
    } finally {
      gradient.dispose();
      curvature.dispose();
      memory.clear();
    }
  }

  dispose(): void {
    this.#objective.dispose();
    this.#preconditioner.dispose();
    for (const tensor of [this.#features, this.#scaling.mean, this.#scaling.scale]) tensor.dispose();
  }
}

/** The last steps and what they changed in the gradient. */
class StepMemory {
  readonly #pairs: { step: Tensor; change: Tensor; product: number }[] = [];
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  get empty(): boolean {
    return this.#pairs.length === 0;
  }

  add(direction: Tensor, length: number, before: Tensor, after: Tensor): void {
    const { step, change } = scope(() => ({ step: direction.mul(length).keep(), change: after.sub(before).keep() }));
    const product = scope(() => step.mul(change).sum().item());
    if (!(product > 0)) {
      step.dispose();
      change.dispose();
      return;
    }
    this.#pairs.push({ step, change, product });
    if (this.#pairs.length > this.#size) this.#drop();
  }

  /** The direction of descent: minus the inverse Hessian times the gradient. */
  direction(gradient: Tensor, inverse: (gradient: Tensor) => Tensor): Tensor {
    const dot = (a: Tensor, b: Tensor): number => a.mul(b).sum().item();
    const rest = gradient.clone();
    const shares: number[] = [];
    for (const { step, change, product } of this.#pairs.toReversed()) {
      const share = dot(step, rest) / product;
      rest.sub_(change.mul(share));
      shares.unshift(share);
    }
    const direction = inverse(rest);
    const last = this.#pairs.at(-1);
    if (last !== undefined) direction.mul_(last.product / dot(last.change, inverse(last.change)));
    for (const [i, { step, change, product }] of this.#pairs.entries()) {
      direction.add_(step, shares[i]! - dot(change, direction) / product);
    }
    return direction.neg();
  }

  clear(): void {
    while (this.#pairs.length > 0) this.#drop();
  }

  #drop(): void {
    const pair = this.#pairs.shift()!;
    pair.step.dispose();
    pair.change.dispose();
  }
}

/** Lets the process hear a signal: an iteration on many rows takes a while. @param held what is disposed of when it says to stop */
async function heard(signal: AbortSignal | undefined, ...held: readonly Tensor[]): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  if (!signal?.aborted) return;
  for (const tensor of held) tensor.dispose();
  throw new InterruptedError("Stopped while a classifier was fitted.", {
    mend: "Start the same command again: features that are kept are not made again, the fit begins anew.",
  });
}

function kept(tensors: { gradient: Tensor; curvature: Tensor }): { gradient: Tensor; curvature: Tensor } {
  return { gradient: tensors.gradient.keep(), curvature: tensors.curvature.keep() };
}

/** The sum over rows of the entropy of their labels, in nats. */
function uncertainty(labels: Int32Array, classes: number): number {
  const counts = new Float64Array(classes);
  for (const label of labels) counts[label]!++;
  return counts.reduce((sum, count) => sum + (count === 0 ? 0 : count * Math.log(labels.length / count)), 0);
}

function checkRows(features: Tensor, labels: Int32Array, classes: number): void {
  if (labels.length === 0) throw new DataError("There are no rows to fit a classifier to.");
  const wrong = labels.findIndex((label) => label < 0 || label >= classes);
  if (wrong >= 0) throw new DataError(`Row ${wrong} has label ${labels[wrong]}; with ${classes} classes, expected 0 to ${classes - 1}.`);
  if (new Set(labels).size < 2) throw new DataError("All rows are of one class: there is nothing to tell apart.");
  if (!Number.isFinite(scope(() => features.sum().item()))) {
    throw new DataError("A feature is not a finite number.", { mend: "Look for NaN in the model's weights, and make the features again." });
  }
}
