/**
 * Those who train together, as far as features know of them.
 *
 * A batch that is spread over processes is one batch to its loss and to batch normalisation: both see the rows of all through `gather`.
 */
import type { Tensor } from "../torch/index.ts";

/** The processes that a batch is spread over; a `ProcessGroup` is one. */
export interface FeatureGroup {
  /** This process among `ranks`, from 0. */
  readonly rank: number;
  readonly ranks: number;
  /**
   * Rows of all ranks in the order of their ranks: `[rows, ...]` -> `[ranks x rows, ...]`; every rank has as many rows.
   * The gradient of a row is the sum of what all ranks say of it. Tensors of integers are gathered without one.
   */
  gather(rows: Tensor): Tensor;
}

/** One process alone. */
export const alone: FeatureGroup = { rank: 0, ranks: 1, gather: (rows) => rows };
