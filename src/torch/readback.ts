/** Numbers on their way back from a device: reading one waits for all that the device was given, so they come together. */
import { scope } from "./handle.ts";
import { type Tensor, cat } from "./tensor.ts";

/** The values of tensors of one element each, floats on one device, in one transfer. */
export function readNumbers(tensors: readonly Tensor[]): number[] {
  if (tensors.every(({ device }) => device === "cpu")) return tensors.map((tensor) => tensor.item());
  return scope(() => cat(tensors.map((tensor) => tensor.detach().to("float64").reshape(1))).toArray());
}
