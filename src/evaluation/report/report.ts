/**
 * Results of one or more models side by side: the value of each, how far it can be trusted, how it stands to the first model and to what
 * was published. Takes the result files of `laclip evaluate` and those of CLIP_benchmark alike.
 *
 * Everything is computed from the files; nothing is evaluated again.
 */
import { DataError, LaclipError } from "../../support/index.ts";
import { findDefinition, findRetrievalDefinition } from "../datasets/index.ts";
import {
  type Mark,
  type PublishedModel,
  type PublishedNumber,
  protocolDifferences,
  publishedNumber,
  shortDataset,
} from "../published/published.ts";
import { type ResultComparison, compareResults } from "../results/compare.ts";
import { readOutcomes } from "../results/outcomes.ts";
import { type EvaluationResult, type StoredResult, type TaskName, taskNames } from "../results/result.ts";
import { type Estimate, bootstrapInterval, holm } from "../results/significance.ts";
import { type AblationTable, ablationTables } from "./ablation.ts";
import { byPlace } from "./row-order.ts";

/** What a model reaches in a row. */
export interface ReportCell {
  /** 0..1, as the result says it. */
  readonly value: number;
  /** 95 % interval over the items; undefined where the result came without items. */
  readonly interval?: Estimate;
  /** Against the first model on the same items; undefined for the first, and where they can't be compared. */
  readonly comparison?: ResultComparison;
  /** Against what was published. */
  readonly published?: {
    readonly model: string;
    readonly number: PublishedNumber;
    /** Less the published value: above 0 is better. */
    readonly difference: number;
    /** In what the protocol differs; empty where in nothing that is known. */
    readonly differences: readonly string[];
  };
  /** Images that could not be read. */
  readonly skipped: number;
  readonly stored: StoredResult;
}

/** A metric on a data set. */
export interface ReportRow {
  /** Short name. */
  readonly dataset: string;
  /** Name for people, where one is known. */
  readonly title: string;
  /** As in result files; `taskTitle` for people. */
  readonly task: string;
  readonly metric: string;
  /** One for each model; undefined where it has no such result. */
  readonly cells: readonly (ReportCell | undefined)[];
  /** One for each published model of the report. */
  readonly published: readonly (PublishedNumber | undefined)[];
}

/** A mean over the data sets of a task that all models have. */
export interface ReportMean {
  readonly task: string;
  readonly datasets: number;
  readonly values: readonly number[];
}

/** What the report's forms (page, Markdown, CSV, LaTeX) are made from. */
export interface Report {
  /** Models in the order in which their results were given; the first is what the others are compared with. */
  readonly models: readonly string[];
  readonly published: readonly PublishedModel[];
  readonly rows: readonly ReportRow[];
  readonly means: readonly ReportMean[];
  /** Runs that differ in nothing but their texts. */
  readonly ablations: readonly AblationTable[];
  /** What a reader should know: files without items, comparisons that were not possible. */
  readonly notes: readonly string[];
}

/** What a report holds. */
export interface ReportOptions {
  /** Published models to stand beside one's own. `for` names the model it is held against. Default of `for`: all. */
  readonly published?: readonly { readonly model: PublishedModel; readonly for?: string }[];
  /** Resamples of each interval; 0 leaves intervals and comparisons out. Default 1000. */
  readonly resamples?: number;
  readonly seed?: number;
}

/**
 * Puts results together.
 * @throws DataError when two results are of the same model, data set and task, naming both files
 */
