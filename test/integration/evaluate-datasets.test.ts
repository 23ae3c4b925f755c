/** `laclip evaluate datasets`, and zero-shot on published sets by name, on small copies of all of them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { datasetDefinitions, openEvaluationDataset, splitItems, zeroShot } from "../../src/evaluation/index.ts";
import { Clip, imagenetPreprocessing, preset, saveModel } from "../../src/models/index.ts";
import { setLogLevel } from "../../src/support/index.ts";
import { setThreads } from "../../src/torch/index.ts";
import { type Ended, runLaclip } from "./laclip.ts";
import { syntheticDatasets, writeSyntheticDatasets } from "./synthetic-datasets.ts";

setLogLevel("quiet");
setThreads(1);
const folder = mkdtempSync(join(tmpdir(), "laclip-evaluate-datasets-"));
after(() => rmSync(folder, { recursive: true }));
const root = join(folder, "datasets");
const model = join(folder, "model");
const loaded = { model: new Clip(preset("nano"), { seed: 5 }), preprocessing: imagenetPreprocessing };

/** Sets that lie in the root; ImageNet's variants have a test of their own. */
const written = datasetDefinitions.map(({ name }) => name).filter((name) => syntheticDatasets.some((set) => set.name === name));

before(async () => {
  saveModel(model, loaded);
  await writeSyntheticDatasets(root);
});

async function laclip(args: readonly string[], environment: Record<string, string> = {}): Promise<Ended> {
  return await runLaclip(["evaluate", ...args], { env: { LACLIP_DATASETS: "", ...environment } });
}

test("every set goes through zero-shot classification: each image of its test split once", async () => {
  assert.equal(written.length, 16);
  for (const name of written) {
    const dataset = await openEvaluationDataset(name, { root, incomplete: true, splits: ["test"] });
    const { predictions, skipped, metrics } = await zeroShot(loaded, splitItems(dataset, "test"), dataset);
    assert.equal(skipped, 0, name);
    const labels = syntheticDatasets.find((one) => one.name === name)!.splits.test;
    assert.deepEqual(
      predictions.map(({ label }) => label),
      labels,
      name,
    );
    assert.ok(metrics[dataset.metric] >= 0 && metrics[dataset.metric] <= 1);
  }
});

test("a set by its name: its score is marked, and what is wrong with the copy stands in the result", async () => {
  const { code, stdout, stderr } = await laclip([
    "zero-shot",
    "--model",
    model,
    "--dataset",
    "pets",
    "--root",
    root,
    "--incomplete",
    "--json",
  ]);
  assert.equal(code, 0, stderr);
  const result = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual(
    [result.dataset, result.task, result.main_metric, result.images, result.skipped],
    ["pets", "zeroshot_classification", "mean_per_class_recall", 3, 0],
  );
  assert.deepEqual(result.problems, ["3 classes, expected 37.", "3 images to test, expected 3669."]);
  const text = await laclip(["zero-shot", "--model", model, "--dataset", "cifar10", "--incomplete"], { LACLIP_DATASETS: root });
  assert.match(text.stdout, /^top-1 \d+\.\d\d %\* {2}top-5 /, text.stderr);
  assert.match(text.stderr, /CIFAR-10: 3 images to test, expected 10000/);
});

test("a copy that is not whole is refused without --incomplete", async () => {
  const { code, stderr } = await laclip(["zero-shot", "--model", model, "--dataset", "stl10", "--root", root]);
  assert.equal(code, 3);
  assert.match(stderr, /STL-10|stl10_binary: 3 classes, expected 10/);
  assert.match(stderr, /--incomplete/);
});

test("the list says what is there, as text and as JSON, and asks for a root", async () => {
  const { code, stdout } = await laclip(["datasets", "--json"], { LACLIP_DATASETS: root });
  assert.equal(code, 0);
  const { datasets } = JSON.parse(stdout) as { datasets: { name: string; state: string; problems: string[]; licence: string }[] };
  assert.equal(datasets.length, datasetDefinitions.length);
  for (const { name, state, problems } of datasets) {
    if (written.includes(name)) assert.deepEqual([state, problems.length > 0], ["incomplete", true], name);
    else assert.deepEqual([state, name.startsWith("imagenet") || name === "objectnet"], ["absent", true], name);
  }
  const text = (await laclip(["datasets", "--root", root])).stdout;
  assert.match(text, /food101: there, not whole in .*food-101\n {2}Food-101; 101 classes; top-1; images: 4 train \(of 75,750\)/);
  assert.match(text, / {2}wrong: 3 classes, expected 101\./);
  const empty = await laclip(["datasets", "--root", model]);
  assert.match(empty.stdout, /gtsrb: not there\n.*\n {2}from: https:/);
  assert.match(empty.stderr, /0 of \d+ data sets are whole/);
  assert.equal((await laclip(["datasets"])).code, 2);
  assert.equal((await laclip(["datasets", "--root", join(folder, "nowhere")])).code, 2);
});
