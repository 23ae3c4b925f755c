/** What can't be put into ONNX files is refused before anything is written; what the graphs compute is held against libtorch in test/parity. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { ModelFormatError, UsageError } from "../../support/index.ts";
import { type ClipConfig, imagenetPreprocessing, weightShapes } from "../../models/index.ts";
import type { Weights } from "../weights-file.ts";
import { writeOnnx } from "./onnx-folder.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "laclip-onnx-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const config: ClipConfig = {
  jointWidth: 4,
  vision: { imageSize: 8, patchSize: 4, width: 8, depth: 1, heads: 2, qkNorm: true },
  text: { contextLength: 6, vocabularySize: 10, width: 8, depth: 1, heads: 2 },
};

/** Zeros; memory that nobody touches is not taken. */
function zeros(of: ClipConfig): Weights {
  const sized = (shape: number[]): Uint8Array => new Uint8Array(shape.reduce((product, size) => product * size, 4));
  return new Map([...weightShapes(of)].map(([name, shape]) => [name, { dtype: "F32", shape, data: sized(shape) }]));
}

test("a tower of more than 2 GB is refused by its name, and nothing is written", () => {
  const large = { ...config, text: { ...config.text, vocabularySize: 70_000_000 } };
  assert.throws(
    () => writeOnnx(folder, { config: large, preprocessing: imagenetPreprocessing, weights: zeros(large) }),
    (error) => error instanceof UsageError && /at most 2\.1 GB; text_model\.onnx would have 2\.2 GB/.test(error.message),
  );
  assert.deepEqual(readdirSync(folder), []);
});

test("where only both towers together are too large, their common graph is left out", () => {
  const out = join(folder, "apart");
  const model = { config, preprocessing: imagenetPreprocessing, weights: zeros(config) };
  writeOnnx(folder, model);
  const [image, text, both] = ["vision_model", "text_model", "model"].map((name) => statSync(join(folder, "onnx", `${name}.onnx`)).size);
  assert.ok(Math.max(image!, text!) < both!);
  assert.deepEqual(writeOnnx(out, model, { largestFile: both! - 1 }), { tokenizer: false, joined: false });
  assert.deepEqual(readdirSync(join(out, "onnx")).toSorted(), ["text_model.onnx", "vision_model.onnx"]);
  assert.deepEqual(writeOnnx(out, model, { largestFile: both! }).joined, true);
});

test("weights that are not those of the description are refused", () => {
  const weights = zeros(config);
  weights.delete("ln_final.bias");
  assert.throws(() => writeOnnx(folder, { config, preprocessing: imagenetPreprocessing, weights }), ModelFormatError);
  assert.deepEqual(readdirSync(folder), []);
});