export async function buildReport(results: readonly StoredResult[], options: ReportOptions = {}): Promise<Report> {
  const { published = [], resamples = 1000, seed = 0 } = options;
  const models = [...new Set(results.map(({ result }) => modelTitle(result)))];
  const unknown = published.find((one) => one.for !== undefined && !models.includes(one.for));
  if (unknown) throw new DataError(`There are no results of a model "${unknown.for}". Models: ${models.join(", ")}.`);
  const notes = new Set<string>();
  const keys = new Map<string, { dataset: string; task: string; metric: string; stored: Map<string, StoredResult> }>();
  for (const stored of results) {
    for (const metric of metricsOf(stored.result)) {
      const { dataset, task } = stored.result;
      const key = [shortDataset(dataset), task, variant(stored.result), metric].join(" ");
      const entry = keys.get(key) ?? { dataset: shortDataset(dataset), task, metric, stored: new Map() };
      keys.set(key, entry);
      const model = modelTitle(stored.result);
      const other = entry.stored.get(model);
      if (other !== undefined) {
        throw new DataError(`${other.path} and ${stored.path} are both of ${model} on ${dataset}, ${task}.`, {
          mend: "Leave one of them out, or evaluate one under another name (--name).",
        });
      }
      entry.stored.set(model, stored);
    }
  }
  const ablations = ablationTables(results);
  for (const note of ablations.flatMap((table) => table.notes)) notes.add(note);
  const rows: ReportRow[] = [];
  for (const { dataset, task, metric, stored } of [...keys.values()].sort(byPlace)) {
    const cells: (ReportCell | undefined)[] = [];
    const first = stored.get(models[0]!);
    for (const model of models) {
      const own = stored.get(model);
      cells.push(own && (await cellOf(own, { metric, first, model, published, bootstrap: { resamples, seed }, notes })));
    }
    const numbers = published.map((one) => {
      const example = [...stored.values()][0]!.result;
      const number = publishedNumber(one.model, example);
      return number?.metric === metric ? number : undefined;
    });
    rows.push({ dataset, title: titleOf(dataset), task, metric, cells, published: numbers });
  }
  return {
    models,
    published: published.map(({ model }) => model),
    rows: withAdjusted(rows),
    means: meansOf(rows, models.length),
    ablations,
    notes: [...notes],
  };
}

/** A task in words. */
export function taskTitle(task: string): string {
  const found = (Object.keys(taskNames) as TaskName[]).find((name) => taskNames[name] === task);
  return found ?? task.replaceAll("_", " ");
}

/** A metric in words. */
export function metricTitle(metric: string): string {
  const names: Record<string, string> = {
    acc1: "top-1",
    acc5: "top-5",
    mean_per_class_recall: "mean per class",
    lp_acc1: "top-1",
    lp_acc5: "top-5",
    lp_mean_per_class_recall: "mean per class",
  };
  return names[metric] ?? metric.replace(/_retrieval_recall@/, " recall@").replaceAll("_", " ");
}

/** How a number is known, as a sign behind it. */
export function markSign(mark: Mark): string {
  return { verified: "", figure: "~", remembered: "?" }[mark];
}

function modelTitle({ model, pretrained }: EvaluationResult): string {
  return pretrained === "" ? model : `${model} ${pretrained}`;
}

function titleOf(dataset: string): string {
  return findDefinition(dataset)?.title ?? findRetrievalDefinition(dataset)?.title ?? dataset;
}

/** What tells results of one task on one data set apart: probes on a few images of each class, other languages. */
function variant({ metrics, language }: EvaluationResult): string {
  const shots = metrics["fewshot_k"];
  return `${language}${typeof shots === "number" && shots > 0 ? ` ${shots}-shot` : ""}`;
}

/** The metrics that a result is told of by. */
function metricsOf(result: EvaluationResult): string[] {
  const { metrics, laclip, task, dataset } = result;
  const recalls = Object.keys(metrics).filter((name) => /_retrieval_recall@\d+$/.test(name));
  if (recalls.length > 0) return recalls.filter((name) => typeof metrics[name] === "number");
  const prefix = task === taskNames["linear-probe"] ? "lp_" : "";
  const usual = `${prefix}${findDefinition(shortDataset(dataset))?.metric ?? "acc1"}`;
  const main = laclip?.mainMetric ?? usual;
  const found = [main, usual, `${prefix}acc1`, ...Object.keys(metrics)].find((name) => typeof metrics[name] === "number");
  return found === undefined ? [] : [found];
}

