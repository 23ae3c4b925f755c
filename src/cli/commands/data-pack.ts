/**
 * `laclip data pack`: a table with image files, a folder of images by class, or other tars, as sharded tars.
 */
import { type Command, Option } from "commander";
import { openCollection, packShards } from "../../curation/index.ts";
import type { PackReport } from "../../curation/index.ts";
import { UsageError, formatBytes, log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseBytes, parseShare, parseWhole } from "../options.ts";
import { createdWith } from "../version.ts";

interface PackFlags {
  out: string;
  images?: string;
  rewrites?: string;
  sources?: string;
  samplesPerShard?: number;
  shardBytes?: number;
  resize?: number;
  quality?: number;
  order: "shuffled" | "table";
  seed: number;
  caption?: string;
  classes?: string;
  decode: boolean;
  imageColumn?: string;
  captionColumn?: string;
  idColumn?: string;
  maxSkipped: number;
  minMatched?: number;
  otherCaptions?: boolean;
  inFlight?: number;
  json?: boolean;
}

export function packCommand(): Command {
  const built = command("pack", "a table with images, a folder of images by class, or other tars, as webdataset tars")
    .argument(
      "<captions>",
      "table of captions (csv, tsv, jsonl, parquet), a folder that holds captions.csv, RedCaps' folder, a folder with a folder for each class, or tars on this machine",
    )
    .requiredOption("--out <folder>", "folder for the tars; one with an unfinished packing of the same data is gone on with")
    .option("--images <folder>", "folder that image paths are relative to (default: the table's folder)")
    .option(
      "--rewrites <folder>",
      "rewrites folder, joined by sample id: its texts go into each sample's .json, in place of those that tars have",
    )
    .option("--sources <names>", "only the rewrites of these sources, comma-separated")
    .option("--samples-per-shard <count>", "samples of a tar (default: 10000)", parseWhole(1))
    .option("--shard-bytes <size>", "end a tar before it is larger than this, such as 400MB", parseBytes)
    .option(
      "--resize <pixels>",
      "store larger images as JPEGs with a shorter side of so many pixels (default: all as they are)",
      parseWhole(1),
    )
    .option("--quality <1..100>", "of the JPEGs that --resize makes (default: 95)", parseWhole(1, 100))
    .addOption(
      new Option("--order <order>", "mix the samples, so that neighbours are not alike, or keep them as they come")
        .choices(["shuffled", "table"])
        .default("shuffled"),
    )
    .option("--seed <number>", "another one mixes otherwise", parseWhole(0), 0)
    .option("--caption <text>", 'images by class: the caption of each, with {class} for the name (default: "a photo of a {class}")')
    .option("--classes <file>", "images by class: names of the classes, as for `laclip evaluate zero-shot`")
    .option("--no-decode", "look at the images' headers only: faster, but images that are cut short are packed too")
    .option("--image-column <name>", "column with the image path")
    .option("--caption-column <name>", "column with the caption")
    .option("--id-column <name>", "column with the sample id (default: id, else the image path)")
    .option("--max-skipped <share>", "share of rows and images that may be unusable", parseShare, 0.01)
    .option("--min-matched <share>", "share of samples that must have a rewrite", parseShare)
    .option("--other-captions", "join rewrites by ids that are mere numbers although the captions are not those that were rewritten")
    .option("--in-flight <count>", "images under way at once (default: twice the processors)", parseWhole(1))
    .action(run);
  return examples(
    built,
    "laclip data pack captions.csv --images images --rewrites rewrites --out shards",
    "laclip data pack captions.parquet --out shards --shard-bytes 400MB --resize 256",
    "laclip data pack shards --out smaller --resize 256",
    'laclip data pack clothing/train --caption "a photo of a {class}" --out shards',
  );
}

async function run(path: string, flags: PackFlags): Promise<void> {
  const { out, images, rewrites, sources, caption, classes, imageColumn, captionColumn, idColumn, json, ...rest } = flags;
  const { samplesPerShard, shardBytes, resize, quality, order, seed, decode, inFlight } = rest;
  const join = {
    sources: sources?.split(",").map((name) => name.trim()),
    minimumMatched: flags.minMatched,
    otherCaptions: flags.otherCaptions,
  };
  if (rewrites === undefined && sources !== undefined)
    throw new UsageError("--sources chooses among the rewrites of a folder, and none was given.", { mend: "Name it with --rewrites." });
  const signal = interruptSignal("stopping; finished tars stay");
  // Missing image files are found when they are read, and listed with the unreadable ones.
  const columns = { imageColumn, captionColumn, idColumn, maximumSkipped: flags.maxSkipped, checkImages: false };
  const { kind, pairs } = await openCollection({ path, images, caption, classes, rewrites, join, ...columns });
  const first = pairs.samples.length > 0 ? JSON.stringify(pairs.samples.at(0).captions[0]!.text) : "";
  if (kind === "classes") log.info(`${path}: ${pairs.samples.length} images by class; the first caption is ${first}.`);
  const made = { samplesPerShard, shardBytes, resize, quality, order, seed, decode, inFlight };
  const report = await packShards({ pairs, out, ...made, maximumSkipped: flags.maxSkipped, createdWith, signal });
  describe(report);
  if (json) print(report);
}

function describe({ out, shards, kept, samples, bytes, resized, converted, skipped, jsonTextKey, jsonTextKeyProbs }: PackReport): void {
  const earlier = kept > 0 ? ` (${kept} of them by an earlier start)` : "";
  log.info(`${samples} samples in ${shards} ${shards === 1 ? "tar" : "tars"}${earlier}, ${formatBytes(bytes)}: ${out}`);
  if (resized > 0) log.info(`  ${resized} images were made smaller`);
  if (converted > 0) log.info(`  ${converted} images of other formats are PNGs now`);
  if (skipped > 0) log.info(`  ${skipped} images could not be read; skipped.jsonl lists them`);
  if (jsonTextKeyProbs.length > 1)
    log.info(`open_clip: --json-text-key "${jsonTextKey}" --json-text-key-probs ${jsonTextKeyProbs.join(" ")}`);
}
