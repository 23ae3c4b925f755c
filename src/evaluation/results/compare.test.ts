import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { compareResults } from "./compare.ts";
import { type ClassifiedItem, writeClassifiedItems, writeItemValues } from "./outcomes.ts";
import { type EvaluationResult, type StoredResult, readResults, writeResult } from "./result.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-compare-"));
after(() => rmSync(folder, { recursive: true }));

/** A model's result on a data set: `right` says for each image, by its name, whether it is right. */
async function stored(
  model: string,
  dataset: string,
  right: Record<string, boolean>,
  labels = (i: number): number => i % 3,
): Promise<StoredResult> {
  const bare: EvaluationResult = { dataset, model, pretrained: "", task: "zeroshot_classification", metrics: {}, language: "en" };
  const items = Object.entries(right).map(([item, good], i): ClassifiedItem => {
    const label = labels(i);
    return { item, label, rank: 1, guesses: [good ? label : (label + 1) % 3], scores: [0.1], confidence: 0.5, probability: 0.5 };
  });
  const perItem = await writeClassifiedItems(folder, bare, items);
  const laclip = { version: "0", created: "", protocol: {}, mainMetric: "acc1", counts: {}, skipped: { count: 0, reasons: [] }, perItem };
  const path = writeResult(folder, { ...bare, laclip });
  return readResults([path])[0]!;
}

const names = Array.from({ length: 60 }, (_, i) => `${i}.png`);
const rightWhen = (rule: (i: number) => boolean): Record<string, boolean> => Object.fromEntries(names.map((name, i) => [name, rule(i)]));

describe("compare", () => {
  test("images are joined by name, those of one model alone are left out, and p is raised for two data sets", async () => {
    const a = [
      await stored(
        "a",
        "one",
        rightWhen((i) => i % 2 === 0),
      ),
      await stored(
        "a",
        "two",
        rightWhen((i) => i % 2 === 0),
      ),
    ];
    const shuffled = Object.fromEntries(
      Object.entries(rightWhen((i) => i % 2 === 0 || i < 24))
        .toReversed()
        .slice(0, 59),
    );
    const b = [
      await stored("b", "one", shuffled, (i) => (59 - i) % 3),
      await stored(
        "b",
        "two",
        rightWhen((i) => i % 2 === 0),
      ),
    ];
    const { comparisons, impossible } = await compareResults(a, b, { resamples: 200 });
    assert.deepEqual(impossible, []);
    const [one, two] = comparisons;
    assert.deepEqual([one!.items, one!.unmatched, one!.onlyFirst, one!.onlySecond], [59, 1, 0, 12]);
    assert.ok(Math.abs(one!.p - 2 * 0.5 ** 12) < 1e-12);
    assert.equal(one!.adjustedP, 2 * one!.p);
    assert.deepEqual([two!.p, two!.adjustedP, two!.difference.value], [1, 1, 0]);
    const perClass = (await compareResults(a.slice(0, 1), b, { resamples: 200, metric: "mean_per_class_recall" })).comparisons[0]!;
    assert.equal(perClass.test, "paired-bootstrap");
  });

  test("what was measured in different ways is said, but for how each model's images are prepared", async () => {
    const one = await stored(
      "p",
      "six",
      rightWhen((i) => i % 2 === 0),
    );
    const changed = (stored: StoredResult, more: object): StoredResult => ({
      ...stored,
      result: { ...stored.result, laclip: { ...stored.result.laclip!, ...more } },
    });
    const first = changed(one, {
      protocol: { templates: 7, prompts: "a", normalisation: "imagenet", description: "x", maximumSkipped: 0 },
    });
    const other = { protocol: { templates: 80, prompts: "b", normalisation: "openai", description: "y", maximumSkipped: 1 } };
    const found = await compareResults([first], [changed(one, { ...other, skipped: { count: 1, reasons: [] } })], { resamples: 20 });
    assert.deepEqual(found.comparisons[0]!.differences, ["templates 7 and 80", "other names or prompts", "0 and 1 images left out"]);
    const same = await compareResults([first], [first], { resamples: 20 });
    assert.deepEqual(same.comparisons[0]!.differences, []);
  });

  test("what can't be compared says why, and nothing at all is an error", async () => {
    const a = await stored(
      "c",
      "three",
      rightWhen(() => true),
    );
    const relabelled = await stored(
      "d",
      "three",
      rightWhen(() => true),
      (i) => (i + 1) % 3,
    );
    await assert.rejects(compareResults([a], []), /three, zeroshot_classification: 0 results/);
    await assert.rejects(compareResults([a], [relabelled], { metric: "mean_per_class_recall" }), /60 items have another class/);
    await assert.rejects(compareResults([a], [relabelled], { metric: "image_retrieval_recall@5" }), /no outcome of each item/);
    const other = await stored("e", "three", { "elsewhere/1.png": true });
    await assert.rejects(compareResults([a], [other]), /no item is in both \(0\.png/);
  });

  test("episodes are compared only where they are the same", async () => {
    const episodes = async (model: string, seed: number, dataHash = "images"): Promise<StoredResult> => {
      const bare = { dataset: "four", model, pretrained: "", task: "few_shot_classification", metrics: {}, language: "en" };
      const items = Array.from({ length: 20 }, (_, i) => `episode ${i}`);
      const perItem = await writeItemValues(folder, bare, { items, values: { acc1: items.map((_, i) => ((i * 7 + seed) % 10) / 10) } });
      const laclip = {
        version: "0",
        created: "",
        protocol: { ways: 5 },
        mainMetric: "acc1",
        counts: {},
        skipped: { count: 0, reasons: [] },
      };
      return readResults([writeResult(folder, { ...bare, laclip: { ...laclip, seed: 1 + (seed > 5 ? 1 : 0), dataHash, perItem } })])[0]!;
    };
    const [a, b, elsewhere] = [await episodes("f", 1), await episodes("g", 2), await episodes("h", 9)];
    const [same] = (await compareResults([a], [b])).comparisons;
    assert.deepEqual([same!.items, same!.test, same!.onlyFirst], [20, "paired-bootstrap", undefined]);
    await assert.rejects(compareResults([a], [elsewhere]), /the episodes differ/);
    const ofOthers = await episodes("i", 3, "other images of these classes");
    await assert.rejects(compareResults([a], [ofOthers]), /the episodes differ/, "their numbers say nothing of which images they are of");
  });
});
