/** `laclip train`: a recipe, a table of captions or tars, perhaps a rewrites folder, and a run folder comes out. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { originalSource, sourceOfKey } from "../../data/index.ts";
import { ProcessGroup, findPlace } from "../../distributed/index.ts";
import { type SplitName, openEvaluationDataset, openRetrievalDataset, protocolOf, splitNames } from "../../evaluation/index.ts";
import { setImageThreads } from "../../images/index.ts";
import type { Tower } from "../../models/index.ts";
import {
  type InitialModel,
  type Recipe,
  applySettings,
  deviceOf,
  findRecipe,
  recipes,
  retrievalEvaluator,
  runRecipe,
  smoke,
  zeroShotEvaluator,
} from "../../recipes/index.ts";
import { InterruptedError, LaclipError, UsageError, formatDuration, fromPosted, log, setLogLevel, toPosted } from "../../support/index.ts";
import { deviceName, worksAside } from "../../torch/index.ts";
import { command, examples, print } from "../command.ts";
import { deviceFlag, deviceOfFlag } from "../device-option.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseShare, parseWhole } from "../options.ts";

interface TrainFlags {
  data: string;
  images?: string;
  rewrites?: string;
  out: string;
  set: string[];
  smoke?: boolean;
  device?: string;
  initFrom?: string;
  initOnly?: Tower;
  imageColumn?: string;
  captionColumn?: string;
  idColumn?: string;
  jsonTextKey?: string[];
  jsonTextKeyProbs?: number[];
  maxSkipped?: number;
  minMatched?: number;
  otherCaptions?: boolean;
  evaluate?: string;
  evaluateEvery: number;
  evaluateSplit: SplitName;
  evaluateClasses?: string;
  evaluateRetrieval?: string;
  stallMinutes: number;
  stallExit?: boolean;
  imageThreads?: number;
  profile?: number;
  reportTo: string[];
  printRecipe?: boolean;
  json?: boolean;
}

export function trainCommand(): Command {
  const train = command("train")
    .argument("<recipe>", `a name (${Object.keys(recipes).join(", ")}) or a JSON file, also the config.json of a run`)
    .requiredOption(
      "--data <file>",
      "table of captions (csv, tsv, jsonl, parquet), a folder that holds captions.csv, RedCaps' folder, or tars: a folder, a pattern such as 'shards/{00000..00012}.tar', addresses",
    )
    .requiredOption("--out <folder>", "run folder; one with an unfinished run of the same settings is gone on with")
    .option("--images <folder>", "folder that image paths are relative to (default: the table's folder)")
    .option("--rewrites <folder>", "rewrites folder, joined by sample id")
    .option(
      "--set <key=value>",
      "change a number of the recipe; may be repeated",
      (value, before: string[]) => [...before, value],
      [] as string[],
    )
    .option(...deviceFlag("to train"))
    .option("--smoke", "shrink the recipe to a tiny model and a few steps, to see in a minute whether everything fits together")
    .option("--init-from <folder>", "begin with the weights of a model folder; its image size may be another than the recipe's")
    .addOption(new Option("--init-only <tower>", "of them, take this tower alone").choices(["image", "text"]))
    .option("--image-column <name>", "column with the image path")
    .option("--caption-column <name>", "column with the caption")
    .option("--id-column <name>", "column, or key of the .json, with the sample id (default: id, else the image path; tars: the key)")
    .option(
      "--json-text-key <keys>",
      "tars: keys of the .json to draw a text from, separated by ';', as open_clip's flag of that name",
      parseKeys,
    )
    .option("--json-text-key-probs <weights...>", "a weight for each of these keys; 0 for those that only stand in", parseWeight)
    .option("--max-skipped <share>", "share of rows and images that may be unusable", parseShare, 0.01)
    .option("--min-matched <share>", "share of samples that must have a rewrite", parseShare, 0.99)
    .option("--other-captions", "join rewrites by ids that are mere numbers although the captions are not those that were rewritten")
    .option(
      "--evaluate <folder|table|name>",
      "score the model while it trains: zero-shot classification of images by class in folders or a table, or of a published set below LACLIP_DATASETS",
    )
    .addOption(new Option("--evaluate-split <name>", "whose images --evaluate classifies").choices(splitNames).default("test"))
    .option("--evaluate-every <steps>", "steps between evaluations; there is one at the end in any case", parseWhole(1), 500)
    .option("--evaluate-classes <file>", "names of the classes, as of `laclip evaluate zero-shot --classes`")
    .option(
      "--evaluate-retrieval <table|name>",
      "score the model while it trains: retrieval in a table of images and captions, or in a published set below LACLIP_DATASETS",
    )
    .option("--stall-minutes <minutes>", "say where the run waits when no step was finished for so long", parseMinutes, 10)
    .option("--stall-exit", "then also save and stop, with exit code 75")
    .option(
      "--report-to <servers>",
      "also send measures to mlflow or trackio, or both with a comma; with an address: mlflow=http://host:5000",
      (text) => text.split(",").map((one) => one.trim()),
      [] as string[],
    )
    .option("--image-threads <count>", "images decoded at once (default: the processors)", parseWhole(1))
    .option(
      "--profile <steps>",
      "record so many steps, once the run is under way, and write where their time goes to profile/ in the run folder (at most 100)",
      parseWhole(1, 100),
    )
    .option("--print-recipe", "print the recipe as JSON and stop")
    .action(run);
  return examples(
    train,
    "laclip train emoji-laclip --data laclip-demo/data/train.csv --rewrites laclip-demo/rewrites/human --out runs/human",
    "laclip train laclip-vit-b-16 --data captions.csv --images images --rewrites rewrites --out runs/b16 --set training.batchSize=64",
    "laclip train laclip-vit-b-16 --data 'shards/{00000..00331}.tar' --out runs/cc3m --set data.shuffle=8192",
    "laclip train laclip-vit-b-16 --data captions.csv --rewrites rewrites --out runs/288 --init-from runs/b16/model --set model.imageSize=288",
    "laclip train clip-vit-b-16 --data captions.csv --out runs/clip --print-recipe > my-recipe.json",
  );
}

async function run(recipeName: string, flags: TrainFlags): Promise<void> {
  const found = findRecipe(recipeName);
  const settings = flags.device === undefined ? flags.set : [...flags.set, `training.device=${JSON.stringify(flags.device)}`];
  const recipe = withTextKeys(applySettings(flags.smoke ? smoke(found) : found, settings), flags);
  if (flags.printRecipe) return print(JSON.stringify(recipe, null, 2));
  if (flags.imageThreads !== undefined) setImageThreads(flags.imageThreads);
  const place = findPlace();
  const among = { localRank: place?.localRank ?? 0, together: (place?.ranks ?? 1) > 1 };
  const device = flags.device === undefined ? deviceOf(recipe, among) : deviceOfFlag(flags.device, among);
  const group = place && ProcessGroup.open(place, { device });
  if (group !== undefined) {
    if (group.first) log.info(`${group.ranks} processes train together (${group.backend}).`);
    // What all do, one tells; warnings and errors are each one's own.
    else setLogLevel("quiet");
  }
  const evaluators = [];
  if (flags.evaluate !== undefined) {
    const { evaluateEvery: everySteps, evaluateClasses: classes, evaluateSplit: split, maxSkipped: maximumSkipped } = flags;
    const opening = openEvaluationDataset(flags.evaluate, { classes, protocol: protocolOf(recipe.images), splits: [split] });
    const dataset = await opening.catch((error: unknown) => {
      throw inFlagsOfTrain(error);
    });
    log.info(`Scored along the way: ${dataset.path}, ${split}, ${dataset.splits[split]?.length ?? 0} images.`);
    evaluators.push(zeroShotEvaluator({ dataset, split, everySteps, maximumSkipped, device }));
  }
  if (flags.evaluateRetrieval !== undefined) {
    const dataset = await openRetrievalDataset(flags.evaluateRetrieval);
    evaluators.push(retrievalEvaluator({ dataset, everySteps: flags.evaluateEvery, maximumSkipped: flags.maxSkipped, device }));
  }
  if (worksAside(device) && (group?.first ?? true)) log.info(`On ${deviceName(device) ?? device}.`);
  const result = await runRecipe({
    recipe,
    data: {
      file: flags.data,
      images: flags.images,
      imageColumn: flags.imageColumn,
      captionColumn: flags.captionColumn,
      idColumn: flags.idColumn,
      textKeys: flags.jsonTextKey,
      rewrites: flags.rewrites,
      maximumSkipped: flags.maxSkipped,
      minimumMatched: flags.minMatched,
      otherCaptions: flags.otherCaptions,
    },
    out: flags.out,
    device,
    group,
    initial: initialOf(flags),
    evaluators,
    reportTo: flags.reportTo,
    stall: { minutes: flags.stallMinutes, exit: flags.stallExit ?? false },
    profileSteps: flags.profile,
    signal: interruptSignal("saving a checkpoint at the end of this step"),
  }).catch((error: unknown) => {
    // All were stopped together, or nothing was exchanged yet. After any other failure, one may be amid an operation that never ends.
    if (error instanceof InterruptedError) group?.close();
    throw error;
  });
  group?.close();
  if (group !== undefined && !group.first) return;
  const { steps, seconds, alreadyFinished, skipped } = result;
  log.info(alreadyFinished ? `${flags.out}: this run is finished already.` : `Trained ${steps} steps in ${formatDuration(seconds)}.`);
  log.info(`Model: ${result.run.model}`);
  if (flags.json) print({ run: result.run.path, model: result.run.model, steps, seconds, alreadyFinished, skipped });
}

/** Advice about a data set names flags of `laclip evaluate`; a run calls some of them otherwise, and lacks the others. */
function inFlagsOfTrain(error: unknown): unknown {
  if (!LaclipError.is(error) || error.mend === undefined || !/--(split|classes|root|image-column|label-column)\b/.test(error.mend))
    return error;
  const mend = error.mend
    .replace(/--(split|classes)\b/g, "--evaluate-$1")
    .replace("Give it with --root DIR, or set LACLIP_DATASETS.", "Set LACLIP_DATASETS.")
    .replace(/Name it with --(image|label)-column\./, "Call it so: a run has no flag for that.");
  return fromPosted({ ...toPosted(error), mend });
}

