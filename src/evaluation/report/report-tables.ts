/** A report as a table in Markdown, LaTeX or csv. Values in text tables are per cent; csv has the numbers as the results say them. */
import { points, signedPoints } from "../../support/index.ts";
import { csvLine } from "../../formats/index.ts";
import type { AblationTable } from "./ablation.ts";
import { type Report, type ReportCell, type ReportRow, markSign, metricTitle, taskTitle } from "./report.ts";

/** p below which a difference is called clear. */
const clear = 0.05;

/** Markdown: the table, the ablations, and below them what signs and flags mean. */
export function reportMarkdown(report: Report): string {
  const { models, published } = report;
  const flags = new Flags();
  const head = ["data set", "task", "metric", ...models, ...published.map(({ title }) => title)];
  const rows = report.rows.map((row) => [
    row.title,
    taskTitle(row.task),
    metricTitle(row.metric),
    ...row.cells.map((cell) => cellText(cell, flags)),
    ...row.published.map((number) => (number ? `${points(number.value)}${markSign(number.mark)}` : "")),
  ]);
  const means = report.means.map(({ task, datasets, values }) => [
    `**mean of ${datasets}**`,
    taskTitle(task),
    "",
    ...values.map((value) => points(value)),
    ...published.map(() => ""),
  ]);
  const table = [head, head.map((_, i) => (i < 3 ? "---" : "--:")), ...rows, ...means].map((row) => row.map(escapeMarkdown));
  const lines = table.map((row) => `| ${row.join(" | ")} |`);
  const ablations = report.ablations.flatMap((one) => ["", ...ablationMarkdown(one)]);
  return [...lines, "", ...legend(report, flags).map((line) => `- ${line}`), ...ablations].join("\n").trimEnd() + "\n";
}

/** LaTeX: a `tabular` with booktabs rules, to be put into a table. */
export function reportLatex(report: Report): string {
  const { models, published, rows, means } = report;
  const flags = new Flags();
  const line = (cells: readonly string[]): string => `${cells.map(escapeLatex).join(" & ")} \\\\`;
  const body = rows.map((row) =>
    line([
      row.title,
      taskTitle(row.task),
      metricTitle(row.metric),
      ...row.cells.map((cell) => cellText(cell, flags)),
      ...row.published.map((number) => (number ? `${points(number.value)}${markSign(number.mark)}` : "")),
    ]),
  );
  const foot = means.map(({ task, datasets, values }) =>
    line([`mean of ${datasets}`, taskTitle(task), "", ...values.map((value) => points(value)), ...published.map(() => "")]),
  );
  const comments = legend(report, flags).map((text) => `% ${text}`);
  return [
    ...comments,
    `\\begin{tabular}{lll${"r".repeat(models.length + published.length)}}`,
    "\\toprule",
    line(["data set", "task", "metric", ...models, ...published.map(({ title }) => title)]),
    "\\midrule",
    ...body,
    ...(foot.length > 0 ? ["\\midrule", ...foot] : []),
    "\\bottomrule",
    "\\end{tabular}",
    "",
    ...report.ablations.flatMap((one) => [...ablationLatex(one), ""]),
  ].join("\n");
}

/** What a line of csv is about. */
interface CsvRow {
  row: ReportRow;
  model: string;
  first: string;
  cell: ReportCell;
}

const csvColumns: Readonly<Record<string, (line: CsvRow) => string | number | undefined>> = {
  dataset: ({ row }) => row.dataset,
  task: ({ row }) => row.task,
  metric: ({ row }) => row.metric,
  model: ({ model }) => model,
  value: ({ cell }) => cell.value,
  low: ({ cell }) => cell.interval?.low,
  high: ({ cell }) => cell.interval?.high,
  images_left_out: ({ cell }) => cell.skipped,
  compared_with: ({ cell, first }) => cell.comparison && first,
  difference: ({ cell }) => cell.comparison?.difference.value,
  difference_low: ({ cell }) => cell.comparison?.difference.low,
  difference_high: ({ cell }) => cell.comparison?.difference.high,
  p: ({ cell }) => cell.comparison?.p,
  p_adjusted: ({ cell }) => cell.comparison?.adjustedP,
  test: ({ cell }) => cell.comparison?.test,
  published_model: ({ cell }) => cell.published?.model,
  published: ({ cell }) => cell.published?.number.value,
  published_mark: ({ cell }) => cell.published?.number.mark,
  published_source: ({ cell }) => cell.published?.number.source,
  published_difference: ({ cell }) => cell.published?.difference,
  protocol_differences: ({ cell }) => cell.published?.differences.join("; "),
  file: ({ cell }) => cell.stored.path,
};

/** csv: a line for each model, data set and metric, with all that is known of it. */
export function reportCsv({ rows, models }: Report): string {
  const lines = rows.flatMap((row) => row.cells.flatMap((cell, i) => (cell ? [{ row, cell, model: models[i]!, first: models[0]! }] : [])));
  const columns = Object.values(csvColumns);
  return [csvLine(Object.keys(csvColumns)), ...lines.map((line) => csvLine(columns.map((column) => String(column(line) ?? ""))))].join("");
}

