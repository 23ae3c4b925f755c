/**
 * Models that transformers has written give here the features that it computes, and our tokenizer and its files are those that it has.
 * make-hugging-face-fixtures.py beside this file has made the fixtures. The other way round, check-hugging-face.py holds a folder that
 * was written here against transformers.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readHuggingFace, tokenizerFiles } from "../../../src/exchange/index.ts";
import { Clip, imagenetPreprocessing } from "../../../src/models/index.ts";
import { loadTensors, tensorsOf } from "../../../src/nn/index.ts";
import { sha256 } from "../../../src/support/index.ts";
import { ClipTokenizer } from "../../../src/text/index.ts";
import { type Tensor, noGrad, scope } from "../../../src/torch/index.ts";

const folder = fileURLToPath(new URL("../../../../test/parity/exchange/hugging-face/", import.meta.url));
const results = loadTensors(join(folder, "results.safetensors")).tensors;

/** Largest difference, relative to the largest expected value. */
function distance(actual: Tensor, expected: Tensor): number {
  assert.deepEqual(actual.shape, expected.shape);
  return scope(() => actual.sub(expected).abs().max().item() / expected.abs().max().item());
}

describe("features are those of transformers", () => {
  for (const activation of ["quick-gelu", "gelu"] as const) {
    test(`${activation}, weights of ${activation === "gelu" ? "bfloat16" : "float32"}`, async () => {
      const { config, preprocessing, weights } = await readHuggingFace(join(folder, activation));
      assert.equal(config.vision.activation, activation);
      assert.equal(config.text.activation, activation);
      assert.equal(preprocessing.interpolation, activation === "gelu" ? "bilinear" : "bicubic");
      if (activation === "gelu") assert.deepEqual(preprocessing, imagenetPreprocessing);
      const model = new Clip(config, { seed: 1 });
      scope(() =>
        noGrad(() => {
          model.loadStateDict(tensorsOf(weights, folder));
          assert.ok(distance(model.encodeImages(results.get("images")!), results.get(`${activation}.image_features`)!) < 1e-5);
          assert.ok(distance(model.encodeTexts(results.get("tokens")!), results.get(`${activation}.text_features`)!) < 1e-5);
          assert.ok(Math.abs(model.logitScale.item() - 2.7) < (activation === "gelu" ? 0.01 : 1e-6));
        }),
      );
      model.dispose();
    });
  }
});

describe("the tokenizer", () => {
  interface Row {
    text: string;
    ids: number[];
  }
  const facts = JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8")) as {
    vocabulary: string;
    merges: string;
    description: { model: object };
    alike: Row[];
    unlike: Row[];
  };
  const files = tokenizerFiles(77);

  test("gives clean captions the ids of CLIPTokenizer, and cuts long ones alike", () => {
    assert.ok(facts.alike.length >= 30);
    const tokenizer = ClipTokenizer.load();
    for (const { text, ids } of facts.alike) assert.deepEqual([...tokenizer.tokenize(text)], ids, text);
    assert.ok(facts.alike.some(({ ids }) => ids.length === 77));
  });

  test("reads other captions otherwise: those that it cleans, and those with names of special tokens", () => {
    const tokenizer = ClipTokenizer.load();
    for (const { text, ids } of facts.unlike) assert.notDeepEqual([...tokenizer.tokenize(text)], ids, text);
  });

  test("is described as transformers describes it, with the same tokens and merges", () => {
    const inOrder = (vocabulary: Record<string, number>): string[] =>
      Object.keys(vocabulary).sort((a, b) => vocabulary[a]! - vocabulary[b]!);
    const { model, ...rest } = JSON.parse(files["tokenizer.json"]!) as { model: { vocab: Record<string, number>; merges: string[] } };
    const { vocab, merges, ...settings } = model;
    assert.deepEqual({ ...rest, model: settings }, facts.description);
    assert.equal(sha256(inOrder(vocab).join("\n")), facts.vocabulary);
    assert.equal(sha256(merges.join("\n")), facts.merges);
    assert.equal(sha256(inOrder(JSON.parse(files["vocab.json"]!) as Record<string, number>).join("\n")), facts.vocabulary);
    assert.equal(files["merges.txt"], `#version: 0.2\n${merges.join("\n")}\n`);
  });
});
