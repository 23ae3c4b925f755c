/**
 * A factor on the loss, so that small gradients are no zeros in float16 (Micikevicius et al. 2018; the rules of torch.amp.GradScaler).
 *
 * Gradients are taken of the loss times the factor, and divided by it before anybody looks at them. The factor is as large as it can be:
 * it doubles after many steps whose gradients were finite, and where some were not, the step is left out and the factor halved. With
 * several processes all see the same mean of gradients, and so all leave out the same steps. Powers of two lose nothing.
 */
import { z } from "zod";
import { scaleGradients } from "../optim/index.ts";
import type { Tensor } from "../torch/index.ts";

/** Below this, a gradient that is not finite is none that a smaller factor could mend. */
const least = 1;

/** What a resumed run needs to scale as one that was never stopped. */
export const scalerStateSchema = z.strictObject({
  scale: z.number().positive(),
  /** Steps with finite gradients since the factor last changed. */
  good: z.number().int().nonnegative(),
});
export type ScalerState = z.infer<typeof scalerStateSchema>;

/** Where the factor begins and how it moves. */
export interface LossScalerOptions {
  /** The factor to begin with. Default 65,536. */
  start?: number | undefined;
  /** Steps with finite gradients after which it doubles. Default 2,000. */
  growthSteps?: number | undefined;
}

/** The factor of each step, and what becomes of it. */
export class LossScaler {
  readonly #growthSteps: number;
  #state: ScalerState;

  constructor({ start = 65_536, growthSteps = 2000 }: LossScalerOptions = {}) {
    this.#growthSteps = growthSteps;
    this.#state = { scale: start, good: 0 };
  }

  /** What the loss of the present step is multiplied with. */
  get scale(): number {
    return this.#state.scale;
  }

  /** False when the factor is so small that gradients which are not finite have another cause. */
  get canShrink(): boolean {
    return this.#state.scale > least;
  }

  /** What gradients are multiplied with afterwards. */
  get inverse(): number {
    return 1 / this.#state.scale;
  }

  /** Divides all gradients by the factor. @param inverse a float32 scalar that has `inverse` when this is done. Default: it is now */
  unscale(parameters: Iterable<Tensor>, inverse: Tensor | number = this.inverse): void {
    scaleGradients(parameters, inverse);
  }

  /** Takes note of a step, once, after it. @param finite whether its loss and all its gradients were */
  update(finite: boolean): void {
    const { scale, good } = this.#state;
    if (!finite) this.#state = { scale: this.canShrink ? Math.max(least, scale / 2) : scale, good: 0 };
    else if (good + 1 >= this.#growthSteps) this.#state = { scale: scale * 2, good: 0 };
    else this.#state = { scale, good: good + 1 };
  }

  /** A copy of what `restore` goes on from. */
  state(): ScalerState {
    return structuredClone(this.#state);
  }

  restore(state: ScalerState): void {
    this.#state = structuredClone(state);
  }
}
