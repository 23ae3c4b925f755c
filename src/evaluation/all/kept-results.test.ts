import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import sharp from "sharp";
import { Clip, imagenetPreprocessing, preset, saveModel } from "../../models/index.ts";
import { setLogLevel } from "../../support/index.ts";
import { setThreads } from "../../torch/index.ts";
import { openEvaluationDataset, openRetrievalDataset } from "../datasets/index.ts";
import { readClassifiedItems } from "../results/outcomes.ts";
import { readResult, readResults } from "../results/result.ts";
import { runOrKeep } from "./evaluate-all.ts";
import { type EvaluatedModel, openEvaluatedModel } from "./evaluated-model.ts";
import { fewShotTask } from "./few-shot-task.ts";
import { type LinearProbeTaskOptions, linearProbeTask } from "./linear-probe-task.ts";
import { retrievalTask } from "./retrieval-task.ts";
import type { EvaluationTask, TaskPlan, TaskSettings } from "./task-plan.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-kept-results-"));
const modelFolder = join(folder, "model");
const photos = join(folder, "photos");
const captions = join(folder, "captions.csv");
const settings: TaskSettings = { batchSize: 8, device: "cpu", maximumSkipped: 0, seed: 0 };
let model: EvaluatedModel;

before(async () => {
  setThreads(1);
  setLogLevel("quiet");
  const rows = ["image,caption"];
  for (const split of ["train", "test"]) {
    for (const background of ["red", "green", "blue"]) {
      mkdirSync(join(photos, split, background), { recursive: true });
      for (const i of [1, 2, 3]) {
        const file = join(photos, split, background, `${i}.png`);
        await sharp({ create: { width: 16 + i, height: 16, channels: 3, background } })
          .png()
          .toFile(file);
        rows.push(`${file},${background} number ${i}`);
      }
    }
  }
  writeFileSync(captions, `${rows.join("\n")}\n`);
  saveModel(modelFolder, { model: new Clip(preset("nano"), { seed: 3 }), preprocessing: imagenetPreprocessing });
  model = await openEvaluatedModel(modelFolder);
});
after(() => {
  model.model.dispose();
  rmSync(folder, { recursive: true });
});

/** What became of a task whose results are in a folder: "done" or "kept". */
async function stateOf(task: EvaluationTask, out: string, own: Partial<TaskSettings> = {}, of = model): Promise<string> {
  const dataset = await (task.takes === "retrieval" ? openRetrievalDataset(captions) : openEvaluationDataset(photos));
  const plan = await task.plan(of, dataset, { ...settings, ...own });
  assert.ok(typeof plan === "object");
  return (await runOrKeep(plan, of, { out: join(folder, out), version: "0" })).state;
}

test("a probe is fitted again for other settings, and wherever its classifier is asked for", async (t) => {
  const state = (more: LinearProbeTaskOptions = {}, own: Partial<TaskSettings> = {}): Promise<string> =>
    stateOf(linearProbeTask({ strength: 1, ...more }), "probe", own);
  assert.deepEqual([await state(), await state(), await state({ maximumIterations: 2 })], ["done", "kept", "done"]);
  const warned = t.mock.method(process.stderr, "write", () => true);
  assert.equal(await state({ maximumIterations: 2 }, { seed: 5 }), "done");
  warned.mock.restore();
  const told = warned.mock.calls.map(({ arguments: [text] }) => String(text)).join("");
  assert.match(told, /made otherwise \(seed\)/);
  const [, aside] = /now lies in (.+\.json)\.$/m.exec(told)!;
  const [own] = readResults([join(folder, "probe")]);
  assert.deepEqual([own!.result.laclip!.seed, readResult(aside!).laclip!.seed], [5, 0]);
  assert.ok((await readClassifiedItems({ path: aside!, result: readResult(aside!) }))!.length > 0, "with what belongs to it");

  const save = join(folder, "classifier");
  assert.equal(await state({ maximumIterations: 2, save }, { seed: 5 }), "done");
  assert.ok(existsSync(join(save, "classifier.json")), "a result does not stand for the classifier");
  const apply = (): Promise<string> => stateOf(linearProbeTask({ classifier: save }), "applied");
  assert.deepEqual([await apply(), await apply()], ["done", "kept"]);
  const weights = readFileSync(join(save, "classifier.safetensors"));
  weights[weights.length - 1]! ^= 0x80;
  writeFileSync(join(save, "classifier.safetensors"), weights);
  assert.equal(await apply(), "done", "another classifier in the same folder");
});

