/**
 * Who rewrites the demo's captions when nobody was named: a model file that happens to lie on the machine must neither end the demo
 * nor hold it up, and a demo that is started again goes on with the rewriter it began with.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openRewritesFolder } from "../../src/data/index.ts";
import {
  type DemoRewriter,
  type EmojiWorld,
  type RewriteWorldOptions,
  buildEmojiWorld,
  rewriteWorld,
  runDemo,
} from "../../src/demo/index.ts";
import { builtInSources, findModelFile } from "../../src/rewriting/index.ts";
import { DataError, InterruptedError, UsageError, setLogLevel } from "../../src/support/index.ts";
import { tinyLlama, writeGguf } from "./tiny-gguf.ts";

setLogLevel("quiet");
const scratch = mkdtempSync(join(tmpdir(), "laclip-demo-rewriter-"));
after(() => rmSync(scratch, { recursive: true }));
const installed = await import("node-llama-cpp").then(
  () => true,
  () => false,
);
const needsLlama = { skip: installed ? false : "node-llama-cpp is not installed" };

let world: EmojiWorld;
before(async () => {
  world = await buildEmojiWorld({ out: join(scratch, "world"), limit: 4 });
});

/** A folder for a demo, and beside it one in which it looks for models. */
function place(name: string): { out: string; models: string; look: () => string | undefined } {
  const [out, models] = [join(scratch, name, "out"), join(scratch, name, "models")];
  for (const folder of [out, models]) mkdirSync(folder, { recursive: true });
  return { out, models, look: () => findModelFile([models], 1) };
}

async function rewriteIn(out: string, change: Partial<RewriteWorldOptions>): Promise<DemoRewriter> {
  return await rewriteWorld({ world, out, signal: new AbortController().signal, createdWith: "test", ...change });
}

/** A model to which the built-in examples are words rather than letters: three of them must fit its context. */
function modelOfWords(path: string, lineEnd: number): string {
  const texts = builtInSources.flatMap(({ pairs = [], groups = [] }) => [...pairs, ...groups].flat());
  const words = [...new Set(texts.join(" ").match(/[A-Za-z]+/g))];
  return writeGguf(path, tinyLlama({ words, lineEnd }));
}

const never = (): never => assert.fail("the decision is kept: nothing is to be looked for");
const decisionIn = (out: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(out, "rewriter.json"), "utf8")) as Record<string, unknown>;

test("without a model on the machine EDA rewrites, and nothing is kept that a model found later would not fit", async () => {
  const { out } = place("none");
  const rewriter = await rewriteIn(out, { findModel: () => undefined });
  assert.equal(rewriter.name, "eda");
  assert.match(rewriter.why, /none was found on this machine/);
  assert.ok((await (await openRewritesFolder(rewriter.folder)).count()) > 0);
  assert.ok(!existsSync(join(out, "rewriter.json")), "there was nothing to decide about");
});

