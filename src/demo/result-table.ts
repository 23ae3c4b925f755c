/** The result as a table of text, for the end of the command. */
import { points } from "../support/index.ts";
import type { DemoMethod, DemoResults, Wording } from "./demo-results.ts";
import { interval } from "../evaluation/index.ts";
import { figure } from "./report-story.ts";

/** A line for each method: top-1 and top-5 in both wordings (mean and 95 % interval over the seeds), steps, seconds a run. */
export function resultTable({ methods, world }: Pick<DemoResults, "methods" | "world">): string {
  const head = ["method", "own words top-1 / top-5", "other words top-1 / top-5", "steps", "seconds"];
  const rows = methods.map((method) => [
    method.label,
    `${scoreText(method, "ownWords", "top1")} / ${scoreText(method, "ownWords", "top5")}`,
    `${scoreText(method, "otherWords", "top1")} / ${scoreText(method, "otherWords", "top5")}`,
    String(method.seeds[0]!.steps),
    secondsText(method),
  ]);
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd();
  const chance = (100 / world.concepts).toFixed(2);
  return [
    `Zero-shot, ${world.heldOutStyle} (never trained on), ${world.concepts} classes, per cent; chance ${chance}`,
    line(head),
    line(widths.map((width) => "-".repeat(width))),
    ...rows.map(line),
  ].join("\n");
}

/** "12.3 ± 0.4": mean and 95 % interval of one figure over the seeds, in per cent; of one seed, the figure alone. */
export function scoreText(method: DemoMethod, words: Wording, measure: "top1" | "top5"): string {
  const { mean, half } = figure(method, words, measure);
  return half === undefined ? points(mean) : `${points(mean)} ± ${points(half)}`;
}

/** Mean training time of a run, in whole seconds. */
export function secondsText({ seeds }: DemoMethod): string {
  return interval(seeds.map(({ seconds }) => seconds)).mean.toFixed(0);
}
