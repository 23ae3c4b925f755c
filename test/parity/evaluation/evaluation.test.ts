/**
 * Scores on fixed features against Python: scikit-learn for the linear probe, definitions written down one query after another for the
 * rest (make-fixtures.py beside this file).
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  ClassScorer,
  type EpisodeClassifier,
  LinearClassifier,
  LogisticRegression,
  classificationMetrics,
  episodeScores,
  retrieval,
} from "../../../src/evaluation/index.ts";
import { readNpy } from "../../../src/formats/index.ts";
import { unitRows } from "../../../src/nn/index.ts";
import { Tensor, cat, scope } from "../../../src/torch/index.ts";

interface Facts {
  probe: { rows: number; classes: number; cases: { strength: number; standardise: boolean; objective: number; predictions: string }[] };
  zeroShot: {
    names: number[];
    templates: number;
    labels: number[];
    ranked: number[][];
    ranks: number[];
    acc1: number;
    acc5: number;
    mean_per_class_recall: number;
  };
  fewShot: { ways: number; cases: { settings: EpisodeClassifier; predicted: string }[] };
  retrieval: { owners: number[]; ofImages: number[]; ofTexts: number[]; metrics: Record<string, number> };
}

const folder = fileURLToPath(new URL("../../../../test/parity/evaluation/", import.meta.url));
const facts = JSON.parse(readFileSync(`${folder}fixtures.json`, "utf8")) as Facts;

function stored(name: string): Tensor {
  const { data, shape } = readNpy(`${folder}${name}.npy`);
  return Tensor.from(data, shape);
}

describe("the linear probe, as scikit-learn fits it", () => {
  const { rows, classes, cases } = facts.probe;
  const all = stored("probe-features");
  const labels = readNpy(`${folder}probe-labels.npy`).data as Int32Array;

  for (const standardise of [false, true]) {
    test(`objective and predictions over the range of C${standardise ? ", features standardised" : ""}`, async () => {
      const features = all.slice(0, 0, rows);
      const regression = new LogisticRegression({ features, labels: labels.subarray(0, rows) }, classes, { standardise });
      let from: Tensor | undefined;
      for (const { strength, objective, predictions } of cases.filter((one) => one.standardise === standardise)) {
        // Once from zeros and once from the last strength's weights, as a sweep does it.
        for (const start of [undefined, from]) {
          const fit = await regression.fit(strength, start);
          const what = `C = ${strength}`;
          assert.ok(fit.converged, what);
          assert.ok(Math.abs(fit.objective - objective) <= 1e-4 * objective, `${what}: ${fit.objective}, expected ${objective}`);
          const classifier = LinearClassifier.fromScaled(fit.parameters, regression.scaling);
          const ours = scope(() => classifier.logits(all).argmax(1).toArray());
          classifier.dispose();
          const same = ours.filter((label, row) => String(label) === predictions[row]).length / ours.length;
          assert.ok(same >= 0.999, `${what}: ${(100 * same).toFixed(2)} % of ${ours.length} predictions are the same`);
          if (start === from) {
            from?.dispose();
            from = fit.parameters;
          } else fit.parameters.dispose();
        }
      }
      regression.dispose();
    });
  }
});

test("zero-shot: ranks, the best five and all three scores", () => {
  const { names, templates, labels, ranked, ranks, ...scores } = facts.zeroShot;
  const texts = unitRows(stored("zero-shot-texts"));
  let at = 0;
  const vectors = names.map((count) => unitRows(texts.slice(0, at, (at += count * templates)).mean(0, true)));
  const classes = { names: names.map((_, i) => [`class ${i}`]), templates: ["{}"] };
  const scorer = new ClassScorer(cat(vectors), classes, 100);
  const predictions = scorer.score(stored("zero-shot-images"), Int32Array.from(labels), String);
  assert.deepEqual(
    predictions.map(({ top }) => top.map(({ label }) => label)),
    ranked,
  );
  assert.deepEqual(
    predictions.map(({ rank }) => rank),
    ranks,
  );
  const metrics = classificationMetrics(
    predictions.map(({ label, top }) => ({ label, ranked: top.map((one) => one.label) })),
    names.length,
  );
  for (const [name, value] of Object.entries(scores)) assert.ok(Math.abs(metrics[name as "acc1"] - value) < 1e-12, name);
});

test("episodes: the nearest class mean and votes of neighbours", () => {
  const [support, query] = [stored("few-shot-support"), stored("few-shot-query")];
  for (const { settings, predicted } of facts.fewShot.cases) {
    const ours = episodeScores(support, query, facts.fewShot.ways, settings).argmax(2).toArray().join("");
    assert.equal(ours, predicted, JSON.stringify(settings));
  }
});

test("retrieval: ranks both ways, with images of several texts and of none, copies and ties; blocks change nothing", async () => {
  const { owners, ofImages, ofTexts, metrics } = facts.retrieval;
  const [images, texts] = [stored("retrieval-images"), stored("retrieval-texts")];
  for (const blocks of [{}, { images: 7, texts: 11 }, { images: 1, texts: 1000 }]) {
    const found = await retrieval(images, texts, Int32Array.from(owners), blocks);
    assert.deepEqual([...found.ranks.ofImages], ofImages);
    assert.deepEqual([...found.ranks.ofTexts], ofTexts);
    for (const [name, value] of Object.entries(metrics)) assert.ok(Math.abs(found.metrics[name]! - value) < 1e-12, name);
  }
});
