/**
 * What the texts do, all else being equal: runs whose settings differ in captions, rewrites and seed alone, seed by seed.
 *
 * The difference of two runs with the same seed has the same initial weights, order and crops on both sides, so that part of what chance
 * does cancels; its interval over the seeds (Student's t) says what is left. Results of a column that were measured in another way than most
 * are left out and named.
 */
import { isRecord } from "../../support/index.ts";
import { type Interval, interval, pairedDifference } from "../results/interval.ts";
import { measuredOtherwise } from "../results/measured-otherwise.ts";
import type { EvaluationResult, StoredResult } from "../results/result.ts";
import { type RowKey, byPlace } from "./row-order.ts";

/** Runs with the same texts, one or more seeds. */
export interface AblationVariant {
  /** "captions alone", "captions + chatgpt + bard", ... */
  readonly title: string;
  readonly seeds: readonly number[];
  /** For each column: mean over the seeds, and the difference to the first variant over the seeds that both have. */
  readonly cells: readonly ({ readonly value: Interval; readonly difference: Interval | undefined } | undefined)[];
}

/** A group of runs that differ in their texts alone. */
export interface AblationTable {
  /** What they share: the description of the first one's recipe. */
  readonly title: string;
  readonly columns: readonly RowKey[];
  /** The one without rewrites first, where there is one. */
  readonly variants: readonly AblationVariant[];
  /** Which results are not in it, since they were measured in another way than most of their column. */
  readonly notes: readonly string[];
}

interface Run {
  group: string;
  title: string;
  variant: string;
  /** The first digits of the hash of its rewrites; "" where it had none. */
  rewrites: string;
  plain: boolean;
  seed: number;
  results: EvaluationResult[];
}

/** The ablations that the results allow: groups of at least two variants. */
export function ablationTables(results: readonly StoredResult[]): AblationTable[] {
  const runs = new Map<string, Run>();
  for (const { result } of results) {
    const described = describeRun(result.laclip?.run);
    const id = result.laclip?.modelHash;
    // A checkpoint on the way is not a run of its own: it would stand beside its own end, with the same seed.
    if (described === undefined || id === undefined || /\/step-\d+$/.test(result.model)) continue;
    const run = runs.get(id) ?? { ...described, results: [] };
    runs.set(id, run);
    run.results.push(result);
  }
  return grouped([...runs.values()], ({ group }) => group).flatMap((group) => {
    // What is called alike may still be other texts: another model may have written them.
    const variants = grouped(group, ({ variant, rewrites }) => `${variant} ${rewrites}`);
    return variants.length < 2 ? [] : [tableOf(variants.sort((a, b) => Number(b[0]!.plain) - Number(a[0]!.plain)))];
  });
}

/** Lists of the values with the same key, in the order in which keys come first. */
function grouped<T>(values: readonly T[], key: (value: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) ?? []), value]);
  return [...groups.values()];
}

function tableOf(variants: readonly (readonly Run[])[]): AblationTable {
  const found = new Map<string, RowKey>();
  const all = variants.flat().flatMap(({ results }) => results);
  for (const { dataset, task, laclip } of all) {
    const metric = laclip!.mainMetric;
    found.set([task, dataset, metric].join(" "), { dataset, task, metric });
  }
  const columns = [...found.values()].sort(byPlace);
  const notes: string[] = [];
  const alike = new Set(
    columns.flatMap((column) =>
      measuredAlike(
        all.filter((result) => isOf(result, column)),
        notes,
      ),
    ),
  );
  const values = (runs: readonly Run[], column: RowKey): { seed: number; value: number }[] =>
    runs.flatMap(({ seed, results }) => {
      const value = results.find((result) => isOf(result, column) && alike.has(result))?.metrics[column.metric];
      return typeof value === "number" ? [{ seed, value }] : [];
    });
  return {
    title: variants[0]![0]!.title,
    columns,
    variants: variants.map((runs, i) => ({
      title: titleOf(runs[0]!, variants),
      seeds: runs.map(({ seed }) => seed).sort((a, b) => a - b),
      cells: columns.map((column) => {
        const own = values(runs, column);
        if (own.length === 0) return undefined;
        const difference = i === 0 ? undefined : pairedDifference(own, values(variants[0]!, column));
        return { value: interval(own.map(({ value }) => value)), difference };
      }),
    })),
    notes,
  };
}

/** Variants of one name are told apart by the hashes of their texts. */
function titleOf({ variant, rewrites }: Run, variants: readonly (readonly Run[])[]): string {
  const alone = variants.filter(([first]) => first!.variant === variant).length === 1;
  return alone || rewrites === "" ? variant : `${variant} (${rewrites})`;
}

function isOf({ dataset, task, laclip }: EvaluationResult, column: RowKey): boolean {
  return dataset === column.dataset && task === column.task && laclip!.mainMetric === column.metric;
}

/** Those that were measured as most of them were: what texts do shows only where all else is the same. */
function measuredAlike(results: readonly EvaluationResult[], notes: string[]): EvaluationResult[] {
  const groups: EvaluationResult[][] = [];
  for (const result of results) {
    const group = groups.find(([first]) => measuredOtherwise(first!, result).length === 0);
    if (group === undefined) groups.push([result]);
    else group.push(result);
  }
  const most = groups.reduce((a, b) => (b.length > a.length ? b : a));
  for (const other of groups.filter((group) => group !== most).flat()) {
    const differences = measuredOtherwise(most[0]!, other).join("; ");
    notes.push(
      `${other.model} on ${other.dataset}, ${other.task.replaceAll("_", " ")}, is not among the runs that differ in their texts: it was measured otherwise than most of them (${differences}).`,
    );
  }
  return most;
}

/** What a run is, from its `config.json`: everything but captions, rewrites and seed is what it shares with others of its group. */
function describeRun(config: Record<string, unknown> | undefined): Omit<Run, "results"> | undefined {
  if (config === undefined || !isRecord(config["recipe"]) || !isRecord(config["recipe"]["training"])) return undefined;
  const { captions, description, training, ...recipe } = config["recipe"] as Record<string, unknown> & {
    training: Record<string, unknown>;
  };
  const { seed, ...schedule } = training;
  const { rewrites, ...data } = isRecord(config["data"]) ? config["data"] : {};
  if (!isRecord(captions) || typeof seed !== "number") return undefined;
  const shared = { ...config, recipe: { ...recipe, training: schedule }, data };
  const plain = captions["choose"] === "original";
  const hash = !plain && isRecord(rewrites) && typeof rewrites["hash"] === "string" ? rewrites["hash"].slice(0, 8) : "";
  return { group: canonical(shared), title: String(description), variant: textsOf(captions, rewrites, plain), rewrites: hash, plain, seed };
}

function textsOf(captions: Record<string, unknown>, rewrites: unknown, plain: boolean): string {
  if (plain) return "captions alone";
  const { choose, sources, weights, textsPerImage } = captions;
  const used = [sources, isRecord(rewrites) ? rewrites["sources"] : undefined].find((list) => Array.isArray(list));
  const texts = used?.filter((source) => source !== "original").join(" + ") ?? "all rewrites";
  const drawn = choose === "weighted" ? `, weighted${weights === undefined ? "" : ` ${canonical(weights)}`}` : "";
  return `captions + ${texts}${drawn}${typeof textsPerImage === "number" && textsPerImage > 1 ? `, ${textsPerImage} at once` : ""}`;
}

/** JSON whose keys are in order. */
function canonical(value: unknown): string {
  return (
    JSON.stringify(value, (_, inner: unknown) =>
      isRecord(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner,
    ) ?? ""
  );
}
