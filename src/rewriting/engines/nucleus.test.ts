import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../support/index.ts";
import { sampleAll, sampleNucleus } from "./nucleus.ts";

const probabilities = [0.5, 0.3, 0.15, 0.04, 0.01];
const logits = probabilities.map((p, i) => [i, Math.log(p)] as const);
const totalWeight = 1 / probabilities[0]!;

test("the nucleus is the smallest set above top-p, drawn in proportion", () => {
  const random = Random.of("nucleus");
  const counts = [0, 0, 0, 0, 0];
  const draws = 20_000;
  for (let i = 0; i < draws; i++) counts[sampleNucleus(logits, { totalWeight, topP: 0.9, chance: random.uniform() })!]!++;
  assert.deepEqual(counts.slice(3), [0, 0]);
  probabilities
    .slice(0, 3)
    .forEach((p, i) => assert.ok(Math.abs(counts[i]! / draws - p / 0.95) < 0.015, `token ${i}: ${counts[i]! / draws}`));
});

test("the token that crosses the limit belongs to it, the next does not", () => {
  assert.equal(sampleNucleus(logits, { totalWeight, topP: 0.6, chance: 0.999999 }), 1);
  assert.equal(sampleNucleus(logits, { totalWeight, topP: 0.4, chance: 0.999999 }), 0);
});

test("too few tokens for the nucleus are noticed by the weight of the whole vocabulary", () => {
  assert.equal(sampleNucleus(logits.slice(0, 2), { totalWeight, topP: 0.9, chance: 0.5 }), undefined);
  assert.equal(sampleNucleus(logits.slice(0, 2), { totalWeight, topP: 0.7, chance: 0.99 }), 1);
  assert.equal(sampleAll(logits, 0.9999), 4);
  assert.equal(sampleAll(logits, 0), 0);
});
