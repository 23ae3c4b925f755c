import assert from "node:assert/strict";
import { test } from "node:test";
import { type CaptionRules, type ChooseCaptionOptions, checkCaptionRules, chooseCaptions } from "./captions.ts";
import type { Caption, Sample } from "./sample.ts";

const sample = (id: string, ...rewrites: string[]): Sample => ({
  id,
  image: "/x.jpg",
  captions: [{ source: "original", text: "a brown dog" }, ...rewrites.map((text, i) => ({ source: `s${i}`, text }))],
});

const chooseCaption = (of: Sample, options: ChooseCaptionOptions): Caption => chooseCaptions(of, options)[0]!;

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

const shares = (
  one: (i: number) => Sample,
  options: Omit<ChooseCaptionOptions, "seed" | "epoch" | "choose">,
  epoch = 0,
  draws = 12_000,
) => {
  const counts: Record<string, number> = {};
  for (let i = 0; i < draws; i++) {
    const { source } = chooseCaption(one(i), { seed: 3, epoch, choose: "weighted", ...options });
    counts[source] = (counts[source] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counts).map(([source, count]) => [source, count / draws]));
};
const near = (found: Record<string, number>, expected: Record<string, number>): void => {
  assert.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort());
  for (const [source, share] of Object.entries(expected)) assert.ok(Math.abs(found[source]! - share) < 0.02, JSON.stringify(found));
};

test("sources are drawn by their weights, which may change with the epochs; texts of one source share its weight", () => {
  const full = (i: number): Sample => sample(`id${i}`, "r one", "r two");
  near(shares(full, { weights: { original: 1, s0: 3 } }), { original: 0.25, s0: 0.75 });
  const schedule: CaptionRules["weights"] = [
    { fromEpoch: 0, weights: { original: 1 } },
    { fromEpoch: 5, weights: { original: 1, s1: 1 } },
  ];
  near(shares(full, { weights: schedule }, 4, 500), { original: 1 });
  near(shares(full, { weights: schedule }, 5), { original: 0.5, s1: 0.5 });
  const twice = (i: number): Sample => {
    const one = full(i);
    return { ...one, captions: [...one.captions, { source: "s0", text: "another one", weight: 0.5 }] };
  };
  near(shares(twice, { weights: { original: 1, s0: 1 } }), { original: 0.5, s0: 0.5 });
  const texts = Array.from(
    { length: 6000 },
    (_, i) => chooseCaption(twice(i), { seed: 1, epoch: 0, choose: "weighted", weights: { s0: 1 } }).text,
  );
  const first = texts.filter((text) => text === "r one").length / texts.length;
  assert.ok(Math.abs(first - 2 / 3) < 0.03, String(first));
});

test("a source that a sample lacks leaves its share to the others, or to the fall-back chain", () => {
  const without = (i: number): Sample => ({
    ...sample(`id${i}`),
    captions: [
      { source: "original", text: "a brown dog" },
      { source: "human", text: "some dog" },
    ],
  });
  near(shares(without, { weights: { original: 1, bard: 2, human: 1 } }), { original: 0.5, human: 0.5 });
  near(shares(without, { weights: { original: 1, bard: 2, human: 1 }, fallback: ["chatgpt", "human"] }), { original: 0.25, human: 0.75 });
  near(shares(without, { weights: { bard: 1 } }, 0, 200), { original: 1 });
  near(shares(without, { weights: { bard: 1, human: 0 } }, 0, 200), { human: 1 });
});

test("several texts of one image differ as far as there are so many", () => {
  const one = sample("a", "r one", "r two", "r three");
  for (let epoch = 0; epoch < 50; epoch++) {
    const options = { seed: 2, epoch, choose: "uniform" } as const;
    const drawn = chooseCaptions(one, { ...options, textsPerImage: 3 });
    assert.equal(new Set(drawn.map(({ text }) => text)).size, 3);
    assert.equal(drawn[0]!.text, chooseCaption(one, options).text, "the first is the one that a single text would be");
    const all = chooseCaptions(one, { ...options, textsPerImage: 6, alwaysOriginal: true });
    assert.equal(all[0]!.source, "original");
    assert.equal(new Set(all.slice(0, 4).map(({ text }) => text)).size, 4);
    assert.equal(all.length, 6);
  }
  assert.equal(chooseCaptions(sample("b"), { seed: 1, epoch: 0, choose: "uniform", textsPerImage: 2 }).length, 2);
});

test("weights that say nothing are refused", () => {
  const refused: [CaptionRules, RegExp][] = [
    [{}, /no weights were given/],
    [{ weights: { original: 0 } }, /one of them above 0/],
    [{ weights: { original: -1, s: 2 } }, /at least 0/],
    [{ weights: [{ fromEpoch: 1, weights: { original: 1 } }] }, /begin with 0/],
    [{ weights: { original: 1 }, textsPerImage: 0 }, /at least 1/],
  ];
  for (const [rules, reason] of refused) assert.throws(() => checkCaptionRules("weighted", rules), reason);
  checkCaptionRules("weighted", { weights: { original: 1 } });
  checkCaptionRules("uniform", {});
});
