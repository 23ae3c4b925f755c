/**
 * From what the towers say of a batch to the number that training makes small.
 *
 * Shapes: B images of this process, K texts of each image, D joint width, E width of the features for SimCLR's loss.
 */
import type { Tensor } from "../torch/index.ts";

/** What a loss is made of: features of a batch, and the scale of their similarities. */
export interface ObjectiveInput {
  /** `[B, D]`, not normalised */
  imageFeatures: Tensor;
  /** `[B x K, D]`, not normalised; the texts of image 0 first, then those of image 1 */
  textFeatures: Tensor;
  /** K. Default 1. */
  textsPerImage?: number | undefined;
  /** Scalar, already exponentiated; the trainer keeps it in [1, 100]. */
  logitScale: Tensor;
  /** Scalar that is added to every scaled similarity; sigmoid losses need it. */
  logitBias?: Tensor | undefined;
  /** float32 `[B x K]`, 0..1: how much the pair of a text and its image counts. Default 1. */
  textWeights?: Tensor | undefined;
  /** int64 `[B x K]`: equal numbers mean the same caption, or nearly. */
  textKeys?: Tensor | undefined;
  /** `[2 x B, E]`, not normalised: the first views of all images, then the second ones. */
  viewFeatures?: Tensor | undefined;
}

/** The loss of a batch, and what is logged beside it. */
export interface LossReport {
  /** Scalar with gradient. */
  loss: Tensor;
  /** Scalars for the log, without gradient. */
  metrics: Record<string, Tensor>;
}

/** What an objective reads beside features and scale. */
export interface ObjectiveNeeds {
  /** Two more views of each image, and a head for them. */
  views?: boolean;
  textKeys?: boolean;
  logitBias?: boolean;
  /** More than one text an image makes no sense to it. */
  oneText?: boolean;
}

/** A loss, and what it needs of a batch. */
export interface Objective {
  /** The name that recipes and run folders record. */
  readonly name: string;
  readonly needs: ObjectiveNeeds;
  /**
   * Loss and measures of a batch. The loss is this process's share: the mean of all ranks' is the loss of the whole batch.
   * @throws UsageError when features do not fit together, or something that the objective needs is missing
   */
  forward(input: ObjectiveInput): LossReport;
  /**
   * Loss, measures and gradients of `forward`, with at most `rows` rows of a matrix of similarities in memory at a time: the gradients
   * are added to the leaves that the input was made of. The report's loss has no gradient.
   * @param scale factor on the gradients, not on the loss that is reported. Default 1
   */
  backwardByRows(input: ObjectiveInput, rows: number, scale?: number): LossReport;
}
