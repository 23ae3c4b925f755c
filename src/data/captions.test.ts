import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseCaption } from "./captions.ts";
import type { Sample } from "./sample.ts";

const sample = (id: string, ...rewrites: string[]): Sample => ({
  id,
  image: "/x.jpg",
  captions: [{ source: "original", text: "a brown dog" }, ...rewrites.map((text, i) => ({ source: `s${i}`, text }))],
});

test("original and rewrites are drawn with the same chance", () => {
  const counts = new Map<string, number>();
  for (let i = 0; i < 10_000; i++) {
    const { source } = chooseCaption(sample(`id${i}`, "r one", "r two", "r three", "r four"), { seed: 1, epoch: 0, choose: "uniform" });
    counts.set(source, (counts.get(source) ?? 0) + 1);
  }
  // Five equal chances: 2000 expected, standard deviation 40.
  assert.equal(counts.size, 5);
  for (const count of counts.values()) assert.ok(Math.abs(count - 2000) < 200, String([...counts]));
});

test("weighed rewrites are drawn in proportion to their weights, the original as 1", () => {
  const [original, ...rewrites] = sample("", "r one", "r two", "r three").captions;
  const weights = [0.5, 0.25, 1];
  const counts = new Map<string, number>();
  for (let i = 0; i < 20_000; i++) {
    const one: Sample = {
      id: `id${i}`,
      image: "/x.jpg",
      captions: [original!, ...rewrites.map((text, k) => ({ ...text, weight: weights[k]! }))],
    };
    const { source } = chooseCaption(one, { seed: 1, epoch: 0, choose: "uniform" });
    counts.set(source, (counts.get(source) ?? 0) + 1);
  }
  const expected: Record<string, number> = { original: 1, s0: 0.5, s1: 0.25, s2: 1 };
  let chiSquare = 0;
  for (const [source, weight] of Object.entries(expected)) {
    const mean = (20_000 * weight) / 2.75;
    chiSquare += ((counts.get(source) ?? 0) - mean) ** 2 / mean;
  }
  // Three degrees of freedom: 1 in 10,000 lies above 21.1; the draws are fixed by the seed.
  assert.ok(chiSquare < 21.1, `${chiSquare}: ${String([...counts])}`);
});

test("where all weights are 1, the draw is the one without weights", () => {
  for (let epoch = 0; epoch < 200; epoch++) {
    const one = sample("a", "b c", "d e", "f g");
    const weighed: Sample = { ...one, captions: one.captions.map((caption) => ({ ...caption, weight: 1 })) };
    const options = { seed: 7, epoch, choose: "uniform" } as const;
    assert.equal(chooseCaption(weighed, options).source, chooseCaption(one, options).source);
  }
});

test("texts of fewer than two words give way to the original", () => {
  for (let epoch = 0; epoch < 50; epoch++) {
    const chosen = chooseCaption(sample("a", "dog", "", "  dog  ", "..."), { seed: 1, epoch, choose: "uniform" });
    assert.equal(chosen.source, "original");
  }
});

test("a choice depends on seed, epoch and id alone", () => {
  const one = sample("a", "b c", "d e", "f g");
  const choices = (seed: number): string => {
    const drawn = Array.from({ length: 30 }, (_, epoch) => chooseCaption(one, { seed, epoch, choose: "uniform" }).source);
    return drawn.join();
  };
  assert.equal(choices(1), choices(1));
  assert.notEqual(choices(1), choices(2));
  assert.ok(new Set(choices(1).split(",")).size === 4);
});

test("plain CLIP takes the original always; a single-word original is kept", () => {
  for (let epoch = 0; epoch < 20; epoch++) {
    assert.equal(chooseCaption(sample("a", "b c"), { seed: 1, epoch, choose: "original" }).source, "original");
  }
  const only: Sample = { id: "x", image: "/x", captions: [{ source: "original", text: "dog" }] };
  assert.equal(chooseCaption(only, { seed: 1, epoch: 0, choose: "uniform" }).text, "dog");
});
