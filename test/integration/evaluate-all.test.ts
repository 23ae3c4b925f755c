/** `laclip evaluate all`, `compare` and `report` by the command line: what is done is kept, what fails is told, what came out is read again. */
import assert from "node:assert/strict";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import sharp from "sharp";
import { type StoredResult, datasetDefinitions, publishedModels, readResults } from "../../src/evaluation/index.ts";
import { Clip, imagenetPreprocessing, preset, saveModel } from "../../src/models/index.ts";
import { recipes } from "../../src/recipes/index.ts";
import { setThreads } from "../../src/torch/index.ts";
import { type Ended, runLaclip } from "./laclip.ts";
import { syntheticDatasets } from "./synthetic-datasets.ts";

setThreads(1);
const folder = mkdtempSync(join(tmpdir(), "laclip-evaluate-all-"));
after(() => rmSync(folder, { recursive: true }));
const colours = ["red", "green", "blue", "white", "black"];

async function laclip(...args: readonly string[]): Promise<Ended> {
  const env = { LACLIP_DATASETS: "", LACLIP_FEATURES: join(folder, "features") };
  return await runLaclip(["evaluate", ...args], { env, cwd: folder });
}

before(async () => {
  for (const [name, seed] of [
    ["one", 1],
    ["two", 2],
  ] as const) {
    saveModel(join(folder, "runs", name, "model"), { model: new Clip(preset("nano"), { seed }), preprocessing: imagenetPreprocessing });
    const recipe = { description: "nano", captions: { choose: name === "one" ? "original" : "uniform" }, training: { seed: 1 } };
    writeFileSync(join(folder, "runs", name, "config.json"), JSON.stringify({ recipe, data: { rewrites: null } }));
  }
  for (const split of ["train", "test"]) {
    for (const [label, background] of colours.entries()) {
      const path = join(folder, "photos", split, background);
      mkdirSync(path, { recursive: true });
      for (let i = 0; i < 8; i++) {
        const image = sharp({ create: { width: 24 + i, height: 30 + label, channels: 3, background } });
        await image.png().toFile(join(path, `${i}.png`));
      }
    }
  }
});

const order = (name: string): number => datasetDefinitions.findIndex((definition) => definition.name === name);
const all = async (model: string, ...more: readonly string[]): Promise<Ended> =>
  await laclip("all", "--model", `runs/${model}/model`, "--name", model, "--dataset", "photos", "--out", `results/${model}`, ...more);

test("all tasks run, a data set that fails does not end the rest, and what is done is kept until the data change", async () => {
  const first = await all("one", "--dataset", "./nowhere", "--tasks", "zero-shot,few-shot,linear-probe");
  assert.equal(first.code, 3, first.stderr);
  assert.match(first.stderr, /1 of 4 tasks failed; 3 results[^]*nowhere/);
  assert.match(first.stdout, /\| photos \| zero-shot \| top-1 \|/);
  const results = readResults([join(folder, "results/one")]);
  assert.deepEqual(
    results.map(({ result }) => result.task),
    ["few_shot_classification", "linear_probe", "zeroshot_classification"],
  );
  // The metrics that CLIP_benchmark has for these tasks; of episodes it knows nothing.
  const keys = {
    zeroshot_classification: ["acc1", "acc5", "mean_per_class_recall"],
    linear_probe: ["lp_acc1", "lp_acc5", "lp_mean_per_class_recall", "weight_decay", "epochs", "seed", "fewshot_k", "normalized"],
    few_shot_classification: ["acc1"],
  };
  for (const { result } of results) {
    for (const name of keys[result.task as keyof typeof keys]) assert.ok(name in result.metrics, `${result.task}: ${name}`);
  }
  // What CLIP_benchmark's `build` asks of every .json in a folder: `metrics` a record, and the two texts that it joins.
  for (const { path } of results) {
    const written = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    for (const key of ["dataset", "model", "pretrained", "task", "language"])
      assert.equal(typeof written[key], "string", `${path}: ${key}`);
    assert.ok(
      Object.keys(written["metrics"] as object).every((metric) => !(metric in written)),
      path,
    );
  }
  assert.ok(Number(results[0]!.result.metrics["acc1"]) > 0.5, "plain colours are told apart");
  mkdirSync(join(folder, "elsewhere/photos/red"), { recursive: true });
  copyFileSync(join(folder, "photos/test/red/1.png"), join(folder, "elsewhere/photos/red/1.png"));
  const twice = await all("one", "--dataset", "elsewhere/photos", "--tasks", "zero-shot");
  assert.deepEqual([twice.code, /have one name/.test(twice.stderr)], [3, true], "a result must not take the place of another's");
  assert.equal((await all("one", "--published", "laclip-cc12")).code, 2, "said before anything is evaluated");
  const times = (): number[] => results.map(({ path }) => statSync(path).mtimeMs);
  const before = times();
  const again = await all("one", "--json");
  assert.equal(again.code, 0, again.stderr);
  const steps = JSON.parse(again.stdout) as { task: string; state: string }[];
  assert.deepEqual(
    steps.map(({ task, state }) => [task, state]),
    [
      ["zero-shot", "kept"],
      ["few-shot", "kept"],
      ["linear-probe", "kept"],
    ],
  );
  assert.deepEqual(times(), before);
  // The image is still one, but another file.
  appendFileSync(join(folder, "photos/test/red/0.png"), "more");
  const changed = JSON.parse((await all("one", "--json", "--tasks", "zero-shot")).stdout) as { state: string }[];
  assert.deepEqual(
    changed.map(({ state }) => state),
    ["done"],
  );
  const perItem = readdirSync(join(folder, "results/one")).find((name) => name.endsWith("zeroshot_classification.items.parquet"))!;
  rmSync(join(folder, "results/one", perItem));
  const mended = JSON.parse((await all("one", "--json", "--tasks", "zero-shot")).stdout) as { state: string }[];
  assert.deepEqual([mended[0]!.state, existsSync(join(folder, "results/one", perItem))], ["done", true]);
});

