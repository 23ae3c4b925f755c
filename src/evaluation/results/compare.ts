/**
 * Two models on the same items, data set by data set: the difference of each metric, its interval, and how likely it is by chance.
 *
 * Items are joined by what they are called, never by their place, so that an image that one of the models could not read costs that image
 * alone. p values of several data sets are raised by Holm's rule, since among many comparisons some look clear by chance.
 */
import { DataError } from "../../support/index.ts";
import { measuredOtherwise } from "./measured-otherwise.ts";
import { type Outcomes, readOutcomes } from "./outcomes.ts";
import type { StoredResult } from "./result.ts";
import { type BootstrapOptions, type PairedComparison, bootstrapInterval, compareValues, type Estimate, holm } from "./significance.ts";

/** A comparison on one data set and task. */
export interface ResultComparison extends PairedComparison {
  readonly dataset: string;
  readonly task: string;
  readonly metric: string;
  /** Items that both have. */
  readonly items: number;
  /** Items of only one of them: left out. */
  readonly unmatched: number;
  /** Metric of each over the items of both, with its own interval. */
  readonly first: Estimate;
  readonly second: Estimate;
  /** In what the two were measured in different ways, see `measuredOtherwise`; how each model's images are prepared is not among it. */
  readonly differences: readonly string[];
  /** `p`, raised for the number of comparisons. */
  readonly adjustedP: number;
}

/** All comparisons that two lists of results allow, and what they do not allow, with the reason. */
export interface Comparisons {
  readonly comparisons: readonly ResultComparison[];
  readonly impossible: readonly { dataset: string; task: string; reason: string }[];
}

/** How results are compared. */
export interface CompareOptions extends Omit<BootstrapOptions, "classes"> {
  /** Default: the metric that each result calls its main one. */
  readonly metric?: string;
}

/**
 * Compares results of two models, those of the same data set and task with each other.
 * @throws DataError when nothing can be compared, with the reasons; or a file of items is damaged
 */
export async function compareResults(
  first: readonly StoredResult[],
  second: readonly StoredResult[],
  options: CompareOptions = {},
): Promise<Comparisons> {
  const comparisons: Omit<ResultComparison, "adjustedP">[] = [];
  const impossible: { dataset: string; task: string; reason: string }[] = [];
  for (const mine of first) {
    const { dataset, task, language } = mine.result;
    const others = second.filter(({ result }) => result.dataset === dataset && result.task === task && result.language === language);
    const outcome =
      others.length === 1 ? await compareTwo(mine, others[0]!, options) : `${others.length} results of the second model, expected 1`;
    if (typeof outcome === "string") impossible.push({ dataset, task, reason: outcome });
    else comparisons.push(outcome);
  }
  if (comparisons.length === 0) {
    throw new DataError(
      `Nothing can be compared:${impossible.map(({ dataset, task, reason }) => `\n  ${dataset}, ${task}: ${reason}`).join("")}`,
      { mend: "Evaluate both models with `laclip evaluate all` on the same data sets." },
    );
  }
  const adjusted = holm(comparisons.map(({ p }) => p));
  return { comparisons: comparisons.map((one, i) => ({ ...one, adjustedP: adjusted[i]! })), impossible };
}

/** @returns the reason where the two can't be compared */
async function compareTwo(
  mine: StoredResult,
  other: StoredResult,
  { metric: asked, ...options }: CompareOptions,
): Promise<Omit<ResultComparison, "adjustedP"> | string> {
  const metric = asked ?? mine.result.laclip?.mainMetric ?? "acc1";
  const { dataset, task } = mine.result;
  if (task === "few_shot_classification" && !sameEpisodes(mine, other))
    return "the episodes differ (seed, shots, ways, their number or the images)";
  const [a, b] = [await readOutcomes(mine, metric), await readOutcomes(other, metric)];
  if (!a || !b) return `no outcome of each item for ${metric} in ${[a ? [] : mine.path, b ? [] : other.path].flat().join(" and ")}`;
  const joined = join(a, b);
  if (typeof joined === "string") return joined;
  const { first, second, classes } = joined;
  const count = first.length;
  const bootstrap = { ...options, ...(classes === undefined ? {} : { classes }) };
  return {
    ...compareValues(first, second, bootstrap),
    dataset,
    task,
    metric,
    items: count,
    differences: measuredOtherwise(mine.result, other.result, { prepared: false }),
    unmatched: a.items.length + b.items.length - 2 * count,
    first: bootstrapInterval(first, bootstrap),
    second: bootstrapInterval(second, bootstrap),
  };
}

function sameEpisodes(mine: StoredResult, other: StoredResult): boolean {
  const drawn = ({ result }: StoredResult): string => {
    const { protocol = {}, seed, dataHash } = result.laclip ?? {};
    return JSON.stringify([seed, dataHash, ...["ways", "shots", "queries", "episodes", "shotsFrom"].map((name) => protocol[name])]);
  };
  return drawn(mine) === drawn(other);
}

function join(a: Outcomes, b: Outcomes): { first: number[]; second: number[]; classes?: number[] } | string {
  const places = new Map(b.items.map((item, i) => [item, i]));
  if (places.size < b.items.length) return "several items have one name";
  const rows = a.items.flatMap((item, i) => (places.has(item) ? [[i, places.get(item)!] as const] : []));
  if (rows.length === 0) return `no item is in both (${a.items[0]}, ...; ${b.items[0]}, ...)`;
  const relabelled = a.classes !== undefined && rows.filter(([i, j]) => a.classes![i] !== b.classes?.[j]).length;
  if (relabelled) return `${relabelled} items have another class in the one than in the other`;
  return {
    first: rows.map(([i]) => a.values[i]!),
    second: rows.map(([, j]) => b.values[j]!),
    ...(a.classes === undefined ? {} : { classes: rows.map(([i]) => a.classes![i]!) }),
  };
}
