/** Learning rates by step. A schedule is a pure function of the step, so that a resumed run needs no state of it. */
import { UsageError } from "../support/index.ts";

/** Learning rate of step `step`, counted from 0. */
export type Schedule = (step: number) => number;

/** The points that `warmupCosine` goes through. */
export interface WarmupCosineOptions {
  /** Learning rate at the end of the warm-up. */
  peak: number;
  /** Learning rate of step 0. */
  start: number;
  /** Learning rate that the cosine comes down to. */
  end: number;
  /** Steps of the linear warm-up; its last step has the peak rate (a warm-up of one step has the start rate alone). */
  warmupSteps: number;
  totalSteps: number;
}

/**
 * Linear warm-up, both ends included, then half a cosine (LaCLIP utils.py, from MoCo v3; one value a step, not an epoch).
 * @throws UsageError when the warm-up is longer than the training or no whole number of steps
 */
export function warmupCosine({ peak, start, end, warmupSteps, totalSteps }: WarmupCosineOptions): Schedule {
  if (!(Number.isInteger(warmupSteps) && warmupSteps >= 0 && warmupSteps <= totalSteps)) {
    throw new UsageError(`The warm-up must take 0 to ${totalSteps} steps (the whole training), got ${warmupSteps}.`);
  }
  return (step) => {
    if (step < warmupSteps) return warmupSteps === 1 ? start : start + ((peak - start) * step) / (warmupSteps - 1);
    const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
    return end + 0.5 * (peak - end) * (1 + Math.cos(Math.PI * Math.min(1, progress)));
  };
}
