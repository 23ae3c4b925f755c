/**
 * Mean and 95 % confidence interval of a few runs (Student's t), and of the difference between two methods run with the same seeds.
 */

/** A mean and how far it can be trusted. */
export interface Interval {
  mean: number;
  /** Half the width of the 95 % interval; undefined for a single value. */
  half: number | undefined;
  count: number;
}

/** Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom. */
const quantiles = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086,
  2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/**
 * Mean and 95 % interval of some values.
 * @throws Error when there are none
 */
export function interval(values: readonly number[]): Interval {
  const count = values.length;
  if (count === 0) throw new Error("internal: interval of no values");
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count === 1) return { mean, half: undefined, count };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  return { mean, half: (quantiles[count - 2] ?? 1.96) * Math.sqrt(variance / count), count };
}

/** Interval of `values[i] - others[i]` over the seeds that both have: same seed, same order of data, so chance partly cancels. */
export function pairedDifference(
  values: readonly { seed: number; value: number }[],
  others: readonly { seed: number; value: number }[],
): Interval | undefined {
  const bySeed = new Map(others.map(({ seed, value }) => [seed, value]));
  const differences = values.flatMap(({ seed, value }) => (bySeed.has(seed) ? [value - bySeed.get(seed)!] : []));
  return differences.length === 0 ? undefined : interval(differences);
}

/** True when the interval excludes zero. */
export function isClear({ mean, half }: Interval): boolean {
  return half !== undefined && Math.abs(mean) > half;
}
