/**
 * `laclip rewrite`: every caption of a data set in other words, in the manner of several sources.
 *
 * One process does all of it, or one shard of it; the subcommands (rewrite-queue.ts) spread shards over a pool of machines.
 */
import type { Command } from "commander";
import { chooseShard, complaintsOn, refuseOtherCut, rewriteCaptions, shardFolder } from "../../rewriting/index.ts";
import { log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseAmount, parseWhole } from "../options.ts";
import { createdWith } from "../version.ts";
import { dryRun } from "./rewrite-dry-run.ts";
import { addEngineOptions, addTextOptions, captionsOf, engineOf, required, runSettingsOf, sourcesFor } from "./rewrite-options.ts";
import type { EngineOptions, TextOptions } from "./rewrite-options.ts";
import { enqueueCommand, statusCommand, workCommand } from "./rewrite-queue.ts";

interface Options extends TextOptions, EngineOptions {
  out?: string;
  shard?: string;
  dryRun?: boolean;
  sample: number;
  priceIn?: number;
  priceOut?: number;
  json?: boolean;
}

const outFlag = "--out <folder>";
const llmFlag = "--llm <model>";

export function rewriteCommand(): Command {
  const built = command("rewrite")
    .argument(
      "<captions>",
      "a table (csv, tsv, jsonl, parquet), a text file with one caption a line, annotation files, or a webdataset: docs/caption-formats.md",
    )
    .option(outFlag, "the rewrites folder (required); started again with the same one, the work goes on");
  addEngineOptions(built);
  addTextOptions(built)
    .optionsGroup("Many machines:")
    .option(
      "--shard <number/count>",
      "do only this part, into a folder of its own in --out: 1/16 is the first, 16/16 the last of sixteen; auto reads the variables of a Slurm array or Kubernetes Indexed Job, auto/16 only the number",
    )
    .optionsGroup("What it will take:")
    .option("--dry-run", "rewrite a sample, write nothing, and say how long all captions will take")
    .option("--sample <count>", "with --dry-run: captions to try, best several times those written at once", parseWhole(1), 50)
    .option("--price-in <amount>", "with --dry-run: price of a million tokens of prompt, for the cost", parseAmount)
    .option("--price-out <amount>", "with --dry-run: price of a million generated tokens", parseAmount)
    .action(async (captions: string, options: Options) => await run(captions, options, built));
  // Without it, the flags after a subcommand would be taken for this command's own.
  built.enablePositionalOptions().addCommand(enqueueCommand()).addCommand(workCommand()).addCommand(statusCommand());
  return examples(
    built,
    "laclip rewrite captions.csv --out rewrites --llm llama-7b.Q4_K_M.gguf --sources chatgpt,bard,mscoco,human",
    "laclip rewrite captions.csv --out rewrites --llm http://localhost:8000/v1 --concurrency 256",
    "laclip rewrite captions.csv --out rewrites-eda --llm eda",
    "laclip rewrite captions.csv --out rewrites --llm http://localhost:8000/v1 --shard 3/16",
    "laclip rewrite captions.csv --llm http://localhost:8000/v1 --dry-run --sample 500",
  );
}

async function run(path: string, options: Options, built: Command): Promise<void> {
  const out = options.dryRun ? "" : required(options.out, outFlag, built);
  const engine = engineOf(required(options.llm, llmFlag, built), options);
  try {
    const sources = sourcesFor(engine, options);
    const shard = options.shard === undefined ? undefined : chooseShard(options.shard);
    if (shard && !options.dryRun) refuseOtherCut(out, shard);
    const captions = await captionsOf(path, options);
    log.info(`${captions.path}: ids from ${captions.idFrom}`);
    if (shard) log.info(`shard ${shard.number} of ${shard.of} (${shard.from})`);
    const work = { captions, engine, sources, ...runSettingsOf(options), ...(shard ? { shard } : {}), createdWith };
    if (options.dryRun) {
      const { sample, priceIn, priceOut } = options;
      return await dryRun({ ...work, sample, priceIn, priceOut, signal: interruptSignal("stopping") }, options);
    }
    const summary = await rewriteCaptions({
      ...work,
      out: shard ? shardFolder(out, shard) : out,
      signal: interruptSignal("saving what is done"),
    });
    if (options.json) return print(summary);
    const { written, kept, rejected, failed, seconds } = summary;
    log.info(
      `${written} rewrites written to ${summary.out} in ${seconds.toFixed(1)} s (${(written / Math.max(seconds, 1e-3)).toFixed(1)} a second) with ${summary.model}; ${kept} were there already`,
    );
    if (summary.emptyCaptions > 0) log.warn(`${summary.emptyCaptions} captions are empty and were left out`);
    if (summary.withoutSecond > 0) log.warn(`${summary.withoutSecond} captions have no second caption to be merged with and were left out`);
    if (rejected > 0) log.info(`${rejected} of them are not fit for training: the original caption is used in their place`);
    const shortened = summary.flags["caption-shortened"] ?? 0;
    if (shortened > 0) log.info(`${shortened} were made from a shortened caption, since the whole one was too long for a prompt`);
    for (const [flag, count] of Object.entries(summary.flags)) log.info(`  ${flag}: ${count}`);
    for (const complaint of complaintsOn({ rewrites: written, rejected, flags: summary.flags })) log.warn(complaint);
    if (failed > 0) log.warn(`${failed} rewrites failed; start the same command again to try them again`);
    if (shard) log.info(`When all ${shard.of} shards are done: laclip rewrites merge ${out} --out FOLDER`);
  } finally {
    await engine.close();
  }
}
