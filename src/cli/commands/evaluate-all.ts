/** `laclip evaluate all`: every task on every data set that is there, a result file each, and a table at the end. */
import { Option, type Command } from "commander";
import { type ProtocolName, protocolNames } from "../../data/index.ts";
import {
  type EvaluationStep,
  type TaskName,
  buildReport,
  evaluateAll,
  openEvaluatedModel,
  reportMarkdown,
  taskNames,
} from "../../evaluation/index.ts";
import { DataError, InterruptedError, UsageError, log, percent } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { deviceFlag, deviceOfFlag } from "../device-option.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseShare, parseWhole } from "../options.ts";
import { version } from "../version.ts";
import { featureStore } from "./evaluate-options.ts";
import { publishedOption, readPublished } from "./evaluate-report.ts";

interface AllFlags {
  model: string;
  name?: string;
  dataset: string[];
  root?: string;
  tasks?: string;
  out: string;
  protocol?: ProtocolName;
  templates?: string;
  classes?: string;
  imageColumn?: string;
  labelColumn?: string;
  captionColumn?: string;
  incomplete?: boolean;
  batchSize: number;
  maxSkipped: number;
  seed: number;
  device?: string;
  /** A folder, or false for none. */
  features?: string | false;
  published: string[];
  json?: boolean;
}

export function allCommand(): Command {
  const tasks = Object.keys(taskNames).join(",");
  const built = command("all", "every task on every data set that is there; started again, it goes on")
    .requiredOption("--model <folder>", "model folder: `model` or a checkpoint in a run folder")
    .requiredOption("--out <folder>", "folder for the results, a .json each")
    .option("--name <text>", "what results call the model (default: its run folder's name)")
    .option(
      "--dataset <name|folder>",
      "data set, may be repeated (default: all below --root)",
      (value, all: string[]) => [...all, value],
      [],
    )
    .option("--root <folder>", "folder of the published data sets (default: LACLIP_DATASETS)")
    .option("--tasks <list>", `some of ${tasks}`)
    .addOption(
      new Option("--protocol <name>", "whose names and prompts published sets get (default: by the model's normalisation)").choices(
        protocolNames,
      ),
    )
    .option("--templates <file>", "prompts for all data sets, a line each, {} for the name")
    .option("--classes <file>", "names of the classes of the data set, as `zero-shot` takes them; for a single --dataset")
    .option("--image-column <name>", "column of tables with the images (default: image, filepath, path, ...)")
    .option("--label-column <name>", "column of tables with the classes (default: label, class, category, ...)")
    .option("--caption-column <name>", "column of tables with the captions, for retrieval (default: caption, title, text)")
    .option("--incomplete", "take copies of data sets in which images are missing; results say so")
    .option("--batch-size <images>", "images at once", parseWhole(1), 64)
    .option("--max-skipped <share>", "share of images that may be unreadable", parseShare, 0.01)
    .option("--seed <number>", "what episodes are drawn from", parseWhole(0), 0)
    .option("--features <folder>", "where features are kept, so that tasks share them (default: LACLIP_FEATURES, else the user's cache)")
    .option("--no-features", "keep no features")
    .option(...deviceFlag("the model runs"))
    .option(...publishedOption)
    .action(run);
  return examples(
    built,
    "laclip evaluate all --model runs/b16/model --root datasets --out results/b16 --published laclip-cc12m-vit-b-16",
    "laclip evaluate all --model runs/b16/model --dataset my-photos --tasks zero-shot --out results/b16",
    "laclip evaluate all --model runs/b16/model --dataset shop.csv --label-column kind --classes kinds.json --out results/shop",
  );
}

async function run({ model: folder, name, tasks, dataset, maxSkipped, features, published, json, ...flags }: AllFlags): Promise<void> {
  // Before hours are spent on what it is to stand beside.
  const beside = published.map(readPublished);
  const device = deviceOfFlag(flags.device);
  const model = await openEvaluatedModel(folder, { name, device });
  try {
    const stranger = beside.find((one) => one.for !== undefined && one.for !== model.name);
    if (stranger)
      throw new UsageError(`--published ${stranger.for}=...: this model is called ${model.name}.`, { mend: "Leave the name out." });
    const signal = interruptSignal("stopping; results and features that were made are kept");
    const steps = await evaluateAll(model, {
      ...flags,
      device,
      version,
      datasets: dataset,
      tasks: tasks === undefined ? undefined : chosen(tasks),
      maximumSkipped: maxSkipped,
      store: featureStore({ features }),
      signal,
      report: (step) => log.info(line(step)),
    });
    if (signal.aborted) {
      throw new InterruptedError("Stopped; what is done is kept.", { mend: "The same command goes on from there." });
    }
    const results = steps.flatMap(({ path, result }) => (path === undefined || result === undefined ? [] : [{ path, result }]));
    if (json) print(steps);
    else if (results.length > 0) print(reportMarkdown(await buildReport(results, { published: beside })).trimEnd());
    const failed = steps.filter(({ state }) => state === "failed");
    if (failed.length > 0) {
      const list = failed.map((step) => `\n  ${line(step)}`).join("");
      throw new DataError(`${failed.length} of ${steps.length} tasks failed; ${results.length} results are in ${flags.out}.${list}`, {
        mend: "Started again, the same command does only what is missing.",
      });
    }
    if (results.length === 0) throw new DataError("None of the tasks fits the data sets.", { mend: steps.map(line).join("\n  ") });
  } finally {
    model.model.dispose();
  }
}

function line({ dataset, task, state, reason, result }: EvaluationStep): string {
  const what = `${dataset}${task === undefined ? "" : `, ${task}`}`;
  if (state === "begun") return `${what} ...`;
  if (result === undefined) return `${what}: ${state === "unfit" ? "left out, " : ""}${reason}`;
  const { mainMetric, skipped } = result.laclip!;
  const value = result.metrics[mainMetric];
  const score = typeof value === "number" ? percent(value, 2) : String(value);
  const left = skipped.count === 0 ? "" : `, ${skipped.count} images left out`;
  return `${what}: ${mainMetric} ${score}${left}${state === "kept" ? " (was there)" : ""}`;
}

function chosen(list: string): TaskName[] {
  const names = list.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !Object.hasOwn(taskNames, name));
  if (unknown !== undefined) {
    throw new UsageError(`--tasks ${list}: there is no task "${unknown}".`, { mend: `Tasks: ${Object.keys(taskNames).join(", ")}.` });
  }
  return names as TaskName[];
}
