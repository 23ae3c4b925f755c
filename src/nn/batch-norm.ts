/**
 * Batch normalisation of rows, with the mean and variance of the whole batch, whatever number of processes it is spread over.
 *
 * There are no running means: what is normalised here is used in training only.
 */
import { Tensor, ones, ops, scope, zeros } from "../torch/index.ts";
import { type FeatureGroup, alone } from "./feature-group.ts";
import { Module } from "./module.ts";

/** Each column of `[batch, width]` to mean 0 and variance 1 over the batch of all processes, then scaled and shifted; in float32. */
export class BatchNorm extends Module {
  /** `[width]` */
  readonly weight: Tensor;
  /** `[width]` */
  readonly bias: Tensor;
  readonly #eps: number;

  constructor(width: number, { eps = 1e-5 }: { eps?: number } = {}) {
    super();
    this.#eps = eps;
    this.weight = this.parameter("weight", ones([width]));
    this.bias = this.parameter("bias", zeros([width]));
  }

  /** `[rows, width]` -> `[rows, width]` float32; every rank of `group` has as many rows, at least two in all */
  forward(x: Tensor, group: FeatureGroup = alone): Tensor {
    return scope(() => {
      const wide = ops.toDtype(x, "float32");
      if (group.ranks === 1) return ops.batchNorm(wide, this.weight, this.bias, null, null, true, 0, this.#eps, true);
      // The mean of the ranks' means, then of their squares around it: subtracting squares of means would lose digits.
      const mean = group.gather(wide.mean(0, true)).mean(0, true);
      const centred = wide.sub(mean);
      const variance = group.gather(centred.mul(centred).mean(0, true)).mean(0, true);
      return centred.div(variance.add(this.#eps).sqrt()).mul(this.weight).add(this.bias);
    });
  }
}
