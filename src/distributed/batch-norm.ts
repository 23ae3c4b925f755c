/**
 * Batch normalisation over the batch of all ranks (Ioffe & Szegedy 2015): what one process with the whole batch would compute, forward
 * and backward.
 */
import { type Tensor, noGrad, scope } from "../torch/index.ts";
import type { ProcessGroup } from "./process-group.ts";

/** Shapes: N rows of each rank, the same number on all; C channels. */
export interface BatchNormInput {
  /** `[N, C]` float32 */
  x: Tensor;
  /** `[C]`; default 1. */
  weight?: Tensor | undefined;
  /** `[C]`; default 0. */
  bias?: Tensor | undefined;
  /** `[C]`; moves towards the batch's mean. */
  runningMean?: Tensor | undefined;
  /** `[C]`; moves towards the batch's unbiased variance. */
  runningVariance?: Tensor | undefined;
  /** Share of the batch in the running statistics. Default 0.1. */
  momentum?: number;
  /** Added to the variance. Default 1e-5. */
  eps?: number;
}

/** `[N, C]`, normalised by mean and variance of the rows of all ranks. */
export function synchronizedBatchNorm(group: Pick<ProcessGroup, "ranks" | "sum">, input: BatchNormInput): Tensor {
  const { x, weight, bias, runningMean, runningVariance, momentum = 0.1, eps = 1e-5 } = input;
  return scope(() => {
    const rows = x.sizeOf(0) * group.ranks;
    const mean = group.sum(x.sum(0)).div(rows);
    const centred = x.sub(mean);
    // A second exchange, instead of the mean of squares: the difference of two large numbers would lose digits.
    const variance = group.sum(centred.mul(centred).sum(0)).div(rows);
    if (runningMean !== undefined || runningVariance !== undefined) {
      noGrad(() => {
        runningMean?.mul_(1 - momentum).add_(mean, momentum);
        runningVariance?.mul_(1 - momentum).add_(variance, (momentum * rows) / Math.max(1, rows - 1));
      });
    }
    let out = centred.div(variance.add(eps).sqrt());
    if (weight !== undefined) out = out.mul(weight);
    if (bias !== undefined) out = out.add(bias);
    return out;
  });
}
