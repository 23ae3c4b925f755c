/** `laclip evaluate zero-shot`: a model folder and a data set go in, and CLIP_benchmark's numbers come out. */
import { Command, Option } from "commander";
import { openEvaluationDataset, splitItems, type SplitName, splitNames, zeroShot } from "../../evaluation/index.ts";
import { loadModel } from "../../models/index.ts";
import { log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { parseWhole, parseShare } from "../options.ts";
import { allCommand } from "./evaluate-all.ts";
import { evaluateDatasetsCommand } from "./evaluate-datasets.ts";
import { fewShotCommand } from "./evaluate-few-shot.ts";
import { linearProbeCommand } from "./evaluate-linear-probe.ts";
import { retrievalCommand } from "./evaluate-retrieval.ts";

interface ZeroShotFlags {
  model: string;
  dataset: string;
  root?: string;
  split: SplitName;
  incomplete?: boolean;
  classes?: string;
  templates?: string;
  batchSize: number;
  maxSkipped: number;
  predictions?: boolean;
  json?: boolean;
}

export function evaluateCommand(): Command {
  // Without it, `--json` after a subcommand would be taken for this command's own.
  const built = new Command("evaluate").description("score a model, and look at scores and data sets").enablePositionalOptions();
  return built
    .addCommand(zeroShotCommand())
    .addCommand(fewShotCommand())
    .addCommand(linearProbeCommand())
    .addCommand(retrievalCommand())
    .addCommand(allCommand())
    .addCommand(evaluateDatasetsCommand());
}

function zeroShotCommand(): Command {
  const zeroShot = command("zero-shot", "classify images by the words for their classes")
    .requiredOption("--model <folder>", "model folder: `model` or a checkpoint in a run folder")
    .requiredOption(
      "--dataset <folder|name>",
      "a folder for each class, with images inside, or such folders in train, validation and test; or the name of a published set",
    )
    .option("--root <folder>", "folder of the published sets (default: LACLIP_DATASETS)")
    .addOption(new Option("--split <name>", "whose images are classified").choices(splitNames).default("test"))
    .option("--incomplete", "take a published set although images are missing; the result says what is wrong")
    .option(
      "--classes <file>",
      "JSON object from class folder to its name or list of names, or names in the folders' order: a JSON list, or lines of a .txt (default: as the data set says)",
    )
    .option("--templates <file>", "prompts, a line each, {} for the name (default: the data set's templates.txt, else `a photo of a {}.`)")
    .option("--batch-size <images>", "images at once", parseWhole(1), 64)
    .option("--max-skipped <share>", "share of images that may be unreadable", parseShare, 0.01)
    .option("--predictions", "with --json: also every image's best five classes")
    .action(run);
  return examples(
    zeroShot,
    "laclip evaluate zero-shot --model laclip-demo/runs/laclip-human-seed1/model --dataset laclip-demo/data/held-out --classes laclip-demo/data/held-out/classes-other-words.json",
    "laclip evaluate zero-shot --model runs/b16/model --dataset imagenet/val --templates templates.txt --json",
    "laclip evaluate zero-shot --model runs/b16/model --dataset food101 --root datasets",
  );
}

async function run(flags: ZeroShotFlags): Promise<void> {
  const dataset = await openEvaluationDataset(flags.dataset, { ...flags, splits: [flags.split] });
  const { names, templates, metric, checked } = dataset;
  const items = splitItems(dataset, flags.split);
  for (const problem of checked.problems) log.warn(`${dataset.title}: ${problem}`);
  const loaded = loadModel(flags.model);
  try {
    const result = await zeroShot(loaded, items, { names, templates }, { batchSize: flags.batchSize, maximumSkipped: flags.maxSkipped });
    const { acc1, acc5, mean_per_class_recall: recall } = result.metrics;
    const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
    log.info(
      `${result.predictions.length} images, ${names.length} classes, ${templates.length} templates; ${result.skipped} images skipped.`,
    );
    const mark = (name: typeof metric): string => (dataset.published && name === metric ? "*" : "");
    if (dataset.published) log.info(`* the score by which ${dataset.title} is told of.`);
    if (!flags.json) {
      return print(
        `top-1 ${percent(acc1)}${mark("acc1")}  top-5 ${percent(acc5)}  mean per class ${percent(recall)}${mark("mean_per_class_recall")}`,
      );
    }
    print({
      dataset: dataset.name,
      model: flags.model,
      pretrained: "",
      task: "zeroshot_classification",
      metrics: result.metrics,
      language: "en",
      images: result.predictions.length,
      skipped: result.skipped,
      main_metric: metric,
      split: flags.split,
      problems: checked.problems,
      notes: checked.notes,
      ...(flags.predictions ? { classes: dataset.classes, predictions: result.predictions } : {}),
    });
  } finally {
    loaded.model.dispose();
  }
}