interface CellContext {
  metric: string;
  first: StoredResult | undefined;
  model: string;
  published: NonNullable<ReportOptions["published"]>;
  bootstrap: { resamples: number; seed: number };
  notes: Set<string>;
}

async function cellOf(stored: StoredResult, { metric, first, model, published, bootstrap, notes }: CellContext): Promise<ReportCell> {
  const { result, path } = stored;
  const value = result.metrics[metric] as number;
  const about = published.find((one) => one.for === model) ?? published.find((one) => one.for === undefined);
  const number = about && publishedNumber(about.model, result);
  const held =
    about && number?.metric === metric
      ? { model: about.model.title, number, difference: value - number.value, differences: protocolDifferences(result, number) }
      : undefined;
  let interval: Estimate | undefined;
  let comparison: ResultComparison | undefined;
  if (bootstrap.resamples > 0) {
    try {
      const outcomes = await readOutcomes(stored, metric);
      if (outcomes && outcomes.values.length > 0) {
        interval = bootstrapInterval(outcomes.values, { ...bootstrap, ...(outcomes.classes ? { classes: outcomes.classes } : {}) });
        // What the file of items says must be what the result says, or the interval is one of something else.
        if (Math.abs(interval.value - value) > 1e-4) {
          notes.add(`${path}: its items give ${interval.value.toFixed(4)} and not ${value.toFixed(4)}; no interval is shown.`);
          interval = undefined;
        }
      }
      // Of several recalls of one data set only the main one: the others say nearly the same, and would cost the rest their stars.
      const main = metric === (result.laclip?.mainMetric ?? metric);
      if (interval && main && first !== undefined && first !== stored && first.result.laclip?.perItem) {
        comparison = (await compareResults([first], [stored], { metric, ...bootstrap })).comparisons[0];
        if (comparison !== undefined && comparison.differences.length > 0) {
          const [one, two] = [modelTitle(first.result), modelTitle(result)];
          notes.add(
            `${one} and ${two} on ${result.dataset}, ${taskTitle(result.task)}: measured in different ways: ${comparison.differences.join("; ")}.`,
          );
        }
      }
    } catch (error) {
      if (!LaclipError.is(error)) throw error;
      notes.add(error.message);
    }
  }
  return {
    value,
    skipped: result.laclip?.skipped.count ?? 0,
    stored,
    ...(interval ? { interval } : {}),
    ...(comparison ? { comparison } : {}),
    ...(held ? { published: held } : {}),
  };
}

/** All comparisons of a report are made at once, so their p values are raised together. */
function withAdjusted(rows: readonly ReportRow[]): ReportRow[] {
  const all = rows.flatMap(({ cells }) => cells.flatMap((cell) => (cell?.comparison ? [cell.comparison.p] : [])));
  const adjusted = holm(all);
  let at = 0;
  return rows.map((row) => ({
    ...row,
    cells: row.cells.map((cell) => (cell?.comparison ? { ...cell, comparison: { ...cell.comparison, adjustedP: adjusted[at++]! } } : cell)),
  }));
}

function meansOf(rows: readonly ReportRow[], models: number): ReportMean[] {
  return [...new Set(rows.map(({ task }) => task))].flatMap((task) => {
    const shared = rows.filter((row) => row.task === task && row.cells.length === models && row.cells.every((cell) => cell !== undefined));
    if (new Set(shared.map(({ dataset }) => dataset)).size < 2 || shared.some(({ metric }) => metric.includes("@"))) return [];
    const values = Array.from({ length: models }, (_, i) => shared.reduce((sum, { cells }) => sum + cells[i]!.value, 0) / shared.length);
    return [{ task, datasets: shared.length, values }];
  });
}
