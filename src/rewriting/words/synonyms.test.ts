import assert from "node:assert/strict";
import { test } from "node:test";
import { Synonyms } from "./synonyms.ts";
import { WordNet } from "./wordnet.ts";

const dictionary = new Synonyms();

/** Synonyms of the words that can be replaced: `{ "fire hydrants": ["fireplugs"] }`. */
function replaceable(caption: string): Record<string, readonly string[]> {
  const words = caption.split(" ");
  return Object.fromEntries(
    dictionary.replaceable(words).map(({ at, length, synonyms }) => [words.slice(at, at + length).join(" "), synonyms]),
  );
}

test("WordNet is found by bisection: first and last lemmas, frequent senses first, and words that are not there", () => {
  const wordnet = new WordNet();
  assert.equal(wordnet.senses("'hood").length, 1);
  assert.deepEqual(wordnet.senses("zymosis").at(0)!.words, ["zymosis", "zymolysis", "fermentation", "fermenting", "ferment"]);
  const dog = wordnet.senses("dog");
  assert.deepEqual(dog[0]!.words, ["dog", "domestic_dog", "Canis_familiaris"]);
  assert.deepEqual([dog[0]!.part, dog[0]!.topic, dog.filter(({ part }) => part === "verb").length], ["noun", 5, 1]);
  assert.ok(wordnet.continuations("fire").has("hydrant") && wordnet.continuations("living").has("room"));
  assert.equal(wordnet.continuations("zymosis").size, 0);
  for (const none of ["zzzzz", "aaaaaa", "qwertyu", "dogg", "~", "!"]) assert.deepEqual(wordnet.senses(none), []);
});

test("slang, archaisms and slurs that WordNet marks are left out", () => {
  const words = new WordNet().senses("corpse").flatMap((sense) => sense.words);
  assert.ok(words.includes("cadaver") && !words.includes("stiff"));
});

test("synonyms have the ending of the word that they replace", () => {
  const two = replaceable("two dogs jumping over bicycles");
  assert.deepEqual(two["dogs"], ["domestic dogs"]);
  assert.ok(two["jumping"]!.includes("leaping") && two["bicycles"]!.includes("bikes"));
  assert.ok(replaceable("the bigger sofa")["bigger"]!.includes("larger"));
  assert.ok(replaceable("the biggest sofa")["biggest"]!.includes("largest"));
  assert.ok(replaceable("cities at night")["cities"]!.includes("metropolises"));
  assert.ok(replaceable("a man who began a meal")["began"]!.includes("commenced"));
  assert.ok(replaceable("three children")["children"]!.includes("youngsters"));
});

test("the meaning is that of the place in which a word stands", () => {
  const building = (caption: string): readonly string[] => replaceable(caption)["building"] ?? [];
  assert.ok(building("a tall building").includes("edifice"));
  assert.ok(building("a man building a house").includes("constructing"));
  assert.ok(!building("a man building a house").includes("edifice"));
  assert.ok(!(replaceable("a teddy bear")["bear"] ?? []).includes("endure"));
  assert.deepEqual(replaceable("a bat and a trick")["trick"], ["fast one"]);
  assert.equal(replaceable("in front of a lot of next")["front"], undefined);
});

test("words that the dictionary has as one are replaced as one", () => {
  assert.deepEqual(replaceable("two fire hydrants"), { "fire hydrants": ["fireplugs"] });
  assert.ok(!replaceable("a living room")["living room"]!.includes("living-room"), "the same in another spelling");
  assert.ok(!("white horse" in replaceable("a white horse running")), "WordNet's is a wave");
});
