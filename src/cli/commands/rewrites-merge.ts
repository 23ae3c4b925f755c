/**
 * `laclip rewrites merge` and `laclip rewrites verify`: from shards to one folder, and whether a folder is whole.
 */
import type { Command } from "commander";
import { mergeShards, openCaptions, verifyRewrites } from "../../rewriting/index.ts";
import type { VerifyReport } from "../../rewriting/index.ts";
import { DataError, log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";
import { createdWith } from "../version.ts";

export function mergeCommand(): Command {
  const built = command("merge", "shards that were written by several machines, as one rewrites folder")
    .argument("<folders...>", "the folder that was given to `laclip rewrite --shard` as --out, or single shards")
    .requiredOption("--out <folder>", "the rewrites folder to write: a new one, or one that an earlier merge left")
    .option("--partial", "merge what there is, though shards or rewrites are missing")
    .action(async (shards: string[], options: { out: string; partial?: boolean; json?: boolean }) => {
      const { out, partial = false, json } = options;
      const report = await mergeShards({ shards, out, partial, createdWith, signal: interruptSignal("stopping") });
      if (json) return print(report);
      log.info(`${report.rewrites} rewrites of ${report.dataset} from ${report.shards} of ${report.of} shards merged into ${report.out}`);
      for (const [source, count] of Object.entries(report.sources)) {
        const missing = report.missing[source]! > 0 ? `, ${report.missing[source]} missing` : "";
        log.info(`  ${source}: ${count}${missing}`);
      }
    });
  return examples(
    built,
    "laclip rewrites merge rewrites --out merged",
    "laclip rewrites merge a/shards/0001-of-0002 b/shards/0002-of-0002 --out merged",
  );
}

export function verifyCommand(): Command {
  const built = command("verify", "whether a rewrites folder, or a folder of shards, is readable and whole")
    .argument("<folder>", "a rewrites folder, or one with shards")
    .option("--captions <file>", "the captions that were rewritten; then missing and foreign rewrites are named")
    .option("--id-column <name>", "column with the ids, as it was given to `laclip rewrite`")
    .option("--caption-column <name>", "column with the captions, likewise")
    .action(async (path: string, options: { captions?: string; idColumn?: string; captionColumn?: string; json?: boolean }) => {
      const { captions, json, ...columns } = options;
      const report = await verifyRewrites(path, captions === undefined ? {} : { captions: await openCaptions(captions, columns) });
      if (json) print(report);
      else describe(report);
      const { faults, mends } = report;
      if (faults.length === 0) return;
      throw new DataError(`${path}: this folder is not as it should be:\n${faults.map((fault) => `  ${fault}`).join("\n")}`, {
        mend: mends.join("\n  "),
      });
    });
  return examples(built, "laclip rewrites verify rewrites", "laclip rewrites verify merged --captions captions.csv");
}

function describe({ folder, dataset, shards, parts, rewrites, sources, faults }: VerifyReport): void {
  const cut = shards > 0 ? ` in ${shards} shards` : "";
  log.info(`${folder}: ${rewrites} rewrites of ${dataset}${cut}, ${parts} parts`);
  for (const [source, { rewrites: count, usable, missing }] of Object.entries(sources))
    log.info(`  ${source}: ${count} rewrites, ${usable} usable, ${missing} missing`);
  if (faults.length === 0) log.info("All is well: every part is readable, nothing is missing, nothing is there twice.");
}
