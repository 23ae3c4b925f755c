import assert from "node:assert/strict";
import { test } from "node:test";
import { EdaEngine } from "./eda.ts";
import { WordNet } from "./wordnet.ts";

const caption = "A young woman riding old bicycles through the crowded streets, smiling.";
const engine = new EdaEngine();
const sorted = (text: string): string[] => text.split(" ").sort((a, b) => (a < b ? -1 : 1));

test("the same seed gives the same text, and each of the four operations happens", () => {
  const seen = { replaced: 0, inserted: 0, swapped: 0, deleted: 0 };
  const before = caption.split(" ").length;
  for (let seed = 0; seed < 200; seed++) {
    const text = engine.change(caption, seed);
    assert.equal(new EdaEngine().change(caption, seed), text);
    assert.notEqual(text, caption);
    const same = JSON.stringify(sorted(text)) === JSON.stringify(sorted(caption));
    const kept = caption.split(" ").filter((word) => text.split(" ").includes(word)).length;
    if (same) seen.swapped++;
    else if (kept === before) seen.inserted++;
    else if (text.split(" ").every((word) => caption.split(" ").includes(word))) seen.deleted++;
    else seen.replaced++;
  }
  for (const [operation, count] of Object.entries(seen)) assert.ok(count >= 30, `${operation}: ${count} of 200`);
});

test("captions of one word, of no known word and of nothing come out whole", () => {
  assert.equal(engine.change("dog", 1), "dog");
  assert.equal(engine.change("", 1), "");
  for (let seed = 0; seed < 20; seed++)
    assert.deepEqual(
      sorted(engine.change("zzzq qqqz", seed)).filter((word) => !["zzzq", "qqqz"].includes(word)),
      [],
    );
});

test("a replaced word keeps its punctuation and capital", () => {
  const texts = Array.from({ length: 100 }, (_, seed) => engine.change("Bicycles, everywhere!", seed));
  assert.ok(texts.includes("Bikes, everywhere!"), texts.join(" | "));
});

test("WordNet is found by bisection: first and last words, inflected words, and words that are not there", () => {
  const wordnet = new WordNet();
  assert.ok(wordnet.synonyms("car").includes("automobile"));
  assert.ok(wordnet.synonyms("cars").includes("automobiles"));
  assert.ok(wordnet.synonyms("watches").includes("observes"));
  assert.ok(wordnet.synonyms("running").includes("scarpering"));
  assert.ok(wordnet.synonyms("sprinted").length === 0 || !wordnet.synonyms("sprinted").includes("sprinted"));
  assert.ok(wordnet.synonyms("cities").includes("metropolises"));
  assert.ok(wordnet.synonyms("quickly").includes("rapidly"));
  assert.ok(wordnet.synonyms("zymosis").includes("fermentation"));
  for (const none of ["zzzzz", "aaaaaa", "qwertyu"]) assert.deepEqual(wordnet.synonyms(none), []);
});
