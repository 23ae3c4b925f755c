/**
 * The arrays of a step on the device: brought there whole and once, images as the bytes that they are, and cut into micro-batches there.
 * With them comes what only the host knows without waiting, where each text begins and ends.
 *
 * On the processor nothing has to be brought: the step reads the arrays themselves, unless the colours of views are to be changed first.
 */
import { raggedLayout } from "../nn/index.ts";
import { Tensor } from "../torch/index.ts";
import type { StepInput } from "./step.ts";
import { textLengths } from "./tower-features.ts";
import { changeViewColours } from "./view-colours.ts";

/** Shapes: B images, K texts of each, L tokens, S pixels, P patches. */
export interface StepTensors {
  /** uint8 `[B, S, S, 3]` */
  images: Tensor;
  /** int32 `[B x K, L]` */
  tokens: Tensor;
  /** int32 `[...]`: which tokens the texts have, see `raggedLayout` */
  texts: Tensor;
  /** uint8 `[2 x B, S, S, 3]`: the first views of all images, then the second ones; nothing is left to do to their colours */
  views?: Tensor;
  /** int32 `[B, P]`, with views `[3 x B, P]` */
  patches?: Tensor;
  /** int64 `[B x K]` */
  textKeys?: Tensor;
  /** float32 `[B x K]` */
  textWeights?: Tensor;
  /** float32 `[]`: what the loss is multiplied with, where a graph must find it, see step-graphs.ts */
  lossScale?: Tensor;
}

/**
 * Copies of the arrays on a device, outside of all scopes. There, what is left to do to the colours of views is done.
 * @param ahead while the device computes what it was given before
 */
export function bringToDevice(input: StepInput, device: string, ahead: boolean): StepTensors {
  const { batchSize, images, tokens, tokenLength, views, viewColours, patches, textKeys, textWeights } = input;
  const layout = raggedLayout(textLengths(tokens, tokenLength), tokenLength, input.tokenStep);
  const size = Math.sqrt(images.length / batchSize / 3);
  const made: Tensor[] = [];
  const there = (array: Uint8Array | Int32Array | BigInt64Array | Float32Array, shape: number[]): Tensor => {
    made.push(Tensor.from(array, shape, { device, ahead }).keep());
    return made.at(-1)!;
  };
  const rows = batchSize * (views === undefined ? 1 : 3);
  try {
    const tensors: StepTensors = {
      images: there(images, [batchSize, size, size, 3]),
      tokens: there(tokens, [tokens.length / tokenLength, tokenLength]),
      texts: there(layout, [layout.length]),
      ...(views && { views: there(views, [2 * batchSize, size, size, 3]) }),
      ...(patches && { patches: there(patches, [rows, patches.length / rows]) }),
      ...(textKeys && { textKeys: there(textKeys, [textKeys.length]) }),
      ...(textWeights && { textWeights: there(textWeights, [textWeights.length]) }),
    };
    if (tensors.views && viewColours) changeViewColours(tensors.views, viewColours, { ahead });
    return tensors;
  } catch (error) {
    // Where memory has ended, a step in smaller parts needs what was already taken.
    for (const tensor of made) tensor.dispose();
    throw error;
  }
}

/** Frees them; what the device still computes with stays until it is done. */
export function disposeTensors(tensors: StepTensors): void {
  for (const tensor of Object.values(tensors) as Tensor[]) tensor.dispose();
}
