/** The tokenizer's files say what our own tokenizer does. That they say it as transformers does: test/parity/exchange. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ClipTokenizer, endOfText, startOfText } from "../text/index.ts";
import { hasClipVocabulary, tokenizerFiles } from "./tokenizer-files.ts";

const files = tokenizerFiles(32);
const vocabulary = JSON.parse(files["vocab.json"]!) as Record<string, number>;

test("every id has one token, with OpenAI's first and last", () => {
  assert.deepEqual(
    Object.values(vocabulary).sort((a, b) => a - b),
    Array.from({ length: 49408 }, (_, id) => id),
  );
  for (const [token, id] of [
    ["!", 0],
    ["!</w>", 256],
    ["in", 512],
    ["cat</w>", 2368],
    ["<|startoftext|>", startOfText],
    ["<|endoftext|>", endOfText],
  ] as const) {
    assert.equal(vocabulary[token], id, token);
  }
});

test("ids of words and of single bytes are those that our tokenizer gives", () => {
  const tokenizer = ClipTokenizer.load();
  assert.deepEqual(tokenizer.encode("photograph"), [vocabulary["photograph</w>"]]);
  // The bytes of U+2603 are e2 98 83: one that is printable in Latin-1, and two that are not.
  const letters = Object.entries(vocabulary).filter(([, id]) => tokenizer.encode("\u2603").includes(id));
  assert.equal(letters.map(([token]) => token.replace("</w>", "")).join("").length, 3);
});

test("merges come in order behind a line that is none, and make tokens", () => {
  const [head, ...merges] = files["merges.txt"]!.trimEnd().split("\n");
  assert.equal(head, "#version: 0.2");
  assert.equal(merges.length, 48894);
  assert.equal(merges[0], "i n");
  merges.forEach((pair, rank) => assert.equal(vocabulary[pair.replace(" ", "")], 512 + rank, pair));
});

test("texts are cut at the model's length", () => {
  const settings = JSON.parse(files["tokenizer_config.json"]!) as Record<string, unknown>;
  assert.equal(settings.model_max_length, 32);
  assert.equal(settings.pad_token, "<|endoftext|>");
});

test("only CLIP's vocabulary has files", () => {
  assert.equal(hasClipVocabulary({ vocabularySize: 49408 }), true);
  assert.equal(hasClipVocabulary({ vocabularySize: 49409 }), false);
});
