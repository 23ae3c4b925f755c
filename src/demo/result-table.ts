/** The result as a table of text, for the end of the command. */
import type { DemoMethod, DemoResults, Wording } from "./demo-results.ts";
import { interval } from "./interval.ts";

/** A line for each method: top-1 and top-5 in both wordings (mean and 95 % interval over the seeds), steps, seconds a run. */
export function resultTable({ methods, world }: Pick<DemoResults, "methods" | "world">): string {
  const head = ["method", "own words top-1 / top-5", "other words top-1 / top-5", "steps", "seconds"];
  const rows = methods.map((method) => [
    method.label,
    `${score(method, "ownWords", "top1")} / ${score(method, "ownWords", "top5")}`,
    `${score(method, "otherWords", "top1")} / ${score(method, "otherWords", "top5")}`,
    String(method.seeds[0]!.steps),
    interval(method.seeds.map(({ seconds }) => seconds)).mean.toFixed(0),
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

function score({ seeds }: DemoMethod, words: Wording, measure: "top1" | "top5"): string {
  const { mean, half } = interval(seeds.map(({ evaluations }) => 100 * evaluations[words][measure]));
  return half === undefined ? mean.toFixed(1) : `${mean.toFixed(1)} ±${half.toFixed(1)}`;
}