function initialOf({ initFrom: folder, initOnly: only, smoke: small }: TrainFlags): InitialModel | undefined {
  if (folder === undefined) {
    if (only === undefined) return undefined;
    throw new UsageError("--init-only says what is taken of --init-from: give both.");
  }
  if (small) throw new UsageError("--smoke trains a model of its own size, which no other weights fit: leave --init-from out.");
  return { folder, only };
}

function parseKeys(text: string): string[] {
  const keys = text.split(";").map((key) => key.trim());
  if (keys.includes("")) throw new InvalidArgumentError("Expected names with ';' between them.");
  return keys;
}

function parseMinutes(text: string): number {
  const minutes = Number(text);
  if (!(minutes > 0 && minutes < Infinity)) throw new InvalidArgumentError("Expected minutes, such as 10.");
  return minutes;
}

function parseWeight(text: string, before: number[] = []): number[] {
  const weight = Number(text);
  if (text.trim() === "" || !(weight >= 0 && Number.isFinite(weight))) throw new InvalidArgumentError("Expected numbers of at least 0.");
  return [...before, weight];
}

/** open_clip's rule as weights of sources: without weights, the first text that there is. */
function withTextKeys(recipe: Recipe, { jsonTextKey: keys, jsonTextKeyProbs: weights }: TrainFlags): Recipe {
  if (keys === undefined) {
    if (weights !== undefined) throw new UsageError("--json-text-key-probs says how --json-text-key draws: give both.");
    return recipe;
  }
  if (weights !== undefined && weights.length !== keys.length) {
    throw new UsageError(`--json-text-key has ${keys.length} keys, and --json-text-key-probs ${weights.length} weights.`);
  }
  // A single text leaves nothing to draw from.
  if (keys.length === 1) return { ...recipe, captions: { choose: "original" } };
  const sources = keys.map((key, i) => sourceOfKey(key, i === 0));
  const given = weights ?? keys.map((_, i) => (i === 0 ? 1 : 0));
  const byWeight = Object.fromEntries(sources.map((source, i) => [source, given[i]!]));
  // In place of the recipe's own rules, of which none may stay.
  const captions = { choose: "weighted", weights: byWeight, sources: sources.filter((source) => source !== originalSource) } as const;
  return { ...recipe, captions: { ...captions, sources: [...captions.sources] } };
}
