/** `laclip evaluate few-shot`: accuracy over many small episodes, on frozen features. */
import { type Command, Option } from "commander";
import { type ImageFeatureKind, fewShotDefaults, fewShotTask, imageFeatureKinds, openEvaluationDataset } from "../../evaluation/index.ts";
import { UsageError } from "../../support/index.ts";
import { command, examples } from "../command.ts";
import { parseWhole } from "../options.ts";
import { type ScoringFlags, addScoringFlags, addTableFlags, parsePositive, runTask, score } from "./evaluate-options.ts";

interface FewShotFlags extends ScoringFlags {
  ways: number;
  shots: number;
  queries: number;
  episodes: number;
  classifier: "prototype" | "knn";
  centre: boolean;
  neighbours?: number;
  temperature?: number;
  feature: ImageFeatureKind;
  withinTest?: boolean;
  seed: number;
}

export function fewShotCommand(): Command {
  const { ways, shots, queries, episodes, seed } = fewShotDefaults;
  const built = command("few-shot", "classify images by a few labelled ones, in many small episodes");
  addScoringFlags(addTableFlags(built), "name of a published set, or a folder with train and test, in each a folder for each class")
    .option("--ways <count>", "classes of an episode", parseWhole(2), ways)
    .option("--shots <count>", "labelled images of each class, from train", parseWhole(1), shots)
    .option("--queries <count>", "images of each class to classify, from test", parseWhole(1), queries)
    .option("--episodes <count>", "episodes", parseWhole(2), episodes)
    .addOption(
      new Option("--classifier <name>", "by the nearest class mean, or by votes of the nearest images")
        .choices(["prototype", "knn"])
        .default("prototype"),
    )
    .option("--no-centre", "do not move features by the mean of the labelled images")
    .option("--neighbours <count>", "knn: images that vote (default: 25)", parseWhole(1))
    .option("--temperature <number>", "knn: a vote is exp(cosine / temperature) (default: 0.07)", parsePositive)
    .addOption(new Option("--feature <kind>", "before or after the projection").choices(imageFeatureKinds).default("class-token"))
    .option("--within-test", "draw shots from the test images too, for data sets without training images")
    .option("--seed <number>", "what episodes are drawn from", parseWhole(0), seed)
    .action(run);
  return examples(
    built,
    "laclip evaluate few-shot --model runs/b16/model --dataset food101 --root datasets",
    "laclip evaluate few-shot --model runs/b16/model --dataset clothing --classifier knn --shots 1 --json",
  );
}

async function run(flags: FewShotFlags): Promise<void> {
  const { classifier: name, centre, neighbours, temperature, withinTest = false } = flags;
  if (name === "prototype" && (neighbours ?? temperature) !== undefined) {
    throw new UsageError("--neighbours and --temperature are for votes: give --classifier knn with them.");
  }
  const classifier = {
    name,
    centre,
    ...(neighbours === undefined ? {} : { neighbours }),
    ...(temperature === undefined ? {} : { temperature }),
  };
  const { ways, shots, queries, episodes, feature } = flags;
  const task = fewShotTask({ ways, shots, queries, episodes, classifier, feature, withinTest });
  const dataset = await openEvaluationDataset(flags.dataset, { ...flags, splits: task.splits, worded: false });
  await runTask(
    flags,
    task,
    dataset,
    ({ metrics }) =>
      `${ways}-way ${shots}-shot: ${score(metrics["acc1"])} ± ${score(metrics["acc1_interval95"])} (${episodes} episodes, seed ${flags.seed})`,
  );
}
