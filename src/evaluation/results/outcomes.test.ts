import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { calibration } from "./calibration.ts";
import { classScores, confusedPairs, confusionMatrix } from "./confusion.ts";
import { itemName, itemsHash } from "./items-hash.ts";
import { type ClassifiedItem, readClassifiedItems, readOutcomes, writeClassifiedItems, writeItemValues } from "./outcomes.ts";
import { type EvaluationResult, readResult, writeResult } from "./result.ts";

const bare: EvaluationResult = { dataset: "d", model: "m", pretrained: "", task: "t", metrics: {}, language: "en" };
const details = { version: "0", created: "", protocol: {}, mainMetric: "acc1", counts: {}, skipped: { count: 0, reasons: [] } };

function item(name: string, label: number, guesses: number[], confidence = 0.5): ClassifiedItem {
  const rank = guesses.includes(label) ? guesses.indexOf(label) + 1 : 9;
  return { item: name, label, rank, guesses, scores: guesses.map((_, i) => 0.3 - i / 10), confidence, probability: 0.25 };
}

const items = [
  item("cat/1.png", 0, [0, 1, 2], 0.9),
  item("cat/2.png", 0, [1, 0, 2], 0.7),
  item("dog/1.png", 1, [1, 0, 2], 0.75),
  item("dog/2.png", 1, [0, 2, 1], 0.2),
  item("emu/1.png", 2, [1, 0, 2], 0.1),
];

describe("outcomes", () => {
  const folder = mkdtempSync(join(tmpdir(), "laclip-outcomes-"));
  after(() => rmSync(folder, { recursive: true }));

  test("predictions come back as they were, and only with the result they belong to", async () => {
    const perItem = await writeClassifiedItems(folder, bare, items);
    const path = writeResult(folder, { ...bare, laclip: { ...details, perItem } });
    const stored = { path, result: readResult(path) };
    assert.deepEqual(await readClassifiedItems(stored), items);
    assert.deepEqual(await readOutcomes(stored, "acc1"), { items: items.map((one) => one.item), values: [1, 0, 1, 0, 0] });
    assert.deepEqual((await readOutcomes(stored, "lp_mean_per_class_recall"))!.classes, [0, 0, 1, 1, 2]);
    assert.equal(await readOutcomes(stored, "image_retrieval_recall@5"), undefined);
    assert.equal(await readClassifiedItems({ path, result: bare }), undefined);
    appendFileSync(join(folder, perItem.file), "x");
    await assert.rejects(readClassifiedItems(stored), /another file than/);
    rmSync(join(folder, perItem.file));
    await assert.rejects(readClassifiedItems(stored), /no such file/);
  });

  test("values of queries keep to the metric they belong to", async () => {
    const values = { "image_retrieval_recall@1": [1, 0, null], "text_retrieval_recall@1": [null, null, 1] };
    const perItem = await writeItemValues(folder, bare, { items: ["text 0", "text 1", "image 0"], values });
    const path = writeResult(folder, { ...bare, laclip: { ...details, perItem } });
    const stored = { path, result: readResult(path) };
    assert.deepEqual(await readOutcomes(stored, "image_retrieval_recall@1"), { items: ["text 0", "text 1"], values: [1, 0] });
    assert.deepEqual(await readOutcomes(stored, "text_retrieval_recall@1"), { items: ["image 0"], values: [1] });
  });

  test("confusions are counted from right class to guess", () => {
    const matrix = confusionMatrix(items, 4);
    assert.deepEqual(
      matrix.map((row) => [...row]),
      [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 0],
      ],
    );
    const scores = classScores(matrix);
    assert.deepEqual(
      scores.map(({ label, recall }) => [label, recall]),
      [
        [2, 0],
        [0, 0.5],
        [1, 0.5],
      ],
      "the worst first; a class without images is none",
    );
    assert.deepEqual(scores[0]!.takenFor, [{ label: 1, images: 1 }]);
    assert.deepEqual([scores[0]!.precision, scores[1]!.precision, scores[2]!.precision], [undefined, 0.5, 1 / 3]);
    assert.deepEqual(confusedPairs(matrix)[0], { labels: [0, 1], images: 2 });
  });

  test("calibration by hand: two bins", () => {
    const { bins, expectedError, largestError, overconfidence } = calibration(items, 2);
    assert.deepEqual(
      bins.map((bin) => bin.images),
      [2, 3],
    );
    const [low, high] = [Math.abs(0.15 - 0), Math.abs((0.9 + 0.7 + 0.75) / 3 - 2 / 3)];
    assert.ok(Math.abs(expectedError - (2 * low + 3 * high) / 5) < 1e-12);
    assert.ok(Math.abs(largestError - low) < 1e-12);
    assert.ok(Math.abs(overconfidence - (2.65 / 5 - 2 / 5)) < 1e-12);
    assert.equal(
      calibration([item("a", 0, [0], 1), item("b", 0, [0], 0)], 3).bins[2]!.images,
      1,
      "1 belongs to the last bin, 0 to the first",
    );
  });

  test("the hash of the images is theirs wherever they lie, and another for other labels or bytes", () => {
    const file = (name: string, text: string): string => {
      const path = join(folder, name);
      writeFileSync(path, text);
      return path;
    };
    const listed = [
      { path: file("a.png", "one"), label: 0 },
      { path: file("b.png", "two"), label: 1 },
    ];
    const hash = itemsHash(listed, folder, ["cat", "dog"]);
    assert.equal(itemsHash(listed, `${folder}/`, ["cat", "dog"]), hash);
    assert.equal(itemsHash(listed, join(folder, "list.csv"), ["cat", "dog"]), hash, "of a table, its folder");
    assert.equal(itemName(join(folder, "red/1.png"), join(folder, "list.csv")), "red/1.png");
    assert.equal(itemName("1.png", join(folder, "held.parquet")), "1.png");
    assert.notEqual(itemsHash(listed, folder, ["dog", "cat"]), hash);
    assert.notEqual(itemsHash(listed.toReversed(), folder, ["cat", "dog"]), hash);
    file("b.png", "three");
    assert.notEqual(itemsHash(listed, folder, ["cat", "dog"]), hash);
  });
});
