import assert from "node:assert/strict";
import { test } from "node:test";
import { articleBefore, baseForms, inflect } from "./morphology.ts";
import type { Form } from "./morphology.ts";
import type { PartOfSpeech } from "./wordnet.ts";

const table: readonly (readonly [lemma: string, part: PartOfSpeech, form: Form, word: string])[] = [
  ["dog", "noun", "plural", "dogs"],
  ["city", "noun", "plural", "cities"],
  ["wife", "noun", "plural", "wives"],
  ["woman", "noun", "plural", "women"],
  ["child", "noun", "plural", "children"],
  ["mouse", "noun", "plural", "mice"],
  ["sheep", "noun", "plural", "sheep"],
  ["potato", "noun", "plural", "potatoes"],
  ["fire engine", "noun", "plural", "fire engines"],
  ["loaf of bread", "noun", "plural", "loaves of bread"],
  ["walk", "verb", "third", "walks"],
  ["watch", "verb", "third", "watches"],
  ["carry", "verb", "third", "carries"],
  ["play", "verb", "third", "plays"],
  ["go", "verb", "third", "goes"],
  ["run", "verb", "ing", "running"],
  ["ride", "verb", "ing", "riding"],
  ["lie", "verb", "ing", "lying"],
  ["see", "verb", "ing", "seeing"],
  ["open", "verb", "ing", "opening"],
  ["begin", "verb", "ing", "beginning"],
  ["prefer", "verb", "ing", "preferring"],
  ["visit", "verb", "ing", "visiting"],
  ["quit", "verb", "ing", "quitting"],
  ["eat", "verb", "past", "ate"],
  ["eat", "verb", "participle", "eaten"],
  ["sit", "verb", "ed", "sat"],
  ["stop", "verb", "ed", "stopped"],
  ["carry", "verb", "ed", "carried"],
  ["park", "verb", "ed", "parked"],
  ["panic", "verb", "ed", "panicked"],
  ["pick up", "verb", "ed", "picked up"],
  ["big", "adj", "comparative", "bigger"],
  ["nice", "adj", "comparative", "nicer"],
  ["happy", "adj", "superlative", "happiest"],
  ["good", "adj", "comparative", "better"],
  ["new", "adj", "superlative", "newest"],
  ["colorful", "adj", "comparative", "more colorful"],
];

test("endings are put on", () => {
  for (const [lemma, part, form, word] of table) assert.equal(inflect(lemma, part, form), word);
});

test("and taken off: the base form is among those that a word may come from", () => {
  for (const [lemma, part, form, word] of table) {
    if (word.includes(" ") && word !== "fire engines") continue;
    const found = baseForms(word).some((base) => base.lemma === lemma && base.part === part && (base.form === form || lemma === word));
    assert.ok(found, `${word}: ${JSON.stringify(baseForms(word))}`);
  }
  assert.ok(baseForms("ran").some(({ lemma, form }) => lemma === "run" && form === "past"));
  assert.ok(
    baseForms("travelling").some(({ lemma }) => lemma === "travel"),
    "the British spelling too",
  );
});

test("articles go by sound", () => {
  const an = ["apple", "hour", "umbrella", "usher", "8-year-old", "11th", "18", "SUV", "X-ray", "unimportant", "LED", "onion"];
  const a = ["dog", "unicorn", "uniform", "used", "European", "one-way", "ukulele", "TV", "UFO", "110", "T-shirt", "yacht", "house"];
  for (const word of an) assert.equal(articleBefore(word), "an", word);
  for (const word of a) assert.equal(articleBefore(word), "a", word);
});
