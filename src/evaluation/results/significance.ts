/**
 * How far a difference can be trusted: bootstrap intervals, and paired tests of two models on the same items.
 *
 * An item is an image, a query or an episode; its value is what the metric averages, for accuracy 1 or 0. With classes given, the metric
 * is the mean over classes of the mean of their items (Efron and Tibshirani 1993 for the percentile interval; McNemar 1947, exact as in
 * statsmodels; Holm 1979).
 */
import { Random, invariant } from "../../support/index.ts";

/** A value and its 95 % interval, all in the unit of the values. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** How a bootstrap is drawn. */
export interface BootstrapOptions {
  /** Default 2000. */
  readonly resamples?: number;
  /** The same seed gives the same interval. Default 0. */
  readonly seed?: number;
  /** Class of each item, 0 and up: the metric is then the mean over the classes that have items. Default: the mean over items. */
  readonly classes?: ArrayLike<number>;
}

/** The metric over all items: their mean, or the mean over classes of each one's mean. NaN without items. */
function metricOf(values: ArrayLike<number>, classes?: ArrayLike<number>): number {
  return weightedMetric(values, new Float64Array(values.length).fill(1), classes);
}

/**
 * The metric with a percentile interval over resamples of the items.
 *
 * Where all items are right, or all wrong, every resample says the same, and the interval would be a point: then it is the exact one of a
 * binomial share (Clopper and Pearson 1934).
 * @param values what the metric averages, at least one
 */
export function bootstrapInterval(values: ArrayLike<number>, options: BootstrapOptions = {}): Estimate {
  const [first, count] = [values[0], values.length];
  if ((first === 0 || first === 1) && Array.from(values).every((value) => value === first)) {
    const most = 1 - 0.025 ** (1 / count);
    return first === 0 ? { value: 0, low: 0, high: most } : { value: 1, low: 1 - most, high: 1 };
  }
  const draws = resampled([values], options).map(([metric]) => metric!);
  return { value: metricOf(values, options.classes), ...percentiles(draws) };
}

/** Two models on the same items. */
export interface PairedComparison {
  /** The second's metric less the first's, with its interval. */
  readonly difference: Estimate;
  /** Items that only the first has right, and that only the second has; undefined where values are not all 0 or 1. */
  readonly onlyFirst: number | undefined;
  readonly onlySecond: number | undefined;
  /** How likely a difference as large as this is by chance, 0..1. */
  readonly p: number;
  /** What `p` is: exact McNemar where the metric is an accuracy, else the share of resamples on the other side of zero, twice. */
  readonly test: "mcnemar-exact" | "paired-bootstrap";
}

/**
 * Holds two models against each other: both see the same resamples, so that what is hard for both cancels.
 * @param first values of one model, item by item
 * @param second values of the other for the same items in the same order
 */
export function compareValues(
  first: ArrayLike<number>,
  second: ArrayLike<number>,
  options: BootstrapOptions & {
    /** What `p` is taken from. Default: McNemar's where values are 0 or 1 and there are no classes, else the bootstrap. */
    readonly test?: PairedComparison["test"];
  } = {},
): PairedComparison {
  invariant(first.length === second.length, "values of two models on different items");
  const draws = resampled([first, second], options).map(([a, b]) => b! - a!);
  const value = metricOf(second, options.classes) - metricOf(first, options.classes);
  const binary = [first, second].every((values) => Array.from(values).every((one) => one === 0 || one === 1));
  const discordant = (mine: ArrayLike<number>, other: ArrayLike<number>): number => {
    let count = 0;
    for (let i = 0; i < mine.length; i++) if (mine[i]! > other[i]!) count++;
    return count;
  };
  const [onlyFirst, onlySecond] = [discordant(first, second), discordant(second, first)];
  const test = options.test ?? (binary && options.classes === undefined ? "mcnemar-exact" : "paired-bootstrap");
  return {
    difference: { value, ...percentiles(draws) },
    onlyFirst: binary ? onlyFirst : undefined,
    onlySecond: binary ? onlySecond : undefined,
    p: test === "mcnemar-exact" ? mcnemarExact(onlyFirst, onlySecond) : bootstrapP(draws),
    test,
  };
}

