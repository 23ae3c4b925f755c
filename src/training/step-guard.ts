/**
 * Whether a step may change the weights: not when its loss or gradient is not finite, nor when they jump out of what they lately were.
 *
 * A jump is a value more than six standard deviations above the mean of the last 128 steps (levanter's SkipStep). Skipped values enter
 * the window too: a loss that has really moved to another level is skipped for some steps, not for ever.
 */
import { z } from "zod";
import type { StepLimits } from "./step-findings.ts";

/** Steps that a jump is measured against; before there are as many, nothing is a jump. */
export const jumpWindow = 128;
const sigmas = 6;

/** What a resumed run needs to judge as one that was never stopped. */
export const guardStateSchema = z.strictObject({
  losses: z.array(z.number()),
  gradientNorms: z.array(z.number()),
  /** Steps in a row, up to now, that were not finite. */
  notFinite: z.number().int().nonnegative(),
  /** Steps without update since the start of the run. */
  skipped: z.number().int().nonnegative(),
});
export type GuardState = z.infer<typeof guardStateSchema>;

/** "update": all is well. In all other cases the weights must stay as they are. */
export type Verdict = "update" | "not finite" | "overflow" | "spike";

/** Judges each step by its loss and gradient; its state belongs into checkpoints. */
export class StepGuard {
  readonly #spikes: boolean;
  #state: GuardState = { losses: [], gradientNorms: [], notFinite: 0, skipped: 0 };

  /** @param options.spikes also look for jumps */
  constructor({ spikes }: { spikes: boolean }) {
    this.#spikes = spikes;
  }

  /** Steps in a row, up to the last one judged, that were not finite. */
  get notFinite(): number {
    return this.#state.notFinite;
  }

  /** Steps without update since the start of the run. */
  get skipped(): number {
    return this.#state.skipped;
  }

  /** The most that the next step's loss and gradient norm may be: what is not finite or above is not updated. */
  limits(): StepLimits {
    if (!this.#spikes) return { loss: Infinity, gradientNorm: Infinity };
    const { losses, gradientNorms } = this.#state;
    return { loss: limitAfter(losses), gradientNorm: limitAfter(gradientNorms) };
  }

  /**
   * Judges a step, once, before its update.
   * @param step.overflow the gradients are not finite since they were scaled too much, which says nothing of the run. Default false
   */
  judge({ loss, gradientNorm, overflow = false }: { loss: number; gradientNorm: number; overflow?: boolean | undefined }): Verdict {
    const state = this.#state;
    if (overflow) {
      state.skipped++;
      return "overflow";
    }
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
      state.notFinite++;
      state.skipped++;
      return "not finite";
    }
    state.notFinite = 0;
    if (!this.#spikes) return "update";
    const limits = this.limits();
    const spike = loss > limits.loss || gradientNorm > limits.gradientNorm;
    keep(state.losses, loss);
    keep(state.gradientNorms, gradientNorm);
    if (spike) state.skipped++;
    return spike ? "spike" : "update";
  }

  /** A copy of what `restore` goes on from. */
  state(): GuardState {
    return structuredClone(this.#state);
  }

  restore(state: GuardState): void {
    this.#state = structuredClone(state);
  }
}

/** Above this, a value jumps. */
function limitAfter(window: readonly number[]): number {
  if (window.length < jumpWindow) return Infinity;
  const mean = window.reduce((sum, one) => sum + one, 0) / window.length;
  const variance = window.reduce((sum, one) => sum + (one - mean) ** 2, 0) / window.length;
  return mean + sigmas * Math.sqrt(variance);
}

function keep(window: number[], value: number): void {
  window.push(value);
  if (window.length > jumpWindow) window.shift();
}
