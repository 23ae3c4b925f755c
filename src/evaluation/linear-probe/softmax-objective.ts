/**
 * The objective of multinomial logistic regression on fixed features, as an optimiser sees it: the sum of the rows' cross-entropies
 * plus half the squared weights over C. The bias is not punished. This is scikit-learn's objective.
 *
 * The logits of all rows are kept, and those of a direction beside them. As both are linear, a trial along the direction costs no matrix
 * product: an iteration has one for the logits of the direction and one for the gradient, however many steps are tried.
 *
 * Rows are taken as (x - mean) / scale without being copied: scale and mean are moved into the weights. Sums over rows are float64;
 * products have the features' own type.
 *
 * Shapes: N rows, D features, K classes; parameters `[D + 1, K]` float64, the bias last.
 */
import { invariant } from "../../support/index.ts";
import { Tensor, cat, noGrad, ops, scope, zeros } from "../../torch/index.ts";

/** Elements of a block of rows of logits: few enough for the processor's cache, many enough for all its cores. */
const blockElements = 1 << 19;

/** The rows that a classifier is fitted to. */
export interface LabelledFeatures {
  /** `[N, D]` float32 or float64. */
  readonly features: Tensor;
  /** `[N]`, 0 to K - 1. */
  readonly labels: Int32Array;
}

/** Where the features' zero and unit are, `[D]` float64 each. */
export interface FeatureScaling {
  readonly mean: Tensor;
  readonly scale: Tensor;
}

interface Block {
  readonly features: Tensor;
  readonly labels: Tensor;
  logits: Tensor;
  direction: Tensor | undefined;
  probabilities: Tensor | undefined;
}

/** The objective at a point that moves. Owns tensors: dispose of it. */
export class SoftmaxObjective {
  readonly #scaling: FeatureScaling;
  readonly #blocks: Block[] = [];
  readonly #rows: number;
  readonly #classes: number;
  #penalty: number;
  #parameters: Tensor;
  #direction: Tensor | undefined;
  /** Step length whose probabilities the blocks hold; undefined when they hold none. */
  #probabilitiesAt: number | undefined;
  /** The last trial: most often the one that is moved to. */
  #tried: { step: number; value: number } | undefined;
  #value: number | undefined;

