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
