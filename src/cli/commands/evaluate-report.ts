/** `laclip evaluate report`: results of one or more models as a table or a page, beside what the paper says. */
import { Option, type Command } from "commander";
import {
  buildReport,
  filesOfResult,
  publishedModel,
  readResults,
  renderReport,
  reportCsv,
  reportLatex,
  reportMarkdown,
} from "../../evaluation/index.ts";
import { isPage } from "../../pages/index.ts";
import { UsageError, beginningOf, log, refuseToReplace, writeFileAtomic } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { parseWhole } from "../options.ts";

type Format = "markdown" | "latex" | "csv" | "html";

interface ReportFlags {
  format: Format;
  out?: string;
  published: string[];
  resamples: number;
  seed: number;
  json?: boolean;
}

/** The flag `--published`; may be repeated. */
export const publishedOption: [flags: string, description: string, read: (value: string, before: string[]) => string[], none: string[]] = [
  "--published <name>",
  "a model of the paper to stand beside one's own, or MODEL=NAME for one of several models; may be repeated (`laclip evaluate published` lists them)",
  (value, before) => [...before, value],
  [],
];

export function reportCommand(): Command {
  const built = command("report", "results as a table or a page, several models side by side")
    .argument("<results...>", "folders of results, or single .json files; also those of CLIP_benchmark")
    .addOption(new Option("--format <name>", "form of the report").choices(["markdown", "latex", "csv", "html"]).default("markdown"))
    .option("--out <file>", "where to write it (default: standard output)")
    .option(...publishedOption)
    .option("--resamples <count>", "resamples for intervals and comparisons; 0 leaves them out", parseWhole(0), 1000)
    .option("--seed <number>", "what resamples are drawn from", parseWhole(0), 0)
    .action(run);
  return examples(
    built,
    "laclip evaluate report results/b16 --published laclip-cc12m-vit-b-16",
    "laclip evaluate report results/clip results/laclip --format html --out report.html",
  );
}

async function run(paths: string[], { format, out, published, resamples, seed, json }: ReportFlags): Promise<void> {
  if (json && out !== undefined)
    throw new UsageError("--json prints to standard output, and --out writes a file.", { mend: "Give one of them." });
  const results = readResults(paths);
  if (out !== undefined) {
    // Of a folder it is the results in it that are read; a report may stand beside them.
    const inputs = results.flatMap((stored) => filesOfResult(stored));
    await refuseToReplace(out, { inputs, ...(format === "html" && { isEarlier: (file: string) => isPage(beginningOf(file)) }) });
  }
  const report = await buildReport(results, { published: published.map(readPublished), resamples, seed });
  if (json) return print(report);
  const text = await textOf(format, report);
  if (out === undefined) return print(text.trimEnd());
  writeFileAtomic(out, text);
  log.info(`Report: ${out}`);
}

async function textOf(format: Format, report: Awaited<ReturnType<typeof buildReport>>): Promise<string> {
  switch (format) {
    case "markdown":
      return reportMarkdown(report);
    case "latex":
      return reportLatex(report);
    case "csv":
      return reportCsv(report);
    case "html":
      return await renderReport(report);
  }
}

/** NAME, or MODEL=NAME. @throws UsageError when no numbers are known of it */
export function readPublished(text: string): { model: ReturnType<typeof publishedModel>; for?: string } {
  const at = text.lastIndexOf("=");
  if (at < 0) return { model: publishedModel(text) };
  return { model: publishedModel(text.slice(at + 1)), for: text.slice(0, at) };
}
