/** Numbers on their way back from a device: reading one waits for all that the device was given, so they come together. */
import { scope } from "./handle.ts";
import { type Tensor, cat } from "./tensor.ts";

/** `[numbers]`, float64, without gradient: what is in tensors of one dimension or none, floats on one device, one after the other. */
export function asNumbers(tensors: readonly Tensor[]): Tensor {
  return scope(() => cat(tensors.map((tensor) => tensor.detach().to("float64").reshape(-1))));
}

/** The same on the host, in one transfer. */
export function readNumbers(tensors: readonly Tensor[]): number[] {
  return scope(() => asNumbers(tensors).toArray());
}
