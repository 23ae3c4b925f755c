/**
 * What is wrong with data sets and models, handed to every task by the command line: one clear error, or a skip that is counted in the result.
 * Never a stack, never a number of nothing.
 */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import sharp from "sharp";
import type { EvaluationResult } from "../../src/evaluation/index.ts";
import { Clip, imagenetPreprocessing, preset, saveModel } from "../../src/models/index.ts";
import { noGrad, ops, setThreads } from "../../src/torch/index.ts";
import { type Ended, runLaclip } from "./laclip.ts";
import { syntheticDatasets } from "./synthetic-datasets.ts";

setThreads(1);
const folder = mkdtempSync(join(tmpdir(), "laclip-bad-input-"));
after(() => rmSync(folder, { recursive: true }));
const [model, spoiled, misfit] = ["model", "spoiled", "misfit"].map((name) => join(folder, name)) as [string, string, string];
const photos = join(folder, "photos");
const captions = join(folder, "captions.csv");
const colours = ["red", "green", "blue"];
const each = 12;

async function laclip(...args: readonly string[]): Promise<Ended> {
  return await runLaclip(["evaluate", ...args], { env: { LACLIP_DATASETS: "", LACLIP_FEATURES: join(folder, "features") } });
}

/** The command ends with this code and says this, and no number comes out. */
async function refused(code: number, message: RegExp, ...args: readonly string[]): Promise<void> {
  const ended = await laclip(...args);
  const what = `${args.join(" ")}\n${ended.stderr}`;
  assert.equal(ended.code, code, what);
  assert.match(ended.stderr, message);
  assert.doesNotMatch(ended.stderr, /defect|\n\s+at /, what);
  assert.equal(ended.stdout, "", what);
}

async function result(...args: readonly string[]): Promise<EvaluationResult> {
  const { code, stdout, stderr } = await laclip(...args, "--json");
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as EvaluationResult;
}

/** Every task on the photos, or on their captions. */
const tasks: Readonly<Record<string, readonly string[]>> = {
  "zero-shot": ["zero-shot", "--dataset", photos],
  "few-shot": ["few-shot", "--dataset", photos, "--ways", "3", "--shots", "2", "--queries", "2", "--episodes", "10"],
  "linear-probe": ["linear-probe", "--dataset", photos, "--strength", "1"],
  retrieval: ["retrieval", "--dataset", captions],
};

before(async () => {
  const rows = ["image,caption"];
  for (const split of ["train", "test"]) {
    for (const background of colours) {
      mkdirSync(join(photos, split, background), { recursive: true });
      for (let i = 0; i < each; i++) {
        const file = join(photos, split, background, `${i}.png`);
        await sharp({ create: { width: 20 + i, height: 24, channels: 3, background } })
          .png()
          .toFile(file);
        if (split === "test") rows.push(`${file},a ${background} card with number ${i}`);
      }
    }
  }
  writeFileSync(captions, `${rows.join("\n")}\n`);
  const clip = new Clip(preset("nano"), { seed: 5 });
  saveModel(model, { model: clip, preprocessing: imagenetPreprocessing });
  // A description of other sizes beside these weights.
  mkdirSync(misfit);
  copyFileSync(join(model, "model.safetensors"), join(misfit, "model.safetensors"));
  const described = JSON.parse(readFileSync(join(model, "laclip.json"), "utf8")) as { model: { jointWidth: number } };
  described.model.jointWidth *= 2;
  writeFileSync(join(misfit, "laclip.json"), JSON.stringify(described));
  noGrad(() => ops.fillScalar_(clip.stateDict().get("visual.cls_token") ?? clip.stateDict().get("image_projection")!, NaN));
  saveModel(spoiled, { model: clip, preprocessing: imagenetPreprocessing });
  clip.dispose();
});

test("a split that is not there", async () => {
  await refused(3, /folders for train, test, and none for validation/, ...tasks["zero-shot"]!, "--model", model, "--split", "validation");
  await refused(3, /no column split/, ...tasks["retrieval"]!, "--model", model, "--split", "train");
  const test = join(photos, "test");
  for (const task of ["few-shot", "linear-probe"]) await refused(3, /no train images/, task, "--model", model, "--dataset", test);
});

test("a copy with another number of images: refused, or said in the result", async () => {
  const root = join(folder, "datasets");
  await syntheticDatasets.find(({ name }) => name === "cifar10")!.write(root);
  const cifar = ["zero-shot", "--model", model, "--dataset", "cifar10", "--root", root];
  await refused(3, /4 classes, expected 10\./, ...cifar);
  const { laclip: details } = await result(...cifar, "--incomplete");
  assert.match(details!.problems!.join("\n"), /images to test, expected 10000/);
});

test("an image that can't be read: refused, or left out and counted, by every task", async () => {
  const file = join(photos, "test", "green", "3.png");
  const bytes = readFileSync(file);
  writeFileSync(file, "<html>404</html>");
  try {
    for (const args of Object.values(tasks)) {
      await refused(3, /3\.png/, ...args, "--model", model);
      const { laclip: details } = await result(...args, "--model", model, "--max-skipped", "0.1");
      const { skipped, counts } = details!;
      assert.deepEqual([skipped.count, counts["images"]], [1, colours.length * each - 1], args.join(" "));
      assert.match(skipped.reasons[0]!, /3\.png/);
    }
  } finally {
    writeFileSync(file, bytes);
  }
});

test("names for another number of classes", async () => {
  const names = join(folder, "two.txt");
  writeFileSync(names, "red\ngreen\n");
  await refused(3, /two\.txt[^]*2[^]*3/, ...tasks["zero-shot"]!, "--model", model, "--classes", names);
  const all = await laclip("all", "--model", model, "--dataset", photos, "--classes", names, "--out", join(folder, "results"));
  assert.deepEqual([all.code, /two\.txt/.test(all.stderr), existsSync(join(folder, "results"))], [3, true, false], all.stderr);
});

test("a label out of range", async () => {
  const names = join(folder, "names.txt");
  writeFileSync(names, `${colours.join("\n")}\n`);
  const table = join(folder, "labels.csv");
  const zeroShot = ["zero-shot", "--model", model, "--dataset", table, "--classes", names];
  const row = (colour: string, label: string): string => `${join(photos, "test", colour, "1.png")},${label}`;
  writeFileSync(table, `${["image,label", row("red", "0"), row("green", "1"), row("blue", "3")].join("\n")}\n`);
  await refused(3, /of the class "3", for which .*names\.txt has no name/, ...zeroShot);
  writeFileSync(table, `${["image,label", row("red", "0"), row("green", "-1")].join("\n")}\n`);
  await refused(3, /of the class "-1", for which .*names\.txt has no name/, ...zeroShot);
});

test("features that are no numbers, in every task", async () => {
  for (const args of Object.values(tasks)) await refused(3, /not finite/, ...args, "--model", spoiled);
});

test("weights of other sizes than their description, and sizes that make no model", async () => {
  for (const args of Object.values(tasks)) await refused(3, /model\.safetensors[^]*\[/, ...args, "--model", misfit);
  await refused(2, /multiple of patchSize/, ...tasks["zero-shot"]!, "--model", model, "--image-size", "33");
  await refused(3, /not a model folder/, ...tasks["zero-shot"]!, "--model", photos);
});
