/**
 * `laclip data bench`: how fast data come, stage by stage, and what limits them.
 */
import type { Command } from "commander";
import { benchData } from "../../curation/index.ts";
import type { StageReport } from "../../curation/index.ts";
import { formatBytes, log, percent } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { parseAmount, parseWhole } from "../options.ts";

interface BenchFlags {
  images?: string;
  batchSize: number;
  imageSize: number;
  seconds: number;
  imageColumn?: string;
  captionColumn?: string;
  idColumn?: string;
  json?: boolean;
}

export function benchCommand(): Command {
  const built = command("bench", "how fast data are read, decoded, cropped and tokenized, and which of these is the limit")
    .argument(
      "<path>",
      "table of captions, tars (a folder, a pattern, addresses), RedCaps' folder, or a folder with a folder for each class",
    )
    .option("--images <folder>", "folder that image paths are relative to (default: the table's folder)")
    .option("--batch-size <count>", "samples of a batch", parseWhole(1), 64)
    .option("--image-size <pixels>", "side of the images that the model sees", parseWhole(1), 224)
    .option("--seconds <number>", "time for each stage", parseAmount, 3)
    .option("--image-column <name>", "column with the image path")
    .option("--caption-column <name>", "column with the caption")
    .option("--id-column <name>", "column with the sample id (default: id, else the image path)")
    .action(run);
  return examples(built, "laclip data bench captions.csv --images images", "laclip data bench shards --image-size 224 --seconds 1");
}

async function run(path: string, { json, ...options }: BenchFlags): Promise<void> {
  if (!json) print(row("stage", "samples/s", "per CPU second"));
  const report = await benchData({ ...options, path, ...(json ? {} : { onStage: (stage) => print(describe(stage)) }) });
  if (json) return print(report);
  const { shares, limit, advice, processors, shorterSide, bytes } = report;
  const share = shares[limit]!;
  log.info(`${processors} processors; shorter side of the images ${shorterSide} pixels, ${formatBytes(bytes)} a file.`);
  print(`limit: ${limit} (${percent(share, 0)} of a sample's processor time)`);
  for (const sentence of advice) print(`  ${sentence}`);
}

function describe({ stage, perSecond, perCpuSecond }: StageReport): string {
  return row(stage, String(Math.round(perSecond)), String(Math.round(perCpuSecond)));
}

function row(stage: string, wall: string, cpu: string): string {
  return `${stage.padEnd(16)}${wall.padStart(12)}${cpu.padStart(18)}`;
}
