/** The layers that image-text models are made of. Shapes: B batch, N tokens, W width. */
import { type NormWeights, Tensor, addNorm, empty, linearThen, ones, ops, scope, zeros } from "../torch/index.ts";
import { fanInUniform, normal } from "./init.ts";
import { Module } from "./module.ts";
import type { Residual } from "./residual.ts";

/** y = x weight^T + bias. Initialised as torch.nn.Linear. */
export class Linear extends Module {
  /** `[outputs, inputs]` */
  readonly weight: Tensor;
  /** `[outputs]` */
  readonly bias: Tensor | undefined;

  constructor(inputs: number, outputs: number, { bias = true }: { bias?: boolean } = {}) {
    super();
    this.weight = this.parameter("weight", fanInUniform(empty([outputs, inputs])));
    this.bias = bias ? this.parameter("bias", fanInUniform(empty([outputs]), inputs)) : undefined;
  }

  /** `[..., inputs]` -> `[..., outputs]` */
  forward(x: Tensor): Tensor {
    return ops.linear(x, this.weight, this.bias ?? null);
  }
}

/** Normalises the last dimension to mean 0 and variance 1, then scales and shifts; always in float32, whatever autocast says. */
export class LayerNorm extends Module implements NormWeights {
  /** `[width]` */
  readonly weight: Tensor;
  /** `[width]` */
  readonly bias: Tensor;
  readonly eps: number;
  readonly #shape: readonly number[];

  constructor(width: number, { eps = 1e-5 }: { eps?: number } = {}) {
    super();
    this.#shape = [width];
    this.eps = eps;
    this.weight = this.parameter("weight", ones([width]));
    this.bias = this.parameter("bias", zeros([width]));
  }

  /** `[..., width]` -> `[..., width]` float32 */
  forward(x: Tensor): Tensor {
    return ops.layerNorm(ops.toDtype(x, "float32"), this.#shape, this.weight, this.bias, this.eps);
  }

  /**
   * What a part of a block takes of the residual stream: see `addNorm`.
   * @returns the sum, with the change that was still to be added, and its norm, for matrix products
   */
  add([sum, change]: Residual): [sum: Tensor, normed: Tensor] {
    return addNorm(sum, change, this);
  }
}

/** A table of vectors, initialised N(0, 1) as torch.nn.Embedding. */
export class Embedding extends Module {
  /** `[count, width]` */
  readonly weight: Tensor;

  constructor(count: number, width: number) {
    super();
    this.weight = this.parameter("weight", normal(empty([count, width]), 1));
  }

  /** int64 `[...]` -> `[..., width]` */
  forward(ids: Tensor): Tensor {
    return ops.embedding(this.weight, ids);
  }
}

/** Rows of length 1 along the last dimension, in float32: `[..., width]` -> `[..., width]`. */
export function unitRows(x: Tensor): Tensor {
  return scope(() => {
    const wide = x.to("float32");
    return wide.div(wide.norm(-1, true).clamp(1e-12));
  });
}

/** `bias`: see `linearThen`. */
export type Activation = (x: Tensor, bias?: Tensor) => Tensor;

export { gelu, quickGelu } from "../torch/index.ts";

/** Two linear layers with an activation between; the names of the layers in the state dict differ between projects. */
export class Mlp extends Module {
  readonly expand: Linear;
  readonly contract: Linear;
  readonly #activation: Activation;

  constructor(width: number, hidden: number, activation: Activation, names: { expand: string; contract: string }) {
    super();
    this.expand = this.child(names.expand, new Linear(width, hidden));
    this.contract = this.child(names.contract, new Linear(hidden, width));
    this.#activation = activation;
  }

  /** `[..., width]` -> `[..., width]` */
  forward(x: Tensor): Tensor {
    return this.contract.forward(linearThen(x, this.expand.weight, this.expand.bias, this.#activation));
  }
}
