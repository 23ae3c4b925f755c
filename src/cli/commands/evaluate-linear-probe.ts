/** `laclip evaluate linear-probe`: a linear classifier on frozen features, C chosen on validation images. */
import { type Command, Option } from "commander";
import {
  type ImageFeatureKind,
  imageFeatureKinds,
  linearProbeTask,
  openEvaluationDataset,
  probeSettings,
  sgdSettings,
} from "../../evaluation/index.ts";
import { UsageError } from "../../support/index.ts";
import { command, examples } from "../command.ts";
import { parseShare, parseWhole } from "../options.ts";
import { type ScoringFlags, addScoringFlags, addTableFlags, parsePositive, runTask, score } from "./evaluate-options.ts";

interface LinearProbeFlags extends ScoringFlags {
  strength?: number;
  standardise?: boolean;
  validationShare: number;
  maxIterations: number;
  feature: ImageFeatureKind;
  solver: "lbfgs" | "sgd";
  epochs?: number;
  sgdBatch?: number;
  rate?: number;
  weightDecay?: number;
  save?: string;
  classifier?: string;
  seed: number;
}

export function linearProbeCommand(): Command {
  const { validationShare, maximumIterations } = probeSettings();
  const { epochs, batchSize, learningRate, weightDecay } = sgdSettings();
  const built = command("linear-probe", "fit a linear classifier to features of train, score it on test");
  addScoringFlags(
    addTableFlags(built),
    "name of a published set, or a folder with train, test and perhaps validation, in each a folder for each class",
  )
    .option("--strength <C>", "how little weights are punished (default: chosen on validation images, from 1e-6 to 1e6)", parsePositive)
    .option("--standardise", "divide features by their deviation first")
    .option(
      "--validation-share <share>",
      "share of train that C is chosen on where there are no validation images",
      parseShare,
      validationShare,
    )
    .option("--max-iterations <count>", "most iterations of a fit", parseWhole(1), maximumIterations)
    .addOption(new Option("--feature <kind>", "before or after the projection").choices(imageFeatureKinds).default("class-token"))
    .addOption(new Option("--solver <name>", "sgd is for training sets of ImageNet's size").choices(["lbfgs", "sgd"]).default("lbfgs"))
    .option("--epochs <count>", `sgd: times that train is gone through (default: ${epochs})`, parseWhole(1))
    .option("--sgd-batch <images>", `sgd: images a step (default: ${batchSize})`, parseWhole(1))
    .option("--rate <number>", `sgd: learning rate for a batch of 256 (default: ${learningRate})`, parsePositive)
    .option("--weight-decay <number>", `sgd: default ${weightDecay}`, parsePositive)
    .option("--save <folder>", "keep the classifier there")
    .option("--classifier <folder>", "score a classifier that was kept, instead of fitting one")
    .option("--seed <number>", "what is held out of train, and the order of sgd", parseWhole(0), 0)
    .action(run);
  return examples(
    built,
    "laclip evaluate linear-probe --model runs/b16/model --dataset pets --root datasets --save probes/pets",
    "laclip evaluate linear-probe --model runs/b16/model --dataset clothing --strength 0.316 --json",
    "laclip evaluate linear-probe --model runs/b16/model --dataset clothing --classifier probes/clothing",
  );
}

async function run(flags: LinearProbeFlags): Promise<void> {
  const { solver, epochs, sgdBatch: batchSize, rate: learningRate, weightDecay } = flags;
  const given = Object.entries({ epochs, batchSize, learningRate, weightDecay }).filter(([, value]) => value !== undefined);
  if (solver === "lbfgs" && given.length > 0) {
    throw new UsageError("--epochs, --sgd-batch, --rate and --weight-decay are for descent by steps: give --solver sgd with them.");
  }
  const { strength, standardise = false, validationShare, maxIterations: maximumIterations, feature, save, classifier } = flags;
  const task = linearProbeTask({
    strength,
    standardise,
    validationShare,
    maximumIterations,
    feature,
    solver,
    sgd: Object.fromEntries(given),
    save,
    classifier,
  });
  const dataset = await openEvaluationDataset(flags.dataset, { ...flags, splits: task.splits, worded: false });
  await runTask(flags, task, dataset, ({ metrics: m }) => {
    const strengthNote = m["C"] === undefined ? "" : `  C ${Number(m["C"]).toPrecision(3)}`;
    return `top-1 ${score(m["lp_acc1"])}  top-5 ${score(m["lp_acc5"])}  mean per class ${score(m["lp_mean_per_class_recall"])}${strengthNote}`;
  });
}
