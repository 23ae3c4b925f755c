/**
 * The way that the program is for: captions are rewritten by a language model, and `train` takes what came of it. Each model is asked
 * through its own engine, both commands run as a person runs them, and the run's events say how many of the texts were rewrites.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { readEvents } from "../../src/training/index.ts";
import { runLaclip } from "./laclip.ts";
import { type Answer, withModelServer } from "./model-server.ts";
import { tinyLlama, writeGguf } from "./tiny-gguf.ts";
import type { TinyGguf } from "./tiny-gguf.ts";

const stories = process.env["LACLIP_STORIES_GGUF"] ?? fileURLToPath(new URL("../../../../shared/data/stories260K.gguf", import.meta.url));
const installed = await import("node-llama-cpp").then(
  () => true,
  () => false,
);
const needsLlama = { skip: installed ? false : "node-llama-cpp is not installed" };
const needsStories = { skip: needsLlama.skip || (existsSync(stories) ? false : "stories260K.gguf is not here (LACLIP_STORIES_GGUF)") };

const root = mkdtempSync(join(tmpdir(), "laclip-train-on-rewrites-"));
after(() => rmSync(root, { recursive: true }));
const captions = join(root, "captions.csv");
const colours = ["red", "green", "blue", "yellow", "black", "white", "grey", "purple"];
const things = ["bus", "chair"];

before(async () => {
  const rows = ["id,image,caption"];
  for (const [i, colour] of colours.entries()) {
    for (const [j, thing] of things.entries()) {
      const picture = sharp({ create: { width: 20 + i, height: 20 + j, channels: 3, background: colour } });
      await picture.png().toFile(join(root, `${colour}-${thing}.png`));
      rows.push(`the-${colour}-${thing},${colour}-${thing}.png,a ${colour} ${thing} in a street`);
    }
  }
  writeFileSync(captions, `${rows.join("\n")}\n`);
});

/** Expects the program to end well. @returns what it said */
async function laclip(...args: string[]): Promise<string> {
  const { code, stderr } = await runLaclip(args);
  assert.equal(code, 0, stderr);
  return stderr;
}

/** Rewrites the captions in the manner of two sources, trains six steps on them, and returns the share of rewrites among the texts. */
async function trainOnRewritesOf(name: string, llm: string, ...trainFlags: string[]): Promise<number> {
  const rewrites = join(root, name);
  await laclip("rewrite", captions, "--out", rewrites, "--llm", llm, "--sources", "chatgpt,human", "--no-gpu", "--context", "1024");
  const run = join(root, `${name}-run`);
  const settings = ["model.preset=nano", "training.batchSize=8", "training.steps=6", "training.warmupSteps=1", "training.logEvery=1"];
  const set = settings.flatMap((setting) => ["--set", setting]);
  const said = await laclip("train", "emoji-laclip", "--data", captions, "--rewrites", rewrites, "--out", run, ...set, ...trainFlags);
  assert.match(said, /samples have some, from chatgpt, human/);
  const shares = readEvents(join(run, "events.jsonl")).flatMap((event) =>
    event.event === "train" ? [Number(event["train/rewritten"])] : [],
  );
  assert.equal(shares.length, 6);
  assert.ok(existsSync(join(run, "model", "model.safetensors")));
  return shares.reduce((sum, share) => sum + share, 0) / shares.length;
}

/** A model whose noise is mostly letters and whole words: single bytes, its most frequent tokens, would be rejected as no text. */
function wordy(): TinyGguf {
  const model = tinyLlama({ lineEnd: 2, words: ["in", "street", ...colours, ...things] });
  const { shape, data } = model.tensors.find(({ name }) => name === "output.weight")!;
  const width = shape[0]!;
  const [firstByte, newline, firstLetter] = [3, 3 + 0x0a, 3 + 256];
  for (let i = firstByte * width; i < data.length; i++) {
    if (i >= firstLetter * width) data[i]! *= 3;
    else if (Math.floor(i / width) !== newline) data[i] = 0;
  }
  return model;
}

test("what an OpenAI-compatible server wrote is trained on, every caption of it", async () => {
  const answer: Answer<{ prompt: string }> = ({ body: { prompt } }) => {
    const [, colour, thing] = /a (\w+) (\w+) in a street =>$/.exec(prompt)!;
    return ` In the street there is a ${thing} that is ${colour}.\n`;
  };
  const share = await withModelServer(answer, async (url) => await trainOnRewritesOf("served", url));
  // 48 draws, each a rewrite with a chance of two in three.
  assert.ok(share > 0.4 && share < 0.95, `${share} of the texts were rewrites`);
});

test("what a GGUF model of random weights wrote is trained on, as far as it can be used", needsLlama, async () => {
  const share = await trainOnRewritesOf("tiny", writeGguf(join(root, "tiny.gguf"), wordy()), "--min-matched", "0.1");
  assert.ok(share > 0, "no rewrite was drawn");
});

test("what a trained story model wrote is trained on", needsStories, async () => {
  const share = await trainOnRewritesOf("stories", stories, "--min-matched", "0.5");
  assert.ok(share > 0.2, `${share} of the texts were rewrites`);
});
