/** `laclip evaluate datasets`, and zero-shot on published sets by name, on small copies of all of them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { datasetDefinitions, openEvaluationDataset, splitItems, zeroShot } from "../../src/evaluation/index.ts";
import { Clip, imagenetPreprocessing, preset, saveModel } from "../../src/models/index.ts";
import { setLogLevel } from "../../src/support/index.ts";
import { setThreads } from "../../src/torch/index.ts";
import { syntheticDatasets, writeSyntheticDatasets } from "./synthetic-datasets.ts";

setLogLevel("quiet");
setThreads(1);
const folder = mkdtempSync(join(tmpdir(), "laclip-evaluate-datasets-"));
after(() => rmSync(folder, { recursive: true }));
const program = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const root = join(folder, "datasets");
const model = join(folder, "model");
const loaded = { model: new Clip(preset("nano"), { seed: 5 }), preprocessing: imagenetPreprocessing };

/** Sets that lie in the root; ImageNet's variants have a test of their own. */
const written = datasetDefinitions.map(({ name }) => name).filter((name) => syntheticDatasets.some((set) => set.name === name));

before(async () => {
  saveModel(model, loaded);
  await writeSyntheticDatasets(root);
});

function laclip(args: readonly string[], environment: Record<string, string> = {}): { status: number | null; out: string; err: string } {
  const env = { ...process.env, LACLIP_DATASETS: "", ...environment };
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, "evaluate", ...args], { encoding: "utf8", env });
  return { status, out: stdout, err: stderr };
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

test("a set by its name: its score is marked, and what is wrong with the copy stands in the result", () => {
  const { status, out, err } = laclip(["zero-shot", "--model", model, "--dataset", "pets", "--root", root, "--incomplete", "--json"]);
  assert.equal(status, 0, err);
  const result = JSON.parse(out) as Record<string, unknown>;
  assert.deepEqual(
    [result.dataset, result.task, result.main_metric, result.images, result.skipped],
    ["pets", "zeroshot_classification", "mean_per_class_recall", 3, 0],
  );
  assert.deepEqual(result.problems, ["3 classes, expected 37.", "3 images to test, expected 3669."]);
  const text = laclip(["zero-shot", "--model", model, "--dataset", "cifar10", "--incomplete"], { LACLIP_DATASETS: root });
  assert.match(text.out, /^top-1 \d+\.\d\d %\* {2}top-5 /, text.err);
  assert.match(text.err, /CIFAR-10: 3 images to test, expected 10000/);
});

test("a copy that is not whole is refused without --incomplete", () => {
  const { status, err } = laclip(["zero-shot", "--model", model, "--dataset", "stl10", "--root", root]);
  assert.equal(status, 3);
  assert.match(err, /STL-10|stl10_binary: 3 classes, expected 10/);
  assert.match(err, /--incomplete/);
});

test("the list says what is there, as text and as JSON, and asks for a root", () => {
  const { status, out } = laclip(["datasets", "--json"], { LACLIP_DATASETS: root });
  assert.equal(status, 0);
  const { datasets } = JSON.parse(out) as { datasets: { name: string; state: string; problems: string[]; licence: string }[] };
  assert.equal(datasets.length, datasetDefinitions.length);
  for (const { name, state, problems } of datasets) {
    if (written.includes(name)) assert.deepEqual([state, problems.length > 0], ["incomplete", true], name);
    else assert.deepEqual([state, name.startsWith("imagenet") || name === "objectnet"], ["absent", true], name);
  }
  const text = laclip(["datasets", "--root", root]).out;
  assert.match(text, /food101: there, not whole in .*food-101\n {2}Food-101; 101 classes; top-1; images: 4 train \(of 75,750\)/);
  assert.match(text, / {2}wrong: 3 classes, expected 101\./);
  const empty = laclip(["datasets", "--root", model]);
  assert.match(empty.out, /gtsrb: not there\n.*\n {2}from: https:/);
  assert.match(empty.err, /0 of \d+ data sets are whole/);
  assert.equal(laclip(["datasets"]).status, 2);
  assert.equal(laclip(["datasets", "--root", join(folder, "nowhere")]).status, 2);
});
