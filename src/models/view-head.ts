/**
 * The head between the image tower and SimCLR's loss (facebookresearch/SLIP): three linear layers, batch normalisation between them.
 *
 * The names of its weights are those of SLIP's checkpoints. It normalises with the present batch and keeps no running means, since nothing
 * but training uses it.
 */
import { BatchNorm, type FeatureGroup, Linear, Module } from "../nn/index.ts";
import { type Tensor, ops, scope } from "../torch/index.ts";
import type { ViewHeadConfig } from "./config.ts";

/** Features of views to those that SimCLR's loss compares: `[batch, image width]` -> `[batch, width]`, not of length 1. */
export class ViewHead extends Module {
  readonly #first: Linear;
  readonly #firstNorm: BatchNorm;
  readonly #second: Linear;
  readonly #secondNorm: BatchNorm;
  readonly #third: Linear;

  /** @param inputs width of the image tower */
  constructor(inputs: number, { hidden, width }: ViewHeadConfig) {
    super();
    this.#first = this.child("layer1", new Linear(inputs, hidden));
    this.#firstNorm = this.child("bn1", new BatchNorm(hidden));
    this.#second = this.child("layer2", new Linear(hidden, hidden));
    this.#secondNorm = this.child("bn2", new BatchNorm(hidden));
    this.#third = this.child("layer3", new Linear(hidden, width));
  }

  /**
   * One batch of views: those of a second one are normalised by themselves.
   * @param features `[batch, image width]`, see `Clip.imageFeatures`
   * @param group those who train together; their batches are normalised as one. Default this process alone
   * @returns `[batch, width]`, not of length 1
   */
  forward(features: Tensor, group?: FeatureGroup): Tensor {
    return scope(() => {
      const first = ops.relu(this.#firstNorm.forward(this.#first.forward(features), group));
      const second = ops.relu(this.#secondNorm.forward(this.#second.forward(first), group));
      return this.#third.forward(second);
    });
  }
}
