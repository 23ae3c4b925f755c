/** `laclip evaluate zero-shot`: a model folder and a data set go in, and CLIP_benchmark's numbers come out. */
import { type Command, Option } from "commander";
import { type ProtocolName, areWordNetNumbers, protocolNames } from "../../data/index.ts";
import {
  type ClassScore,
  type ClassifiedItem,
  type EvaluatedModel,
  type EvaluationDataset,
  type SplitName,
  classScores,
  confusedPairs,
  confusionMatrix,
  normalisationFits,
  openEvaluatedModel,
  openEvaluationDataset,
  preparationProtocol,
  protocolOf,
  runTask,
  splitItems,
  splitNames,
  zeroShotPlan,
} from "../../evaluation/index.ts";
import { log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { deviceOfFlag } from "../device-option.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseWhole } from "../options.ts";
import { version } from "../version.ts";
import { type ScoringFlags, addScoringFlags, addTableFlags, featureStore, score } from "./evaluate-options.ts";

interface ZeroShotFlags extends ScoringFlags {
  split: SplitName;
  protocol?: ProtocolName;
  classes?: string;
  templates?: string;
  imageColumn?: string;
  labelColumn?: string;
  worst: number;
  predictions?: boolean;
}

export function zeroShotCommand(): Command {
  const built = command("zero-shot", "classify images by the words for their classes");
  addScoringFlags(
    addTableFlags(built),
    "name of a published set; or a folder for each class, with images inside, such folders in train, validation and test, tars as CLIP_benchmark packs them, or a table (csv, tsv, jsonl, parquet) with an image and its class in each row",
  )
    .addOption(new Option("--split <name>", "whose images are classified").choices(splitNames).default("test"))
    .addOption(
      new Option("--protocol <name>", "whose names and prompts a published set gets (default: by the model's normalisation)").choices(
        protocolNames,
      ),
    )
    .option(
      "--classes <file>",
      "JSON object from class to its name or list of names, or names in the classes' order: a JSON list, or lines of a .txt (default: as the data set says)",
    )
    .option("--templates <file>", "prompts, a line each, {} for the name (default: the data set's, else `a photo of a {}.`)")
    .option("--worst <classes>", "how many of the classes with the least recall are named", parseWhole(0), 5)
    .option("--predictions", "with --json: also every image's best five classes")
    .action(run);
  return examples(
    built,
    "laclip evaluate zero-shot --model laclip-demo/runs/laclip-human-seed1/model --dataset laclip-demo/data/held-out --classes laclip-demo/data/held-out/classes-other-words.json",
    "laclip evaluate zero-shot --model runs/b16/model --dataset imagenet1k --root datasets --protocol slip",
    "laclip evaluate zero-shot --model runs/b16/model --dataset shop/items.csv --label-column kind --templates prompts.txt --json",
  );
}

async function run(flags: ZeroShotFlags): Promise<void> {
  const device = deviceOfFlag(flags.device);
  const model = await openEvaluatedModel(flags.model, { ...flags, device });
  try {
    const protocol = flags.protocol ?? protocolOf(model.preprocessing);
    const dataset = await openEvaluationDataset(flags.dataset, { ...flags, protocol, splits: [flags.split] });
    const items = splitItems(dataset, flags.split);
    for (const problem of dataset.checked.problems) log.warn(`${dataset.title}: ${problem}`);
    tellWords(model, dataset, { ...flags, protocol });
    const { batchSize, maxSkipped: maximumSkipped, split } = flags;
    const store = featureStore(flags);
    const signal = interruptSignal("stopping; features that were made are kept");
    const plan = zeroShotPlan(model, dataset, { batchSize, maximumSkipped, device, progress: true, store, signal }, split);
    const { result, classified } = await runTask({ ...plan, checked: dataset.checked }, model, { out: flags.out, version });
    const { counts, skipped } = result.laclip!;
    log.info(`${counts["images"]} of ${items.length} images, ${dataset.names.length} classes; ${skipped.count} images skipped.`);
    const matrix = confusionMatrix(classified!, dataset.names.length);
    const worst = classScores(matrix)
      .filter(({ recall }) => recall < 1)
      .slice(0, flags.worst);
    if (!flags.json) {
      tellWorst(worst, dataset);
      return print(scores(result.metrics, dataset));
    }
    const called = (label: number): string => dataset.classes[label]!;
    print({
      ...result,
      images: counts["images"],
      skipped: skipped.count,
      main_metric: dataset.metric,
      split,
      problems: dataset.checked.problems,
      notes: dataset.checked.notes,
      worst: worst.map(({ label, takenFor, ...score }) => ({
        class: called(label),
        ...score,
        taken_for: takenFor.slice(0, 3).map((other) => ({ class: called(other.label), images: other.images })),
      })),
      confused: confusedPairs(matrix)
        .slice(0, flags.worst)
        .map(({ labels, images }) => ({ classes: labels.map(called), images })),
      ...(flags.predictions ? { classes: dataset.classes, predictions: predictions(classified!) } : {}),
    });
  } finally {
    model.model.dispose();
  }
}

/** Names, prompts and normalisation are half of a zero-shot number, and differ between papers. */
function tellWords(
  model: EvaluatedModel,
  dataset: EvaluationDataset,
  given: Pick<ZeroShotFlags, "classes" | "templates" | "protocol">,
): void {
  const { words, templates } = dataset;
  const { normalisation } = preparationProtocol(model);
  const listed = words !== "own" || dataset.published || areWordNetNumbers(dataset.classes);
  const others = listed ? `of the protocol ${given.protocol}` : "the data set's own";
  const prompts = `${templates.length} ${templates.length === 1 ? "prompt" : "prompts"}`;
  const which =
    given.classes === undefined && given.templates === undefined
      ? `Names and prompts are ${others} (${prompts})`
      : `Names are ${given.classes === undefined ? others : `those of ${given.classes}`}, prompts ${given.templates === undefined ? others : `those of ${given.templates}`} (${prompts})`;
  log.info(`${which}; pixels are normalised as the model says (${normalisation}).`);
  const protocol = protocolNames.find((name) => name === words);
  if (protocol !== undefined && !normalisationFits(model.preprocessing, protocol)) {
    log.warn(
      `The protocol ${protocol} has ${protocol === "slip" ? "ImageNet's" : "OpenAI's"} normalisation, this model another. Its own is taken, since it was trained with that.`,
    );
  }
}

function tellWorst(worst: readonly ClassScore[], { names }: EvaluationDataset): void {
  if (worst.length === 0) return;
  log.info("Least recall:");
  for (const { label, right, images, takenFor } of worst) {
    const others = takenFor
      .slice(0, 3)
      .map((other) => `${names[other.label]![0]!} ${other.images}`)
      .join(", ");
    log.info(`  ${names[label]![0]!}: ${right} of ${images}; taken for ${others}`);
  }
}

function scores(metrics: Readonly<Record<string, unknown>>, { metric, published, title }: EvaluationDataset): string {
  const shown = [
    ["acc1", "top-1"],
    ["acc5", "top-5"],
    ["mean_per_class_recall", "mean per class"],
  ] as const;
  if (published) log.info(`* the score by which ${title} is told of.`);
  return shown.map(([name, title]) => `${title} ${score(metrics[name])}${published && name === metric ? "*" : ""}`).join("  ");
}

function predictions(items: readonly ClassifiedItem[]): unknown[] {
  return items.map(({ item, label, rank, guesses, scores: cosines, confidence, probability }) => ({
    path: item,
    label,
    rank,
    top: guesses.map((guess, i) => ({ label: guess, cosine: cosines[i]! })),
    confidence,
    probability,
  }));
}
