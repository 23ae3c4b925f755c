/**
 * `laclip rewrites check`: a rewrites folder looked at again, with other checks or with a model that sees the images.
 */
import { basename, dirname, join } from "node:path";
import { InvalidArgumentError } from "commander";
import type { Command } from "commander";
import { openRewritesFolder } from "../../data/index.ts";
import { checkRewrites, defaultChecks, readPairsFile, setCheck } from "../../rewriting/index.ts";
import type { CheckSummary, ImagePolicy, ImageReport } from "../../rewriting/index.ts";
import { UsageError, log, sha256File } from "../../support/index.ts";
import { checkOption } from "../check-option.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseShare, parseWhole } from "../options.ts";
import { createdWith } from "../version.ts";
import { addSecondOptions, captionsOf } from "./rewrite-options.ts";
import type { CaptionOptions } from "./rewrite-options.ts";

interface CheckOptions extends CaptionOptions {
  captions: string;
  out: string;
  check: string[];
  pairs?: string;
  model?: string;
  images?: string;
  policy?: ImagePolicy["kind"];
  delta?: number;
  best?: number;
  softness?: number;
  batchSize: number;
  maxSkipped: number;
  json?: boolean;
}

const policies = ["keep", "best-of", "down-weight", "weigh-pairs"] as const;
/** Where CLIP's cosines of captions and their images lie within some hundredths of each other, so do these. */
const defaults = { delta: 0.05, best: 2, softness: 0.05 } as const;
/** Of policy weigh-pairs: exp(2 x difference), as ALIP has it. */
const alipSoftness = 0.5;

export function checkCommand(): Command {
  const built = command("check", "look at all rewrites again and write them, with what was found, to a new folder")
    .argument("<folder>", "a rewrites folder; it stays as it is")
    .requiredOption("--captions <file>", "the captions that were rewritten")
    .requiredOption("--out <folder>", "the new rewrites folder; started again with the same one, the work goes on")
    .option(...checkOption)
    .option("--pairs <file>", "the example pairs of sources that are not built in, to find copies of them")
    .option("--id-column <name>", "column with the ids (default: id, else the image path)")
    .option("--caption-column <name>", "column with the captions (default: caption, title or text)");
  addSecondOptions(built)
    .optionsGroup("Holding rewrites against their images:")
    .option(
      "--model <folder>",
      "model folder of an image-text model, such as `model` in a run folder (default: what an earlier one measured)",
    )
    .option("--images <folder>", "folder that image paths are relative to (default: the captions' folder)")
    .option("--policy <name>", `what follows from a poor fit: ${policies.join(", ")} (default: keep)`, parsePolicy)
    .option("--delta <cosine>", `keep: how much poorer than the caption a rewrite may fit (default: ${defaults.delta})`, parseCosine)
    .option("--best <count>", `best-of: rewrites of a caption that stay (default: ${defaults.best})`, parseWhole(1))
    .option(
      "--softness <cosine>",
      `down-weight, weigh-pairs: how much poorer a fit has 1/e of the weight (default: ${defaults.softness}; weigh-pairs: ${alipSoftness})`,
      parseCosine,
    )
    .option("--batch-size <images>", "images at once", parseWhole(1), 64)
    .option("--max-skipped <share>", "share of images that may be unreadable", parseShare, 0.01)
    .action(run);
  return examples(
    built,
    "laclip rewrites check rewrites --captions captions.csv --out checked --check repetitive=0.7 --check names-invented=reject",
    "laclip rewrites check rewrites --captions captions.csv --out weighed --model runs/clip/model --policy down-weight",
    "laclip rewrites check rewrites --captions captions.csv --out weighed --model runs/clip/model --policy weigh-pairs",
  );
}

async function run(path: string, options: CheckOptions): Promise<void> {
  const policy = policyOf(options);
  const checks = options.check.reduce(setCheck, defaultChecks);
  const folder = await openRewritesFolder(path);
  const captions = await captionsOf(options.captions, options);
  const job = {
    folder,
    captions,
    out: options.out,
    checks,
    ...(options.pairs === undefined ? {} : { pairs: readPairsFile(options.pairs) }),
    createdWith,
    signal: interruptSignal("saving what was looked at"),
  };
  if (!policy) return tell(await checkRewrites(job), options);
  if (options.model === undefined) return tell(await checkRewrites({ ...job, comparison: { policy } }), options);
  // Only now, so that checking words alone needs no libtorch.
  const [{ ImageTextScorer }, { loadModel }] = await Promise.all([import("../../evaluation/index.ts"), import("../../models/index.ts")]);
  const loaded = loadModel(options.model);
  try {
    const modelHash = await sha256File(join(options.model, "model.safetensors"));
    const scorer = new ImageTextScorer(loaded, nameOf(options.model), modelHash, { batchSize: options.batchSize });
    const { images, maxSkipped: maximumSkipped } = options;
    const comparison = { scorer, policy, maximumSkipped, ...(images === undefined ? {} : { images }) };
    tell(await checkRewrites({ ...job, comparison }), options);
  } finally {
    loaded.model.dispose();
  }
}

