/**
 * Memory for time: a result whose way is computed again in the backward pass, instead of being remembered until then.
 *
 * The graph gets one node for the whole of `body` (native/src/recompute.cc); of what `body` computes, only the result stays.
 */
import { enableGrad, noGrad, presentAutocast } from "./autograd.ts";
import { scope } from "./handle.ts";
import { guard, native } from "./native.ts";
import { randomState } from "./runtime.ts";
import { Tensor } from "./tensor.ts";

/**
 * `body` of `inputs`, with the gradients that it has. It runs once now and once more in the backward pass, under the same autocast and with
 * the same random numbers. Only what is among `inputs` and `parameters` gets a gradient. Without any to compute, it just runs.
 * @param body must compute the same both times, from its arguments: other tensors that it uses have to live until then
 * @param parameters leaves that `body` uses
 * @returns one tensor, which belongs to the scope around
 */
export function recomputed(body: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[], parameters: readonly Tensor[]): Tensor {
  const learns = native().gradMode() && [...inputs, ...parameters].some((tensor) => tensor.requiresGrad);
  if (!learns) return scope(() => body(...inputs));
  const narrowed = presentAutocast();
  const again = (handles: readonly number[]): void =>
    // All that is made here dies here: the result is in the addon's hands by then.
    scope(() => native().handOver(enableGrad(() => narrowed(() => body(...handles.map((handle) => new Tensor(handle))))).handle));
  return scope(() => {
    const random = randomState(inputs[0]?.device);
    const result = noGrad(() => scope(() => body(...inputs)));
    const handles = (tensors: readonly Tensor[]): number[] => tensors.map(({ handle }) => handle);
    return new Tensor(guard(() => native().recompute(result.handle, handles(inputs), handles(parameters), again, random.handle)));
  });
}
