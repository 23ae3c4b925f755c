import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultForm } from "../prompts/prompt-forms.ts";
import type { RewriteGroup } from "./engine.ts";
import { EdaThread } from "./eda-thread.ts";
import { EdaEngine } from "./eda.ts";

const caption = "A young woman riding old bicycles through the crowded streets, smiling.";
const engine = new EdaEngine();
const wordsOf = (text: string): string[] => text.toLowerCase().match(/[a-z-]+/g) ?? [];
const sorted = (text: string): string => wordsOf(text).sort().join(" ");
const many = (text: string, count = 300): Set<string> => new Set(Array.from({ length: count }, (_, seed) => engine.change(text, seed)));

test("the same seed gives the same text, and each of the four operations happens", () => {
  const seen = { replaced: 0, inserted: 0, swapped: 0, deleted: 0 };
  const before = wordsOf(caption);
  for (let seed = 0; seed < 200; seed++) {
    const text = engine.change(caption, seed);
    assert.equal(new EdaEngine().change(caption, seed), text);
    assert.notEqual(text, caption);
    const words = wordsOf(text);
    if (sorted(text) === sorted(caption)) seen.swapped++;
    else if (before.every((word) => words.includes(word))) seen.inserted++;
    else if (words.every((word) => before.includes(word))) seen.deleted++;
    else seen.replaced++;
  }
  for (const [operation, count] of Object.entries(seen)) assert.ok(count >= 25, `${operation}: ${count} of 200`);
});

test("a sentence goes on beginning with a capital and ending with its full stop", () => {
  for (const text of many(caption)) assert.match(text, /^\p{Lu}.*[^\s,]\.$/u);
});

test("captions of one word, of no known word and of nothing come out whole", () => {
  assert.equal(engine.change("dog", 1), "dog");
  assert.equal(engine.change("", 1), "");
  assert.equal(engine.change("...", 1), "...");
  for (const text of many("zzzq qqqz", 20)) assert.equal(sorted(text), "qqqz zzzq");
});

test("two words always remain, as training on a text needs", () => {
  for (const caption of ["Red car", "lady beetle"]) for (const text of many(caption)) assert.ok(text.split(" ").length >= 2, text);
});

test("a replaced word keeps its ending, punctuation and capital", () => {
  assert.ok(many("Bicycles, everywhere!").has("Bikes, everywhere!"));
  assert.ok(many("THE BICYCLES EVERYWHERE").has("THE BIKES EVERYWHERE"));
  assert.ok(many("(two jumping dogs)").has("(two leaping dogs)"));
  assert.ok(many("the child's room").has("the youngster's room"));
  assert.ok(many("the children's room").has("the youngsters' room"));
});

test("articles follow the word that stands behind them now; others are left as they were", () => {
  const texts = many("A car and a airplane");
  assert.ok(texts.has("An auto and a airplane"), [...texts].join(" | "));
  assert.ok(texts.has("A car and a plane"));
  for (const text of many("An orange sofa")) assert.doesNotMatch(text, /\bA [aeiou]|\bAn [^aeiou]/);
});

test("names are not replaced by what they mean in lower case, nor halves of compounds", () => {
  for (const text of many("a photo of Rose and Mark at the fire hydrant"))
    assert.doesNotMatch(text, /rosebush|marker|flame|blaze|pink wine/i);
  assert.ok(
    [...many("A Red Fire Hydrant")].some((text) => text.includes("Fireplug")),
    "all capitals of a title are no names",
  );
});

test("the engine answers every request with its own text and stops when told to", async () => {
  const requests = Array.from({ length: 1500 }, (_, i) => ({
    id: `${i}`,
    source: "eda",
    original: caption,
    caption,
    shortened: i === 3,
    examples: [],
    form: defaultForm,
    seed: i,
  }));
  const groups = async function* (): AsyncGenerator<RewriteGroup> {
    yield requests.slice(0, 1000);
    yield requests.slice(1000);
  };
  const texts: string[] = [];
  for await (const outcome of engine.rewrite(groups(), new AbortController().signal)) {
    assert.ok("text" in outcome && outcome.finish === "none");
    assert.equal(outcome.shortened, outcome.request.id === "3");
    texts.push(outcome.text);
  }
  assert.deepEqual(
    texts,
    requests.map(({ seed }) => engine.change(caption, seed)),
  );
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 0);
  let answered = 0;
  for await (const _ of engine.rewrite(groups(), stop.signal)) answered++;
  assert.ok(answered < 1500, "timers and signals are let through between captions");
});

test("an engine that was closed begins a new thread, and a stopped one leaves nothing behind", async () => {
  const request = { id: "1", source: "eda", original: caption, caption, shortened: false, examples: [], form: defaultForm };
  const groups = async function* (): AsyncGenerator<RewriteGroup> {
    yield Array.from({ length: 2048 }, (_, seed) => ({ ...request, seed }));
  };
  const own = new EdaEngine();
  for (let time = 0; time < 2; time++) {
    let first: string | undefined;
    for await (const outcome of own.rewrite(groups(), new AbortController().signal)) {
      first = "text" in outcome ? outcome.text : undefined;
      break;
    }
    assert.equal(first, engine.change(caption, 0));
    await own.close();
  }
});

test("a thread that was closed refuses what comes later instead of never answering", async () => {
  const thread = new EdaThread({});
  assert.equal((await thread.change([caption], Uint32Array.of(7)))[0], engine.change(caption, 7));
  const under = thread.change([caption, caption], Uint32Array.of(1, 2));
  const refused = assert.rejects(under, /ended/);
  await thread.close();
  await refused;
  await assert.rejects(thread.change([caption], Uint32Array.of(7)), /ended/);
});