test("settings that nobody gave stand in results as they always did: by them kept results are found again", async () => {
  const dataset = await openEvaluationDataset(photos);
  const planned = async (task: EvaluationTask): Promise<TaskPlan> => {
    const plan = await task.plan(model, dataset, settings);
    assert.ok(typeof plan === "object");
    return plan;
  };
  const said = async (task: EvaluationTask): Promise<TaskPlan["protocol"]> => {
    const { normalisation: _, interpolation: __, imageSize: ___, description: ____, ...own } = (await planned(task)).protocol;
    return own;
  };
  const common = { feature: "class-token", maximumSkipped: 0 };
  const probe = { ...common, standardise: false };
  const lbfgs = { ...probe, solver: "lbfgs", maximumIterations: 1000 };
  assert.deepEqual(await said(linearProbeTask()), { ...lbfgs, C: "chosen on validation images", validationShare: 0.2 });
  assert.deepEqual(await said(linearProbeTask({ strength: 1 })), { ...lbfgs, C: 1 });
  const descent = linearProbeTask({ solver: "sgd", sgd: { batchSize: 4 } });
  assert.deepEqual(await said(descent), { ...probe, solver: "sgd", batchSize: 4 });
  const { metrics } = await (await planned(descent)).run();
  assert.deepEqual([metrics["epochs"], metrics["weight_decay"]], [90, 0]);
  const episodes = { ...common, ways: 5, shots: 5, queries: 6, episodes: 5000, shotsFrom: "train", centre: true };
  const ways = { ways: 3, shots: 1, queries: 1 };
  const votes = { classifier: "knn", neighbours: 25, temperature: 0.07 };
  assert.deepEqual(await said(fewShotTask(ways)), { ...episodes, ...ways, classifier: "prototype" });
  assert.deepEqual(await said(fewShotTask({ ...ways, classifier: { name: "knn" } })), { ...episodes, ...ways, ...votes });
});

test("other places of retrieval are other settings, and their recalls are there", async () => {
  const out = "retrieval";
  assert.deepEqual([await stateOf(retrievalTask(), out), await stateOf(retrievalTask(), out)], ["done", "kept"]);
  assert.equal(await stateOf(retrievalTask({ recalls: [1, 3] }), out), "done");
});

test("two data sets whose names become one as a file have a result each, and each is found again", async () => {
  const out = join(folder, "names");
  const dataset = await openEvaluationDataset(photos);
  const run = async (name: string): Promise<string> => {
    const plan = await fewShotTask({ ways: 3, shots: 1, queries: 1, episodes: 10 }).plan(model, { ...dataset, name }, settings);
    assert.ok(typeof plan === "object");
    return (await runOrKeep(plan, model, { out, version: "0" })).state;
  };
  assert.deepEqual([await run("my photos"), await run("my_photos")], ["done", "done"]);
  assert.deepEqual([await run("my_photos"), await run("my photos")], ["kept", "kept"]);
  const results = readResults([out]);
  assert.deepEqual(results.map(({ result }) => result.dataset).sort(), ["my photos", "my_photos"]);
  assert.equal(new Set(results.map(({ result }) => result.laclip!.perItem!.file)).size, 2);
});

test("captions of another split are another data set, so that their result leaves that of test as it is", async () => {
  const dataset = await openRetrievalDataset(captions);
  const named = async (split: "train" | "test"): Promise<unknown> => {
    const plan = await retrievalTask().plan(model, { ...dataset, split }, settings);
    return typeof plan === "object" && plan.dataset;
  };
  assert.deepEqual([await named("test"), await named("train")], ["captions", "captions-train"]);
});

test("the same weights with another description are another model", async () => {
  const task = fewShotTask({ ways: 3, shots: 1, queries: 1, episodes: 10 });
  assert.deepEqual([await stateOf(task, "few"), await stateOf(task, "few")], ["done", "kept"]);
  const path = join(modelFolder, "laclip.json");
  const described = JSON.parse(readFileSync(path, "utf8")) as { model: { vision: { activation?: string } } };
  described.model.vision.activation = "quick-gelu";
  writeFileSync(path, JSON.stringify(described));
  const other = await openEvaluatedModel(modelFolder);
  assert.deepEqual([other.name, other.hash], [model.name, model.hash]);
  assert.equal(await stateOf(task, "few", {}, other), "done");
  other.model.dispose();
});
