/** `laclip evaluate compare`: whether two models differ on the same images, or only by chance. */
import type { Command } from "commander";
import { type Comparisons, type ResultComparison, compareResults, metricTitle, readResults, taskTitle } from "../../evaluation/index.ts";
import { log, percent, signedPoints } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { parseWhole } from "../options.ts";

interface CompareFlags {
  metric?: string;
  resamples: number;
  seed: number;
  json?: boolean;
}

export function compareCommand(): Command {
  const built = command("compare", "two models on the same images: the difference, its interval, and how likely it is by chance")
    .argument("<first>", "folder of results of one model, or a single .json file")
    .argument("<second>", "the same of the other model")
    .option("--metric <name>", "what to compare, such as acc5 (default: what each data set is told of by)")
    .option("--resamples <count>", "resamples for intervals", parseWhole(1), 2000)
    .option("--seed <number>", "what resamples are drawn from", parseWhole(0), 0)
    .action(run);
  return examples(
    built,
    "laclip evaluate compare results/clip results/laclip",
    "laclip evaluate compare results/clip results/laclip --metric acc5 --json",
  );
}

async function run(first: string, second: string, { json, ...options }: CompareFlags): Promise<void> {
  const comparisons = await compareResults(readResults([first]), readResults([second]), options);
  if (json) return print(comparisons);
  for (const { dataset, task, reason } of comparisons.impossible) log.warn(`${dataset}, ${taskTitle(task)}: not compared: ${reason}`);
  print(`first   ${first}\nsecond  ${second}\n${describe(comparisons, options.resamples)}`);
}

function describe({ comparisons }: Comparisons, resamples: number): string {
  const lines = comparisons.map((one) => {
    const { dataset, task, metric, items, unmatched, first, second, difference, differences } = one;
    const left = unmatched > 0 ? `, ${unmatched} that only one has left out` : "";
    return [
      `${dataset}, ${taskTitle(task)}, ${metricTitle(metric)} (${items} items of both${left})`,
      `  first ${percent(first.value)} (${percent(first.low)} to ${percent(first.high)}), second ${percent(second.value)} (${percent(second.low)} to ${percent(second.high)})`,
      `  difference ${signedPoints(difference.value)} points, 95 % interval ${signedPoints(difference.low)} to ${signedPoints(difference.high)}`,
      `  ${chance(one, comparisons.length, resamples)}`,
      ...(differences.length > 0 ? [`  measured in different ways: ${differences.join("; ")}`] : []),
    ].join("\n");
  });
  return lines.join("\n");
}

function chance({ p, adjustedP, test, onlyFirst, onlySecond }: ResultComparison, comparisons: number, resamples: number): string {
  const which =
    test === "mcnemar-exact"
      ? "exact McNemar test"
      : `paired bootstrap of ${resamples} resamples, which can show no less than ${rounded(2 / (resamples + 1))}`;
  const items = onlyFirst === undefined ? "" : `; right in the first alone ${onlyFirst}, in the second alone ${onlySecond}`;
  const raised = comparisons > 1 ? `, ${rounded(adjustedP)} with all ${comparisons} comparisons in mind (Holm)` : "";
  return `p ${rounded(p)}${raised}, ${which}${items}: ${adjustedP < 0.05 ? "more than chance" : "chance alone may explain it"}`;
}

function rounded(p: number): string {
  return p < 0.0001 ? "below 0.0001" : p.toPrecision(2);
}
