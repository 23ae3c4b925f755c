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
