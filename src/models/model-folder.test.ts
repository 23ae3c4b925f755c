/** A model folder written and read again, and all the ways in which one can be damaged. */
import assert from "node:assert/strict";
import { cpSync, linkSync, mkdtempSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { writeSafetensors } from "../formats/index.ts";
import { loadTensors, storedTensors } from "../nn/index.ts";
import { type Tensor, memoryInfo, noGrad, randn, scope } from "../torch/index.ts";
import { Clip } from "./clip.ts";
import type { ClipConfig } from "./config.ts";
import { loadModel, saveModel } from "./model-folder.ts";
import type { Preprocessing } from "./preprocessing.ts";

const config: ClipConfig = {
  jointWidth: 5,
  vision: { imageSize: 8, patchSize: 4, width: 8, depth: 1, heads: 2, qkNorm: false },
  text: { contextLength: 7, vocabularySize: 20, width: 6, depth: 1, heads: 3 },
};
const preprocessing: Preprocessing = { mean: [0.1, 0.2, 0.3], std: [0.4, 0.5, 0.6], interpolation: "bicubic" };

let folder: string;
let good: string;
let model: Clip;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "laclip-model-"));
  good = join(folder, "run", "model");
  model = new Clip(config, { seed: 4 });
  saveModel(good, { model, preprocessing });
});
after(() => {
  model.dispose();
  rmSync(folder, { recursive: true });
});

test("comes back with its architecture, its image preparation and every bit of its weights", () => {
  const loaded = loadModel(good);
  assert.deepEqual(loaded.model.config, config);
  assert.deepEqual(loaded.preprocessing, preprocessing);
  const expected = model.stateDict();
  assert.deepEqual([...loaded.model.stateDict().keys()], [...expected.keys()]);
  for (const [name, value] of loaded.model.namedParameters())
    assert.deepEqual(value.toTypedArray(), expected.get(name)!.toTypedArray(), name);
  scope(() => {
    const images = randn([2, 3, 8, 8]);
    const features = (one: Clip): number[] => noGrad(() => one.encodeImages(images)).toArray();
    assert.deepEqual(features(loaded.model), features(model));
  });
  loaded.model.dispose();
});

test("can be written over an older one, whose weights are replaced and never half written", () => {
  const path = join(folder, "again");
  const other = new Clip(config, { seed: 5 });
  saveModel(path, { model, preprocessing });
  const [weights, held] = [join(path, "model.safetensors"), join(folder, "held.safetensors")];
  // Under another name, the file that was there shows whether anybody writes to it.
  linkSync(weights, held);
  saveModel(path, { model: other, preprocessing });
  assert.deepEqual(readFileSync(held), readFileSync(join(good, "model.safetensors")));
  const loaded = loadModel(path);
  assert.deepEqual(loaded.model.logitScale.toArray(), other.logitScale.toArray());
  assert.deepEqual(loaded.model.parameters()[0]!.toTypedArray(), other.parameters()[0]!.toTypedArray());
  for (const one of [other, loaded.model]) one.dispose();
});

describe("a damaged folder is refused with the file and what is wrong with it, and leaves no tensors", () => {
  const describeFile = "laclip.json";
  const weightsFile = "model.safetensors";
  const edit =
    (change: (description: { format: string; model: ClipConfig; extra?: number; preprocessing: Preprocessing }) => void) =>
    (path: string): void => {
      const file = join(path, describeFile);
      const description = JSON.parse(readFileSync(file, "utf8")) as Parameters<typeof change>[0];
      change(description);
      writeFileSync(file, JSON.stringify(description));
    };
  const weights =
    (change: (state: Map<string, Tensor>) => void) =>
    (path: string): void => {
      const file = join(path, weightsFile);
      scope(() => {
        const { tensors } = loadTensors(file);
        change(tensors);
        writeSafetensors(file, storedTensors(tensors));
      });
    };

  const damages: [string, (path: string) => void, string, RegExp][] = [
    ["no description", (path) => unlinkSync(join(path, describeFile)), "DataError", /not a model folder.*laclip\.json/],
    ["no weights", (path) => unlinkSync(join(path, weightsFile)), "ModelFormatError", /model\.safetensors/],
    ["weights cut short", (path) => truncateSync(join(path, weightsFile), 5000), "ModelFormatError", /model\.safetensors/],
    ["another format", edit((file) => (file.format = "laclip-model-9")), "ModelFormatError", /laclip\.json.*laclip-model-1/s],
    ["an unknown key", edit((file) => (file.extra = 1)), "ModelFormatError", /laclip\.json.*extra/s],
    ["a wrong size", edit((file) => (file.model.vision.width = -8)), "ModelFormatError", /laclip\.json.*width/s],
    ["sizes that do not go together", edit((file) => (file.model.vision.imageSize = 9)), "ModelFormatError", /multiple of patchSize/],
    ["two numbers for three channels", edit((file) => (file.preprocessing.mean as number[]).pop()), "ModelFormatError", /mean/],
    [
      "weights of another size",
      edit((file) => (file.model.jointWidth = 6)),
      "ModelFormatError",
      /image_projection: expected \[8, 6\], got \[8, 5\]/,
    ],
    ["a weight too few", weights((state) => state.delete("ln_final.bias")), "ModelFormatError", /missing \(1\): ln_final\.bias/],
    [
      "a weight too many",
      weights((state) => state.set("head", state.get("logit_scale")!)),
      "ModelFormatError",
      /not in the model \(1\): head/,
    ],
  ];
  for (const [what, damage, name, words] of damages) {
    test(what, () => {
      const path = mkdtempSync(join(folder, "damaged-"));
      cpSync(good, path, { recursive: true });
      damage(path);
      const memory = memoryInfo();
      assert.throws(
        () => loadModel(path),
        (error: Error) => error.name === name && error.message.includes(path) && words.test(error.message),
      );
      assert.deepEqual(memoryInfo(), memory);
    });
  }

  test("text that is no JSON, and a folder that is not there", () => {
    const path = mkdtempSync(join(folder, "damaged-"));
    cpSync(good, path, { recursive: true });
    writeFileSync(join(path, describeFile), "{");
    assert.throws(
      () => loadModel(path),
      (error: Error) => error.name !== "SyntaxError" && error.message.includes(path),
    );
    assert.throws(() => loadModel(join(folder, "nowhere")), { name: "DataError", message: /nowhere/ });
  });
});