/** Sentences that a table needs below it: what its signs mean, where protocols differ, what could not be done. */
export function legend(report: Report, flags: Flags): string[] {
  const cells = report.rows.flatMap((row) => row.cells.filter((cell) => cell !== undefined));
  const marks = new Set(report.rows.flatMap((row) => row.published.flatMap((number) => (number ? [number.mark] : []))));
  const sources = [...new Set(report.rows.flatMap((row) => row.published.flatMap((one) => (one ? [`${one.source} (${one.mark})`] : []))))];
  const compared = cells.some(({ comparison }) => comparison !== undefined);
  return [
    "Per cent.",
    ...(cells.some(({ interval }) => interval) ? ["With a value, its 95 % interval: a bootstrap over the items."] : []),
    ...(cells.some(isClearlyOther)
      ? [`*: differs from ${report.models[0]} on the same items; p below ${clear}, raised for all comparisons of this table (Holm).`]
      : []),
    ...(compared && !cells.some(isClearlyOther)
      ? [`No model differs clearly from ${report.models[0]} on the same items: no p is below ${clear} after Holm's rule.`]
      : []),
    ...(cells.some(({ published }) => published) ? ["Δ: less the published number."] : []),
    ...(marks.has("remembered") ? ["?: remembered and never checked against the paper; a hint, no more."] : []),
    ...(marks.has("figure") ? ["~: read off a published plot."] : []),
    ...(sources.length > 0 ? [`Published numbers: ${sources.join("; ")}.`] : []),
    ...flags.sentences(),
    ...report.notes,
  ];
}

/** Numbers for the sentences that say where a protocol differs: the same sentence has the same number. */
export class Flags {
  readonly #known: string[] = [];

  /** @returns "[1]" */
  sign(differences: readonly string[]): string {
    if (differences.length === 0) return "";
    const sentence = differences.join("; ");
    if (!this.#known.includes(sentence)) this.#known.push(sentence);
    return `[${this.#known.indexOf(sentence) + 1}]`;
  }

  sentences(): string[] {
    return this.#known.map((sentence, i) => `[${i + 1}] Measured otherwise than published, or not known to be the same: ${sentence}.`);
  }
}

/** "48.4 (48.0–48.8)* Δ −0.2 [1]" */
function cellText(cell: ReportCell | undefined, flags: Flags): string {
  if (!cell) return "";
  const { value, interval, published } = cell;
  const range = interval ? ` (${points(interval.low)}–${points(interval.high)})` : "";
  const delta = published
    ? ` Δ ${signedPoints(published.difference)}${markSign(published.number.mark)} ${flags.sign(published.differences)}`
    : "";
  return `${points(value)}${range}${isClearlyOther(cell) ? "*" : ""}${delta}`.trimEnd();
}

/** True where the cell differs from the first model's beyond chance. */
export function isClearlyOther({ comparison }: Pick<ReportCell, "comparison">): boolean {
  return comparison !== undefined && comparison.adjustedP < clear;
}

function ablationMarkdown(ablation: AblationTable): string[] {
  const { head, rows } = ablationCells(ablation);
  return [
    ablationTitle(ablation),
    "",
    ...[head, head.map((_, i) => (i < 1 ? "---" : "--:")), ...rows].map((row) => `| ${row.map(escapeMarkdown).join(" | ")} |`),
  ];
}

function ablationLatex(ablation: AblationTable): string[] {
  const { head, rows } = ablationCells(ablation);
  const line = (cells: readonly string[]): string => `${cells.map(escapeLatex).join(" & ")} \\\\`;
  return [
    `% ${ablationTitle(ablation)}`,
    `\\begin{tabular}{l${"r".repeat(head.length - 1)}}`,
    "\\toprule",
    line(head),
    "\\midrule",
    ...rows.map(line),
    "\\bottomrule",
    "\\end{tabular}",
  ];
}

function ablationTitle({ title }: AblationTable): string {
  return `Texts: ${title}, and the same with other texts. Mean over seeds with 95 % interval; Δ: seed by seed against the first row.`;
}

function ablationCells({ columns, variants }: AblationTable): { head: string[]; rows: string[][] } {
  const head = ["texts", "seeds", ...columns.map(({ dataset, task }) => `${dataset}, ${taskTitle(task)}`)];
  const rows = variants.map(({ title: texts, seeds, cells }) => [
    texts,
    seeds.join(", "),
    ...cells.map((cell) => {
      if (!cell) return "";
      const { value, difference } = cell;
      return `${withHalf(value)}${difference ? ` Δ ${signedPoints(difference.mean)}${difference.half === undefined ? "" : ` ± ${points(difference.half)}`}` : ""}`;
    }),
  ]);
  return { head, rows };
}

/** "12.3 ± 0.4", or "12.3" for a single seed. */
export function withHalf({ mean, half }: { mean: number; half: number | undefined }): string {
  return half === undefined ? points(mean) : `${points(mean)} ± ${points(half)}`;
}

function escapeMarkdown(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;").replace(/\s+/g, " ");
}

const latexSigns: Record<string, string> = {
  "\\": "\\textbackslash{}",
  "~": "\\textasciitilde{}",
  "^": "\\textasciicircum{}",
  "–": "--",
  "−": "$-$",
  Δ: "$\\Delta$",
  "±": "$\\pm$",
};

function escapeLatex(text: string): string {
  return text.replace(/[\\~^–−Δ±]|[&%$#_{}]/g, (sign) => latexSigns[sign] ?? `\\${sign}`);
}