/**
 * Exact two-sided p of McNemar's test: of `onlyFirst + onlySecond` items on which the models differ, each would fall to either side like
 * a fair coin.
 */
export function mcnemarExact(onlyFirst: number, onlySecond: number): number {
  const total = onlyFirst + onlySecond;
  const fewer = Math.min(onlyFirst, onlySecond);
  if (total === 0) return 1;
  // Logarithms of the binomial coefficients, one from the last: factorials of a thousand are not numbers any more.
  let logTerm = -total * Math.LN2;
  const logs = [logTerm];
  for (let i = 1; i <= fewer; i++) {
    logTerm += Math.log((total - i + 1) / i);
    logs.push(logTerm);
  }
  // Relative to the last and largest term: for many items, the first ones are zero as numbers.
  const tail = logs.reduce((sum, log) => sum + Math.exp(log - logTerm), 0);
  return Math.min(1, 2 * tail * Math.exp(logTerm));
}

/**
 * p values of several comparisons, raised so that all of them together have the chance of a false one that a single p promises (Holm).
 * @returns in the order given, 0..1
 */
export function holm(ps: readonly number[]): number[] {
  const order = ps.map((_, i) => i).sort((a, b) => ps[a]! - ps[b]!);
  const raised: number[] = [];
  let floor = 0;
  for (const [rank, i] of order.entries()) {
    floor = Math.max(floor, Math.min(1, ps[i]! * (ps.length - rank)));
    raised[i] = floor;
  }
  return raised;
}

function bootstrapP(draws: readonly number[]): number {
  const below = draws.filter((one) => one <= 0).length;
  const above = draws.filter((one) => one >= 0).length;
  // One is added on both sides: so many resamples can't show a smaller chance than that.
  return Math.min(1, (2 * (Math.min(below, above) + 1)) / (draws.length + 1));
}

/** The metric of each list on each resample; all lists see the same resamples. */
function resampled(lists: readonly ArrayLike<number>[], { resamples = 2000, seed = 0, classes }: BootstrapOptions): number[][] {
  const count = lists[0]!.length;
  invariant(count > 0, "a bootstrap of no items");
  const random = Random.of("bootstrap", seed, count);
  const weights = new Float64Array(count);
  return Array.from({ length: resamples }, () => {
    weights.fill(0);
    // 32 bits scaled: for less than four billion items, as even as it need be, and a third of the time of `integer`.
    for (let i = 0; i < count; i++) weights[Math.floor((random.bits() / 4294967296) * count)]!++;
    return lists.map((values) => weightedMetric(values, weights, classes));
  });
}

function weightedMetric(values: ArrayLike<number>, weights: Float64Array, classes: ArrayLike<number> | undefined): number {
  if (classes === undefined) {
    let [sum, count] = [0, 0];
    for (let i = 0; i < values.length; i++) {
      sum += weights[i]! * values[i]!;
      count += weights[i]!;
    }
    return sum / count;
  }
  const sums: number[] = [];
  const counts: number[] = [];
  for (let i = 0; i < values.length; i++) {
    const label = classes[i]!;
    sums[label] = (sums[label] ?? 0) + weights[i]! * values[i]!;
    counts[label] = (counts[label] ?? 0) + weights[i]!;
  }
  let [total, present] = [0, 0];
  for (let label = 0; label < counts.length; label++) {
    // A class that a resample has left out counts for nothing in it.
    if (!counts[label]) continue;
    total += sums[label]! / counts[label]!;
    present++;
  }
  return total / present;
}

/** 2.5 % and 97.5 % quantiles, between the nearest two values as NumPy's default. */
function percentiles(values: readonly number[]): { low: number; high: number } {
  const sorted = Float64Array.from(values).sort();
  const quantile = (share: number): number => {
    const place = share * (sorted.length - 1);
    const [below, above] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
    return below + (above - below) * (place - Math.floor(place));
  };
  return { low: quantile(0.025), high: quantile(0.975) };
}
