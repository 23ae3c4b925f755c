/** Where the zero and the unit of features are taken to be before a probe is fitted to them. */
import { Tensor, noGrad, ones, ops, scope, zeros } from "../../torch/index.ts";
import type { FeatureScaling } from "./softmax-objective.ts";

/** Rows that are copied at once. */
const blockRows = 8192;

/**
 * The mean of the features, and a unit.
 * @param features `[N, D]` float32 or float64
 * @param standardise the unit is the deviation of each feature, over N; of one that never changes, 1. Else it is 1 for all
 * @returns `[D]` float64 both, kept: the caller disposes of them
 */
export function scalingOf(features: Tensor, standardise: boolean): FeatureScaling {
  return noGrad(() =>
    scope(() => {
      const width = features.sizeOf(1);
      const { device } = features;
      const mean = ops.meanDim(features, 0, false, "float64");
      if (!standardise) return { mean: mean.keep(), scale: ones([width], { dtype: "float64", device }).keep() };
      const squares = zeros([width], { dtype: "float64", device });
      for (const block of features.split(blockRows)) scope(() => squares.add_(block.sub(mean).pow(2).sum(0)));
      const deviation = squares.div(features.sizeOf(0)).sqrt();
      const scale = ops.whereSelf(ops.gtScalar(deviation, 1e-12), deviation, ops.onesLike(deviation));
      return { mean: mean.keep(), scale: scale.keep() };
    }),
  );
}
