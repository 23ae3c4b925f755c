/**
 * `laclip rewrites stats`: what is in a rewrites folder, in numbers and examples.
 */
import type { Command } from "commander";
import { openRewritesFolder } from "../../data/index.ts";
import { describeStatistics, renderStatistics, rewritesStatistics } from "../../rewriting/index.ts";
import { log, writeFileAtomic } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { preparePage } from "../page-file.ts";
import { parseWhole } from "../options.ts";
import { addSecondOptions, captionsOf } from "./rewrite-options.ts";
import type { CaptionOptions } from "./rewrite-options.ts";

interface StatsOptions extends CaptionOptions {
  captions?: string;
  html?: string;
  examples: number;
  sample: number;
  seed: number;
  json?: boolean;
}

export function statsCommand(): Command {
  const built = command("stats", "what is in a rewrites folder: counts, flags with examples, lengths, variety, faithfulness")
    .argument("<folder>", "a rewrites folder")
    .option("--captions <file>", "the captions that were rewritten: examples beside their caption, and what is kept of it")
    .option("--id-column <name>", "column with the ids (default: id, else the image path)")
    .option("--caption-column <name>", "column with the captions (default: caption, title or text)");
  addSecondOptions(built)
    .option("--html <file>", "also write a page with plots, one file that loads nothing")
    .option("--examples <count>", "examples of each source and flag", parseWhole(0), 3)
    .option("--sample <count>", "captions whose texts are looked at word by word", parseWhole(1), 20_000)
    .option("--seed <number>", "another one draws another sample and other examples", parseWhole(0), 0)
    .action(run);
  return examples(
    built,
    "laclip rewrites stats rewrites",
    "laclip rewrites stats rewrites --captions captions.csv --html rewrites.html",
    "laclip rewrites stats rewrites --json",
  );
}

async function run(path: string, { captions, html, json, examples: shown, sample, seed, ...columns }: StatsOptions): Promise<void> {
  await preparePage(html, columns.secondFrom === undefined ? [path] : [path, columns.secondFrom]);
  const folder = await openRewritesFolder(path);
  const input = captions === undefined ? {} : { captions: await captionsOf(captions, columns) };
  const statistics = await rewritesStatistics(folder, { ...input, examples: shown, sample, seed });
  if (html !== undefined) {
    writeFileAtomic(html, renderStatistics(statistics));
    log.info(`Page: ${html}`);
  }
  if (json) print(statistics);
  else if (html === undefined) print(describeStatistics(statistics));
}