  /** @param strength C: how little the weights are punished */
  constructor({ features, labels }: LabelledFeatures, classes: number, scaling: FeatureScaling, strength: number) {
    const [rows, width] = features.shape as [number, number];
    invariant(rows === labels.length && rows > 0, `${rows} rows of features for ${labels.length} labels`);
    this.#rows = rows;
    this.#classes = classes;
    this.#scaling = scaling;
    this.#penalty = 1 / strength;
    this.#parameters = zeros([width + 1, classes], { dtype: "float64", device: features.device }).keep();
    const size = Math.max(64, Math.floor(blockElements / classes));
    for (let at = 0; at < rows; at += size) {
      const end = Math.min(rows, at + size);
      scope(() => {
        const labels_N1 = Tensor.from(labels.subarray(at, end), [end - at, 1], { device: features.device }).to("int64");
        const logits = zeros([end - at, classes], { dtype: features.dtype, device: features.device });
        this.#blocks.push({
          features: features.slice(0, at, end).keep(),
          labels: labels_N1.keep(),
          logits: logits.keep(),
          direction: undefined,
          probabilities: undefined,
        });
      });
    }
  }

  /** `[D + 1, K]` float64, as they are now. */
  get parameters(): Tensor {
    return this.#parameters;
  }

  /** The objective where the parameters are. */
  get value(): number {
    return (this.#value ??= this.#evaluate(0).value);
  }

  /** Goes to other parameters, and to another strength. */
  reset(parameters: Tensor, strength: number): void {
    scope(() => {
      this.#dropDirection();
      this.#dropProbabilities();
      this.#penalty = 1 / strength;
      this.#parameters.copy_(parameters);
      this.#value = undefined;
      this.#project(this.#parameters, (block, logits) => {
        block.logits.dispose();
        block.logits = logits;
      });
    });
  }

  /**
   * Gradient `[D + 1, K]` and curvature `[K]` (sum over rows of p (1 - p) of each class), float64.
   * Afterwards the probabilities are gone.
   */
  gradient(): { gradient: Tensor; curvature: Tensor } {
    return noGrad(() =>
      scope(() => {
        if (this.#probabilitiesAt !== 0) this.#evaluate(0);
        const [width] = this.#scaling.mean.shape as [number];
        const device = this.#parameters.device;
        const products_DK = zeros([width, this.#classes], { dtype: "float64", device });
        const residuals_K = zeros([this.#classes], { dtype: "float64", device });
        const curvature_K = zeros([this.#classes], { dtype: "float64", device });
        for (const block of this.#blocks) {
          scope(() => {
            const p_NK = block.probabilities!;
            curvature_K.add_(p_NK.sub(p_NK.mul(p_NK)).sum(0));
            ops.scatterAdd_(p_NK, 1, block.labels, ops.onesLike(block.labels, p_NK.dtype).neg());
            residuals_K.add_(p_NK.sum(0));
            products_DK.add_(block.features.t().matmul(p_NK));
          });
        }
        this.#dropProbabilities();
        const { mean, scale } = this.#scaling;
        const weights_DK = products_DK.sub(mean.unsqueeze(1).mul(residuals_K)).div(scale.unsqueeze(1));
        const punished_DK = weights_DK.add(this.#parameters.slice(0, 0, width), this.#penalty);
        return { gradient: cat([punished_DK, residuals_K.unsqueeze(0)]), curvature: curvature_K };
      }),
    );
  }

  /** Looks along a direction `[D + 1, K]` float64. @returns value and slope at a step length */
  along(direction: Tensor): (step: number) => { value: number; slope: number } {
    this.#dropDirection();
    this.#direction = direction.clone().keep();
    this.#project(this.#direction, (block, logits) => (block.direction = logits));
    return (step) => this.#evaluate(step);
  }

  /** Moves along the direction. */
  move(step: number): void {
    scope(() => {
      invariant(this.#direction !== undefined, "move without a direction");
      this.#parameters.add_(this.#direction, step);
      for (const block of this.#blocks) block.logits.add_(block.direction!, step);
    });
    if (this.#probabilitiesAt === step) this.#probabilitiesAt = 0;
    else this.#dropProbabilities();
    this.#value = this.#tried?.step === step ? this.#tried.value : undefined;
    this.#dropDirection();
  }

  dispose(): void {
    this.#dropDirection();
    this.#dropProbabilities();
    for (const { features, labels, logits } of this.#blocks) for (const tensor of [features, labels, logits]) tensor.dispose();
    this.#blocks.length = 0;
    this.#parameters.dispose();
  }

  /** Logits of every block for parameters `[D + 1, K]`. */
  #project(parameters: Tensor, take: (block: Block, logits: Tensor) => void): void {
    noGrad(() =>
      scope(() => {
        const { mean, scale } = this.#scaling;
        const [width] = mean.shape as [number];
        const weights_DK = parameters.slice(0, 0, width).div(scale.unsqueeze(1));
        const shift_K = parameters.select(0, width).sub(mean.unsqueeze(0).matmul(weights_DK).squeeze(0));
        const dtype = this.#blocks[0]!.features.dtype;
        const [weights, shift] = [weights_DK.to(dtype).contiguous(), shift_K.to(dtype)];
        for (const block of this.#blocks) scope(() => take(block, ops.addmm(shift, block.features, weights).keep()));
      }),
    );
  }

  #evaluate(step: number): { value: number; slope: number } {
    this.#dropProbabilities();
    return noGrad(() =>
      scope(() => {
        let [value, slope] = [0, 0];
        for (const block of this.#blocks) {
          const [blockValue, blockSlope] = scope((): [number, number] => {
            const { direction, labels } = block;
            const moved = direction === undefined || step === 0 ? block.logits : ops.addTensor(block.logits, direction, step);
            const logs_NK = moved.logSoftmax(1);
            const loss = -ops.gather(logs_NK, 1, labels).to("float64").sum().item();
            const p_NK = ops.exp_(logs_NK);
            block.probabilities = p_NK.keep();
            if (direction === undefined) return [loss, 0];
            const expected = p_NK.mul(direction).sum(1).to("float64").sum().item();
            return [loss, expected - ops.gather(direction, 1, labels).to("float64").sum().item()];
          });
          value += blockValue;
          slope += blockSlope;
        }
        const width = this.#scaling.mean.sizeOf(0);
        const weights = this.#parameters.slice(0, 0, width);
        const along = this.#direction?.slice(0, 0, width);
        const dot = (a: Tensor, b: Tensor): number => a.mul(b).sum().item();
        const [own, mixed, square] = along
          ? [dot(weights, weights), dot(weights, along), dot(along, along)]
          : [dot(weights, weights), 0, 0];
        this.#probabilitiesAt = step;
        const whole = value + this.#penalty * (own / 2 + step * mixed + (step * step * square) / 2);
        this.#tried = { step, value: whole };
        return { value: whole, slope: slope + this.#penalty * (mixed + step * square) };
      }),
    );
  }

  #dropDirection(): void {
    this.#tried = undefined;
    for (const block of this.#blocks) {
      block.direction?.dispose();
      block.direction = undefined;
    }
    this.#direction?.dispose();
    this.#direction = undefined;
  }

  #dropProbabilities(): void {
    for (const block of this.#blocks) {
      block.probabilities?.dispose();
      block.probabilities = undefined;
    }
    this.#probabilitiesAt = undefined;
  }

  /** Rows that the objective is over. */
  get rows(): number {
    return this.#rows;
  }
}