/** The policy that the flags ask for; undefined where images play no part. */
function policyOf({ model, images, policy, delta, best, softness }: CheckOptions): ImagePolicy | undefined {
  const numbers = { delta, best, softness };
  if (model === undefined && policy === undefined) {
    if (images === undefined && Object.values(numbers).every((value) => value === undefined)) return undefined;
    throw new UsageError("To hold rewrites against their images a model or a policy is needed.", {
      mend: "Give a model folder with --model; or --policy, for rewrites that a model has looked at before.",
    });
  }
  const kind = policy ?? "keep";
  const own = { keep: "delta", "best-of": "best", "down-weight": "softness", "weigh-pairs": "softness" } as const;
  for (const [name, value] of Object.entries(numbers)) {
    if (value !== undefined && name !== own[kind])
      throw new UsageError(`--${name} says nothing to --policy ${kind}.`, { mend: `Its number is --${own[kind]}.` });
  }
  if (kind === "keep") return { kind, delta: delta ?? defaults.delta };
  if (kind === "best-of") return { kind, count: best ?? defaults.best };
  return { kind, softness: softness ?? (kind === "weigh-pairs" ? alipSoftness : defaults.softness) };
}

/** "clip-seed1/model": a model folder is called `model` more often than not. */
function nameOf(path: string): string {
  const name = basename(path);
  const parent = basename(dirname(path));
  return parent === "" || parent === "." ? name : `${parent}/${name}`;
}

function tell(summary: CheckSummary, { json }: CheckOptions): void {
  if (json) return print(summary);
  const { out, kept, rewrites, usableBefore, usable } = summary;
  if (rewrites === 0 && kept > 0) {
    log.info(`all ${kept} rewrites were looked at before and are in ${out}: there was nothing left to do`);
    log.info(`Count them with \`laclip rewrites stats ${out}\`.`);
    return;
  }
  log.info(
    `${rewrites} rewrites looked at and written to ${out}${kept > 0 ? `; ${kept} were there already, and are not counted here` : ""}`,
  );
  log.info(`${usable} can be trained on; before, ${usableBefore} could`);
  for (const [source, counts] of Object.entries(summary.sources)) {
    log.info(`${source}: ${counts.usable} of ${counts.rewrites} (before: ${counts.usableBefore})`);
    for (const [flag, count] of Object.entries(counts.flags).sort(([, a], [, b]) => b - a)) log.info(`  ${flag}: ${count}`);
  }
  if (summary.images) for (const line of describeImages(summary.images)) log.info(line);
}

function describeImages({ images, unreadable, compared, rejected, meanWeight, meanCaptionWeight, fits }: ImageReport): string[] {
  const lines = [`${compared} rewrites were held against ${images} images; ${rejected} of them were rejected for it`];
  if (unreadable > 0) lines.push(`  ${unreadable} images could not be looked at: what belongs to them stays as it is`);
  if (compared > 0) {
    const [, low, , median, , high] = fits.map((value) => value.toFixed(3));
    lines.push(`  fit of a rewrite less that of its caption: ${median} in the middle, ${low} to ${high} for nine in ten`);
  }
  if (meanCaptionWeight !== 1) lines.push(`  mean weight ${meanWeight.toFixed(3)}, that of captions ${meanCaptionWeight.toFixed(3)}`);
  else if (meanWeight !== 1) lines.push(`  mean weight ${meanWeight.toFixed(3)}, a caption's being 1`);
  return lines;
}

function parsePolicy(text: string): ImagePolicy["kind"] {
  const found = policies.find((name) => name === text);
  if (found === undefined) throw new InvalidArgumentError(`Expected one of: ${policies.join(", ")}.`);
  return found;
}

function parseCosine(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value > 0 && value <= 2)) throw new InvalidArgumentError("Expected a difference of cosines, such as 0.05.");
  return value;
}
