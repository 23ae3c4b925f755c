/** From what the towers say of a batch to the number that training makes small. */
import type { Tensor } from "../torch/index.ts";

/** Shapes: B batch, D joint width. */
export interface FeaturePair {
  /** `[B, D]`, not normalised */
  imageFeatures: Tensor;
  /** `[B, D]`, not normalised; row i belongs to image i */
  textFeatures: Tensor;
  /** Scalar, already exponentiated; the trainer keeps it in [1, 100]. */
  logitScale: Tensor;
}

/** The processes whose batches together are the batch of the loss. */
export interface FeatureGroup {
  readonly rank: number;
  readonly ranks: number;
  /** `[ranks x n, ...]` of every rank's `[n, ...]`, in the order of ranks; gradients flow back to where the rows came from. */
  gather(x: Tensor): Tensor;
}

/** One process with the whole batch. */
export const oneRank: FeatureGroup = { rank: 0, ranks: 1, gather: (x) => x };

export interface LossReport {
  /** Scalar with gradient. */
  loss: Tensor;
  /** Scalars for the log, without gradient. */
  metrics: Record<string, Tensor>;
}

export interface Objective {
  /** The name that run folders record. */
  readonly name: string;
  forward(features: FeaturePair): LossReport;
}
