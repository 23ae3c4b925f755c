/** `laclip evaluate zero-shot`: a model folder, a folder of images by class, and CLIP_benchmark's numbers come out. */
import { basename } from "node:path";
import { existsSync, readFileSync } from "node:fs";
import { Command } from "commander";
import { openLabelledFolder } from "../../data/index.ts";
import { zeroShot } from "../../evaluation/index.ts";
import { loadModel } from "../../models/index.ts";
import { DataError, log, readJson } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { parseWhole, parseShare } from "../options.ts";

interface ZeroShotFlags {
  model: string;
  dataset: string;
  classes?: string;
  templates?: string;
  batchSize: number;
  maxSkipped: number;
  predictions?: boolean;
  json?: boolean;
}

export function evaluateCommand(): Command {
  return new Command("evaluate").description("score a model: zero-shot classification").addCommand(zeroShotCommand());
}

function zeroShotCommand(): Command {
  const zeroShot = command("zero-shot", "classify images by the words for their classes")
    .requiredOption("--model <folder>", "model folder: `model` or a checkpoint in a run folder")
    .requiredOption("--dataset <folder>", "a folder for each class, with images inside")
    .option("--classes <file>", "JSON object from class folder to its name, or to a list of names (default: as the data set says)")
    .option("--templates <file>", "prompts, a line each, {} for the name (default: the data set's templates.txt, else `a photo of a {}.`)")
    .option("--batch-size <images>", "images at once", parseWhole(1), 64)
    .option("--max-skipped <share>", "share of images that may be unreadable", parseShare, 0.01)
    .option("--predictions", "with --json: also every image's best five classes")
    .action(run);
  return examples(
    zeroShot,
    "laclip evaluate zero-shot --model laclip-demo/runs/laclip-human-seed1/model --dataset laclip-demo/data/held-out --classes laclip-demo/data/held-out/classes-other-words.json",
    "laclip evaluate zero-shot --model runs/b16/model --dataset imagenet/val --templates templates.txt --json",
  );
}

async function run(flags: ZeroShotFlags): Promise<void> {
  const dataset = openLabelledFolder(flags.dataset);
  const names = flags.classes === undefined ? dataset.classes.map((name) => [name]) : readClasses(flags.classes, dataset.folders);
  const templates = flags.templates === undefined ? (dataset.templates ?? ["a photo of a {}."]) : readTemplates(flags.templates);
  const loaded = loadModel(flags.model);
  try {
    const result = await zeroShot(
      loaded,
      dataset.items,
      { names, templates },
      { batchSize: flags.batchSize, maximumSkipped: flags.maxSkipped },
    );
    const { acc1, acc5, mean_per_class_recall: recall } = result.metrics;
    const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
    log.info(
      `${result.predictions.length} images, ${names.length} classes, ${templates.length} templates; ${result.skipped} images skipped.`,
    );
    if (!flags.json) return print(`top-1 ${percent(acc1)}  top-5 ${percent(acc5)}  mean per class ${percent(recall)}`);
    print({
      dataset: basename(dataset.path),
      model: flags.model,
      pretrained: "",
      task: "zeroshot_classification",
      metrics: result.metrics,
      language: "en",
      images: result.predictions.length,
      skipped: result.skipped,
      ...(flags.predictions ? { classes: dataset.folders, predictions: result.predictions } : {}),
    });
  } finally {
    loaded.model.dispose();
  }
}

/** Names of each class folder, in the folders' order. */
export function readClasses(file: string, folders: readonly string[]): string[][] {
  const value = readJson(file, "list of class names");
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new DataError(`${file}: expected an object from class folder to names.`);
  const byFolder = value as Record<string, unknown>;
  const missing = folders.filter((folder) => !Object.hasOwn(byFolder, folder));
  const extra = Object.keys(byFolder).filter((folder) => !folders.includes(folder));
  if (missing.length + extra.length > 0) {
    throw new DataError(
      `${file}: the names do not match the class folders: ${missing.length} folders without a name (${missing.slice(0, 3).join(", ")}), ` +
        `${extra.length} names without a folder (${extra.slice(0, 3).join(", ")}).`,
    );
  }
  return folders.map((folder) => {
    const names = typeof byFolder[folder] === "string" ? [byFolder[folder]] : byFolder[folder];
    if (!Array.isArray(names) || names.length === 0 || !names.every((name) => typeof name === "string" && name.trim() !== "")) {
      throw new DataError(`${file}: the entry of "${folder}" is neither a name nor a list of names.`);
    }
    return names as string[];
  });
}

function readTemplates(file: string): string[] {
  if (!existsSync(file)) throw new DataError(`${file}: no such file of templates.`);
  const templates = readFileSync(file, "utf8")
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (templates.length === 0) throw new DataError(`${file}: there is no template in it.`);
  return templates;
}
