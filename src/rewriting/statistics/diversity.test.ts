import assert from "node:assert/strict";
import { test } from "node:test";
import { bleu, distinct, selfBleu } from "./diversity.ts";

const words = (text: string): string[] => text.split(" ");
const near = (value: number | undefined, expected: number): void =>
  assert.ok(Math.abs(value! - expected) < 1e-4, `${value}, expected ${expected}`);

test("distinct counts different n-grams among all", () => {
  const texts = ["a dog and a cat", "a dog"].map(words);
  near(distinct(texts, 1), 4 / 7);
  near(distinct(texts, 2), 4 / 5);
  assert.equal(distinct([["dog"]], 2), 0);
});

test("BLEU is 1 for a copy, and the geometric mean of matches otherwise", () => {
  near(bleu(words("a dog on the grass"), [words("a dog on the grass"), words("a cat")]), 1);
  // 5 of 6 words, 3 of 5 pairs, 1 of 4 triples, no quadruple.
  near(bleu(words("the cat sat on the mat"), [words("the cat is on the mat")]), ((5 / 6) * (3 / 5) * (1 / 4) * (0.1 / 3)) ** 0.25);
  // A word counts as often as one reference has it.
  near(bleu(words("the the"), [words("the cat")]), (0.5 * 0.1) ** 0.5);
  // Shorter than the closest reference.
  near(bleu(words("a dog"), [words("a dog barks"), words("a dog barks all night")]), Math.exp(1 - 3 / 2));
  assert.equal(bleu(words("a dog"), []), undefined);
});

test("self-BLEU is the mean of each text's BLEU against all others", () => {
  const vocabulary = words("a the dog cat on grass sofa red blue runs sleeps");
  let state = 1;
  const next = (count: number): number => (state = (state * 48_271) % 2_147_483_647) % count;
  const texts = Array.from({ length: 40 }, () => Array.from({ length: 1 + next(9) }, () => vocabulary[next(vocabulary.length)]!));
  const slow = texts.map((text, i) => bleu(text, [...texts.slice(0, i), ...texts.slice(i + 1)])!);
  near(selfBleu(texts), slow.reduce((a, b) => a + b, 0) / slow.length);
  near(selfBleu([words("a dog"), words("a dog")]), 1);
  assert.equal(selfBleu([words("a dog")]), undefined);
});
