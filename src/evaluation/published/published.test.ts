import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { EvaluationResult } from "../results/result.ts";
import { protocolDifferences, publishedModel, publishedModels, publishedNumber } from "./published.ts";

const result: EvaluationResult = {
  dataset: "imagenet1k",
  model: "mine",
  pretrained: "",
  task: "zeroshot_classification",
  metrics: { acc1: 0.5, mean_per_class_recall: 0.4 },
  language: "en",
  laclip: {
    version: "0",
    created: "",
    protocol: { templates: 80, normalisation: "imagenet", interpolation: "bilinear" },
    mainMetric: "acc1",
    counts: {},
    skipped: { count: 0, reasons: [] },
  },
};

describe("published numbers", () => {
  test("the rows of 15 data sets have the means that are remembered with them", () => {
    const means: Record<string, number> = {
      "clip-cc3m-vit-b-16": 20.6,
      "laclip-cc3m-vit-b-16": 24.6,
      "clip-cc12m-vit-b-16": 38.8,
      "laclip-cc12m-vit-b-16": 46.2,
      "laslip-cc12m-vit-b-16": 46.1,
      "clip-redcaps-vit-b-16": 42.6,
      "laclip-redcaps-vit-b-16": 45.0,
      "clip-laion400m-vit-b-32": 65.5,
    };
    for (const [name, mean] of Object.entries(means)) {
      const row = publishedModel(name).numbers.filter(({ dataset }) => dataset !== "imagenet1k");
      assert.equal(row.length, 15, name);
      assert.ok(Math.abs((100 * row.reduce((sum, { value }) => sum + value, 0)) / 15 - mean) < 0.051, name);
      assert.ok(
        row.every(
          ({ mark, metric, dataset }) => mark === "remembered" && (metric === "acc1" || /aircraft|pets|caltech|flowers/.test(dataset)),
        ),
      );
    }
    assert.equal(new Set(publishedModels.map(({ name }) => name)).size, publishedModels.length);
  });

  test("only what was read where it was published is called verified", () => {
    const verified = publishedModels.flatMap(({ name, numbers }) =>
      numbers.filter(({ mark }) => mark === "verified").map((one) => ({ name, ...one })),
    );
    assert.equal(verified.length, 12);
    assert.ok(verified.every(({ dataset, source }) => dataset === "imagenet1k" && source.startsWith("README")));
    assert.throws(() => publishedModel("laclip-cc12-vit-b-16"), /laclip-cc12-vit-b-16[^]*/);
  });

  test("a result finds its number, also under CLIP_benchmark's names, and is told where its protocol differs", () => {
    const laclip = publishedModel("laclip-cc12m-vit-b-16");
    const number = publishedNumber(laclip, result)!;
    assert.equal(number.value, 0.484);
    assert.deepEqual(protocolDifferences(result, number), ["templates 80, published with 7"]);
    assert.equal(publishedNumber(laclip, { ...result, task: "linear_probe" }), undefined);
    assert.equal(publishedNumber(laclip, { ...result, dataset: "wds/vtab-pets" })!.metric, "mean_per_class_recall");
    const { laclip: own, ...foreign } = result;
    assert.match(protocolDifferences(foreign, number)[0]!, /does not say/);
    const skipping = { ...result, laclip: { ...own!, protocol: { templates: 7 }, skipped: { count: 3, reasons: [] } } };
    assert.deepEqual(protocolDifferences(skipping, number), ["3 images left out"], "what is not said is not counted as different");
    const prompted = {
      ...result,
      laclip: { ...own!, protocol: { templates: 7, words: "own" }, problems: ["3 classes, expected 10.", "x"] },
    };
    assert.deepEqual(protocolDifferences(prompted, number), [
      "names or prompts of one's own",
      "an incomplete copy: 3 classes, expected 10, and 1 more",
    ]);
  });
});