test("a file that can't be used leads to EDA with the reason, also at the second start", async () => {
  const { out, models, look } = place("cut");
  const file = writeGguf(join(models, "cut.gguf"), tinyLlama());
  truncateSync(file, 20_000);
  const first = await rewriteIn(out, { findModel: look });
  assert.equal(first.name, "eda");
  assert.ok(first.why.includes(file) && /can't be used here: .*the file is cut short/.test(first.why), first.why);
  const second = await rewriteIn(out, { findModel: never });
  assert.equal(second.why, first.why);
  assert.deepEqual(readdirSync(join(out, "rewrites")), ["eda"]);
});

test("a model that fits is used, and kept while its file and the captions are the same", needsLlama, async () => {
  const { out, models, look } = place("fits");
  const file = modelOfWords(join(models, "tiny.gguf"), 3);
  const first = await rewriteIn(out, { findModel: look, patience: 1e6 });
  assert.deepEqual([first.name, first.isLanguageModel], ["llm", true]);
  assert.equal(await (await openRewritesFolder(first.folder)).count(), 4 * world.samples.length);
  assert.equal(decisionIn(out)["choice"], "model");

  // Were it tried again, it would now be too slow.
  const second = await rewriteIn(out, { findModel: never, patience: 0 });
  assert.deepEqual(second, first);

  const smaller: Pick<EmojiWorld, "trainCsv" | "samples"> = { trainCsv: world.trainCsv, samples: world.samples.slice(1) };
  assert.equal((await rewriteIn(out, { findModel: () => undefined, world: smaller })).name, "eda", "other captions are a new question");
  rmSync(file);
  assert.equal((await rewriteIn(out, { findModel: () => undefined })).name, "eda", "the file is gone");
});

test("a model that is too slow is cut short in its trial, and is not taken at the second start either", needsLlama, async () => {
  const { out, models, look } = place("slow");
  const file = modelOfWords(join(models, "tiny.gguf"), 3);
  const first = await rewriteIn(out, { findModel: look, patience: 0 });
  assert.equal(first.name, "eda");
  assert.match(first.why, /would need about|wrote nothing in the time it had/);
  assert.ok(first.why.includes(file));
  const { choice, model, captions } = decisionIn(out);
  assert.deepEqual([choice, model, captions], ["eda", file, world.samples.length]);
  assert.deepEqual(readdirSync(join(out, "rewrites")), ["eda"], "texts of the trial are no rewrites of the world");
  const second = await rewriteIn(out, { findModel: never });
  assert.deepEqual(second, first);
  const asked = await rewriteIn(out, { llm: file, findModel: never });
  assert.equal(asked.name, "llm", "what was asked for is used, whatever was decided");
});

test("a model that llama.cpp fails on in the middle of a text leads to EDA with the reason", needsLlama, async (t) => {
  const { LlamaContextSequence } = await import("node-llama-cpp");
  const { out, models, look } = place("fails");
  const file = modelOfWords(join(models, "tiny.gguf"), 3);
  t.mock.method(LlamaContextSequence.prototype, "controlledEvaluate", () => Promise.reject(new Error("Eval has failed")));
  const first = await rewriteIn(out, { findModel: look, patience: 1e6 });
  assert.equal(first.name, "eda");
  assert.ok(first.why.includes(file) && first.why.includes("can't be used here: Eval has failed"), first.why);
  t.mock.restoreAll();
  t.mock.method(LlamaContextSequence.prototype, "controlledEvaluate", () => Promise.reject(new TypeError("a slip in our code")));
  rmSync(join(out, "rewriter.json"));
  await assert.rejects(rewriteIn(out, { findModel: look, patience: 1e6 }), TypeError, "a defect must not pass for a bad model");
});

test("a user who stops the trial stops the demo, and nothing is decided", needsLlama, async () => {
  const { out, models, look } = place("stopped");
  modelOfWords(join(models, "tiny.gguf"), 3);
  await assert.rejects(rewriteIn(out, { findModel: look, signal: AbortSignal.abort() }), InterruptedError);
  assert.deepEqual(readdirSync(out), []);
});

test("somebody else's rewriter.json is not taken for a decision, nor written over", async () => {
  const { out } = place("foreign");
  for (const content of ['{ "mine": true }', "not json"]) {
    writeFileSync(join(out, "rewriter.json"), content);
    await assert.rejects(rewriteIn(out, { findModel: () => undefined }), DataError);
    assert.equal(readFileSync(join(out, "rewriter.json"), "utf8"), content);
  }
});

test("a slip in --llm shows before anything is drawn", async () => {
  const { out } = place("slip");
  const demo = runDemo({ out, llm: join(out, "misspelt.gguf"), seeds: 1, signal: new AbortController().signal, createdWith: "test" });
  await assert.rejects(
    demo,
    (error: unknown) => error instanceof UsageError && /misspelt\.gguf: there is no such file/.test(error.message),
  );
  assert.deepEqual(readdirSync(out), []);
});
