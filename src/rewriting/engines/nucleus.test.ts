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

/** The distribution that the paper's code draws from, by its definition: temperature first, then the smallest set above top-p. */
function temperatureThenTopP(raw: readonly number[], temperature: number, topP: number): number[] {
  const weights = raw.map((logit) => Math.exp(logit / temperature));
  return nucleusOf(weights, topP);
}

/** What llama.cpp's own order would give. */
function topPThenTemperature(raw: readonly number[], temperature: number, topP: number): number[] {
  const inside = nucleusOf(
    raw.map((logit) => Math.exp(logit)),
    topP,
  );
  const weights = raw.map((logit, i) => (inside[i]! > 0 ? Math.exp(logit / temperature) : 0));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

function nucleusOf(weights: readonly number[], topP: number): number[] {
  const total = weights.reduce((a, b) => a + b, 0);
  const order = weights.map((_, i) => i).sort((a, b) => weights[b]! - weights[a]!);
  const kept = new Set<number>();
  let sum = 0;
  for (const token of order) {
    kept.add(token);
    sum += weights[token]!;
    if (sum > topP * total) break;
  }
  return weights.map((weight, i) => (kept.has(i) ? weight / sum : 0));
}

/** Pearson's statistic over the tokens expected at least ten times, in standard normal units (Wilson and Hilferty's approximation). */
function deviation(counts: readonly number[], expected: readonly number[]): number {
  const draws = counts.reduce((a, b) => a + b, 0);
  let [statistic, cells] = [0, 0];
  let [restCount, restExpected] = [0, 0];
  counts.forEach((count, i) => {
    const mean = expected[i]! * draws;
    if (mean === 0 && count > 0) statistic = Infinity;
    if (mean < 10) {
      restCount += count;
      restExpected += mean;
      return;
    }
    statistic += (count - mean) ** 2 / mean;
    cells++;
  });
  if (restExpected >= 10) {
    statistic += (restCount - restExpected) ** 2 / restExpected;
    cells++;
  }
  const freedom = cells - 1;
  return (Math.cbrt(statistic / freedom) - (1 - 2 / (9 * freedom))) / Math.sqrt(2 / (9 * freedom));
}

for (const [what, steepness] of [
  ["whose nucleus has few tokens", 1.4],
  ["whose nucleus has more tokens than are asked for at first", 0.4],
] as const) {
  test(`100,000 draws from a vocabulary ${what} follow temperature, then top-p (chi-square)`, () => {
    const [temperature, topP, vocabulary, draws] = [0.7, 0.9, 2000, 100_000];
    const raw = Array.from({ length: vocabulary }, (_, i) => -steepness * Math.log(i + 1));
    // As llama.cpp gives them: divided by the temperature, the likeliest first, the sum over all of them.
    const scaled = raw.map((logit, i) => [i, logit / temperature] as const);
    const totalWeight = scaled.reduce((sum, [, logit]) => sum + Math.exp(logit - scaled[0]![1]), 0);
    const counts = raw.map(() => 0);
    const random = Random.of("chi-square", steepness);
    for (let i = 0; i < draws; i++) {
      const how = { totalWeight, topP, chance: random.uniform() };
      const token = sampleNucleus(scaled.slice(0, 256), how) ?? sampleNucleus(scaled, how) ?? sampleAll(scaled, how.chance);
      counts[token]!++;
    }
    // Four standard deviations: a right sampler fails once in 30,000 seeds.
    const found = deviation(counts, temperatureThenTopP(raw, temperature, topP));
    assert.ok(Math.abs(found) < 4, `${found} standard deviations from temperature-then-top-p`);
    const other = deviation(counts, topPThenTemperature(raw, temperature, topP));
    assert.ok(other > 10, `only ${other} standard deviations from the other order: the test could not tell them apart`);
  });
}