test("two models are compared on the same images, and stand side by side in every form of report", async () => {
  for (const model of ["one", "two"]) assert.equal((await all(model, "--quiet")).code, 0);
  const compared = await laclip("compare", "results/one", "results/two", "--resamples", "200", "--json");
  assert.equal(compared.code, 0, compared.stderr);
  const { comparisons } = JSON.parse(compared.stdout) as { comparisons: { task: string; items: number; p: number; test: string }[] };
  assert.deepEqual(
    comparisons.map(({ task, items }) => [task, items > 0]),
    [
      ["few_shot_classification", true],
      ["linear_probe", true],
      ["zeroshot_classification", true],
    ],
  );
  const zeroShot = comparisons.find(({ task }) => task === "zeroshot_classification")!;
  assert.deepEqual([zeroShot.items, zeroShot.test], [40, "mcnemar-exact"]);
  const alike = await laclip("compare", "results/one", "results/one", "--resamples", "200");
  assert.match(alike.stdout, /difference 0\.0 points, 95 % interval 0\.0 to 0\.0/, "no difference has no sign");

  const report = async (...args: readonly string[]): Promise<Ended> =>
    await laclip("report", "results/one", "results/two", "--resamples", "100", ...args);
  assert.match((await report()).stdout, /\| photos \| linear-probe \| top-1 \|[^]*captions alone/);
  assert.equal((await report("--format", "html", "--out", "report.html")).code, 0);
  const page = readFileSync(join(folder, "report.html"), "utf8");
  assert.match(page, /The classes that are missed most/);
  assert.match(page, /data:image\/jpeg;base64/);
  assert.deepEqual(
    [(await report("--published", "laclip-cc12")).code, (await report("--published", "three=clip-cc3m-vit-b-16")).code],
    [2, 3],
  );
  assert.equal((await laclip("report", "photos")).code, 3);
});

test("without names, all published sets below the root are taken", async () => {
  const root = join(folder, "datasets");
  const some = ["cifar10", "dtd", "pets"];
  for (const name of some) await syntheticDatasets.find((one) => one.name === name)!.write(root);
  const given = ["--root", root, "--incomplete", "--tasks", "zero-shot", "--out", "results/published", "--json"];
  const run = await laclip("all", "--model", "runs/one/model", ...given);
  assert.equal(run.code, 0, run.stderr);
  const steps = JSON.parse(run.stdout) as { dataset: string; state: string; result: { laclip: { protocol: { words: string } } } }[];
  assert.deepEqual(
    steps.map(({ dataset, state, result }) => [dataset, state, result.laclip.protocol.words]),
    some.toSorted((a, b) => order(a) - order(b)).map((name) => [name, "done", "slip"]),
    "in the order of the list of sets, with the words that fit the model's normalisation",
  );
  const beside = (await laclip("report", "results/published", "--published", "laclip-cc12m-vit-b-16", "--resamples", "0")).stdout;
  assert.match(beside, /\| CIFAR-10 \| zero-shot \| top-1 \| [\d.]+ Δ [+−][\d.]+\? \[1\] \| 75\.1\? \|/);
  assert.match(beside, /\[1\][^:]*: an incomplete copy: /, "the protocol is the published one, and the copy is not");
  assert.match(beside, /\| Oxford-IIIT Pets \| zero-shot \| mean per class \|/);
});

