/**
 * A step length that fulfils the strong Wolfe conditions (Nocedal and Wright, Numerical Optimization, algorithms 3.5 and 3.6).
 *
 * The step is first made longer until it encloses a good one, then the enclosure is halved by cubic interpolation. Near the minimum the
 * change of the value drowns in rounding: there a step that does not rise by more than the noise counts as one that falls enough.
 */

/** Value and slope of the function along the direction, at some step length. */
export interface Trial {
  readonly step: number;
  readonly value: number;
  readonly slope: number;
}

/** How good a step must be. */
export interface LineSearchOptions {
  /** Share of the promised fall that must come, 0..1. Default 1e-4. */
  fall?: number;
  /** Share of the slope that may be left, 0..1. Default 0.9. */
  slope?: number;
  /** Rise of the value that counts as rounding. Default 0. */
  noise?: number;
  /** First step length that is tried. Default 1. */
  first?: number;
  /** Most evaluations. Default 25. */
  evaluations?: number;
}

/**
 * Searches along a direction from step 0.
 *
 * @param at value and slope at a step length
 * @param start value and slope at 0; the slope is negative
 * @returns the step found, or the lowest that was tried where the evaluations ran out; undefined where none falls
 */
export function lineSearch(
  at: (step: number) => { value: number; slope: number },
  start: { value: number; slope: number },
  { fall = 1e-4, slope: left = 0.9, noise = 0, first = 1, evaluations = 25 }: LineSearchOptions = {},
): Trial | undefined {
  const origin: Trial = { step: 0, ...start };
  let lowest: Trial | undefined;
  let used = 0;
  const attempt = (step: number): Trial => {
    used++;
    const trial = { step, ...at(step) };
    if (trial.value < (lowest?.value ?? origin.value)) lowest = trial;
    return trial;
  };
  const fallsEnough = ({ step, value }: Trial): boolean => value <= origin.value + fall * step * origin.slope + noise;
  const isFlat = ({ slope }: Trial): boolean => Math.abs(slope) <= -left * origin.slope;

  let [low, high]: [Trial, Trial | undefined] = [origin, undefined];
  for (let step = first; high === undefined && used < evaluations; step *= 2) {
    const trial = attempt(step);
    if (!Number.isFinite(trial.value) || !fallsEnough(trial) || (low.step > 0 && trial.value >= low.value + noise)) high = trial;
    else if (isFlat(trial)) return trial;
    else if (trial.slope >= 0) [low, high] = [trial, low];
    else low = trial;
  }
  while (high !== undefined && used < evaluations) {
    const trial = attempt(between(low, high));
    if (!Number.isFinite(trial.value) || !fallsEnough(trial) || trial.value >= low.value + noise) high = trial;
    else {
      if (isFlat(trial)) return trial;
      if (trial.slope * (high.step - low.step) >= 0) high = low;
      low = trial;
    }
    if (Math.abs(high.step - low.step) <= 1e-12 * Math.max(1, low.step)) break;
  }
  return lowest;
}

/** The minimum of the cubic through two trials, kept off both ends; their middle where there is none. */
function between(a: Trial, b: Trial): number {
  const width = b.step - a.step;
  const bend = a.slope + b.slope - (3 * (b.value - a.value)) / width;
  const root = Math.sign(width) * Math.sqrt(bend * bend - a.slope * b.slope);
  const share = 1 - (b.slope + root - bend) / (b.slope - a.slope + 2 * root);
  if (!Number.isFinite(share)) return a.step + width / 2;
  return a.step + width * Math.min(0.9, Math.max(0.1, share));
}
