/**
 * What makes L-BFGS quick on features whose directions differ by orders of magnitude, as those of image towers do.
 *
 * The Hessian of a class is the rows' outer products, each weighted by p (1 - p), plus the punishment. With the weights' mean in place
 * of each it has the eigenvectors of the Gram matrix, whatever class, C and point: these are computed once for a set of features, and the
 * inverse is two small products. L-BFGS, with that as the Hessian it begins with, needs a tenth of the iterations.
 *
 * Shapes: N rows, D features, K classes.
 */
import { Tensor, cat, noGrad, ops, scope, zeros } from "../../torch/index.ts";
import type { FeatureScaling } from "./softmax-objective.ts";

/** Share of a row's largest curvature that a class without any counts as having, so that the inverse is finite. */
const leastCurvature = 1e-9;

/** Rows whose products are summed in the features' own type before float64 takes over. */
const blockRows = 8192;

/** The eigenvectors of the centred, scaled Gram matrix. Owns tensors: dispose of it. */
export class GramPreconditioner {
  readonly #vectors: Tensor;
  readonly #values: Tensor;
  readonly #rows: number;

  /** @param features `[N, D]` */
  constructor(features: Tensor, { mean, scale }: FeatureScaling) {
    this.#rows = features.sizeOf(0);
    const [values, vectors] = noGrad(() =>
      scope(() => {
        const width = features.sizeOf(1);
        const gram_DD = zeros([width, width], { dtype: "float64", device: features.device });
        for (let at = 0; at < this.#rows; at += blockRows) {
          scope(() => {
            const block = features.slice(0, at, Math.min(this.#rows, at + blockRows));
            gram_DD.add_(block.t().matmul(block));
          });
        }
        const outer = (a: Tensor): Tensor => a.unsqueeze(1).mul(a);
        const centred = gram_DD.sub(outer(mean).mul(this.#rows)).div(outer(scale));
        return ops.linalgEigh(centred).map((tensor) => tensor.clone());
      }),
    ) as [Tensor, Tensor];
    this.#values = values.clamp_(0).keep();
    this.#vectors = vectors.keep();
  }

  /**
   * The approximate inverse Hessian as a function of gradients `[D + 1, K]`.
   * @param curvature `[K]` sum over rows of p (1 - p) of each class
   * @param penalty 1 / C
   */
  inverse(curvature: Tensor, penalty: number): { apply: (gradient: Tensor) => Tensor; dispose: () => void } {
    const width = this.#values.sizeOf(0);
    const { weights_DK, bias_K } = scope(() => {
      const bounded_K = curvature.clamp(leastCurvature * this.#rows);
      return {
        weights_DK: this.#values.unsqueeze(1).mul(bounded_K.div(this.#rows)).add(penalty),
        bias_K: bounded_K.clone(),
      };
    });
    for (const tensor of [weights_DK, bias_K]) tensor.keep();
    return {
      apply: (gradient) =>
        scope(() => {
          const rotated_DK = this.#vectors
            .t()
            .matmul(gradient.slice(0, 0, width))
            .div(weights_DK);
          return cat([this.#vectors.matmul(rotated_DK), gradient.slice(0, width).div(bias_K)]);
        }),
      dispose: () => [weights_DK, bias_K].forEach((tensor) => tensor.dispose()),
    };
  }

  dispose(): void {
    this.#vectors.dispose();
    this.#values.dispose();
  }
}