test("a table of captions is taken for retrieval where it names no classes", async () => {
  const rows = colours.map((colour) => `photos/test/${colour}/1.png,a ${colour} wall`);
  writeFileSync(join(folder, "captions.csv"), `image,caption\n${rows.join("\n")}\n`);
  const { code, stdout, stderr } = await laclip(
    "all",
    "--model",
    "runs/one/model",
    "--dataset",
    "captions.csv",
    "--out",
    "results/captions",
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /\| captions \| retrieval \| image recall@1 \|/);
  const [{ result }] = readResults([join(folder, "results/captions")]) as [StoredResult];
  for (const name of ["image_retrieval_recall@5", "text_retrieval_recall@5"]) assert.equal(typeof result.metrics[name], "number", name);
  writeFileSync(join(folder, "neither.csv"), "a,b\n1,2\n");
  const neither = await laclip("all", "--model", "runs/one/model", "--dataset", "neither.csv", "--out", "results/neither");
  assert.equal(neither.code, 3);
  assert.match(neither.stderr, /neither\.csv/);
});

test("a table of one's own has its columns, names and prompts named; of several, only tables have columns", async () => {
  const rows = colours.flatMap((colour, kind) =>
    ["train", "test"].flatMap((split) => [0, 1].map((i) => `photos/${split}/${colour}/${i}.png,${kind},a ${colour} wall,${split}`)),
  );
  writeFileSync(join(folder, "shop.csv"), `photo,kind,words,split\n${rows.join("\n")}\n`);
  writeFileSync(join(folder, "kinds.txt"), `${colours.join("\n")}\n`);
  writeFileSync(join(folder, "prompts.txt"), "a wall painted {}\na {} card\n");
  const columns = ["--image-column", "photo", "--label-column", "kind", "--caption-column", "words"];
  const shop = async (...more: readonly string[]): Promise<Ended> =>
    await laclip("all", "--model", "runs/one/model", "--out", "results/shop", ...more);
  const named = await shop("--dataset", "shop.csv", ...columns, "--classes", "kinds.txt", "--templates", "prompts.txt", "--json");
  assert.equal(named.code, 0, named.stderr);
  assert.match(named.stderr, /few-shot: left out, 0 of 5 classes have 5 images to train and 6 to test/);
  type Step = {
    dataset: string;
    task: string;
    state: string;
    result?: { laclip: { classes?: string[]; protocol: Record<string, unknown> } };
  };
  const steps = JSON.parse(named.stdout) as Step[];
  assert.deepEqual(
    steps.map(({ dataset, task, state }) => [dataset, task, state]),
    [
      ["shop", "zero-shot", "done"],
      ["shop", "few-shot", "unfit"],
      ["shop", "linear-probe", "done"],
      ["shop", "retrieval", "done"],
    ],
  );
  assert.deepEqual(steps[0]!.result!.laclip.classes, colours);
  assert.equal(steps[0]!.result!.laclip.protocol["templates"], 2);
  const mixed = await shop("--dataset", "photos", "--dataset", "shop.csv", ...columns, "--tasks", "linear-probe,retrieval", "--json");
  assert.equal(mixed.code, 0, mixed.stderr);
  assert.deepEqual(
    (JSON.parse(mixed.stdout) as Step[]).map(({ dataset, task, state }) => [dataset, task, state]),
    [
      ["photos", "linear-probe", "done"],
      ["shop", "linear-probe", "kept"],
      ["shop", "retrieval", "kept"],
    ],
  );
  for (const [args, message] of [
    [["--dataset", "photos", "--label-column", "kind"], /no table among the data sets/],
    [["--dataset", "photos", "--dataset", "shop.csv", "--classes", "kinds.txt"], /those of one data set, and 2 are named/],
  ] as const) {
    const refused = await shop(...args);
    assert.deepEqual([refused.code, message.test(refused.stderr)], [2, true], refused.stderr);
  }
  const folderWithColumn = await laclip("zero-shot", "--model", "runs/one/model", "--dataset", "photos", "--label-column", "kind");
  assert.deepEqual([folderWithColumn.code, /photos is no table/.test(folderWithColumn.stderr)], [2, true], folderWithColumn.stderr);
});

test("models of the paper that there is a recipe for have its name", () => {
  const named = publishedModels.filter(({ name }) => /-(cc3m|cc12m|redcaps)-vit-b-16$/.test(name));
  assert.ok(named.length >= 10);
  for (const { name } of named) assert.ok(name in recipes, name);
});
