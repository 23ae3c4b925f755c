import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type EvaluationResult, readResult, readResults, resultFileName, writeResult } from "./result.ts";

const result: EvaluationResult = {
  dataset: "wds/own photos",
  model: "runs/b16",
  pretrained: "",
  task: "zeroshot_classification",
  metrics: { acc1: 0.5, acc5: 1, mean_per_class_recall: null },
  language: "en",
  laclip: {
    version: "0.1.0",
    created: "2026-01-02T03:04:05.000Z",
    protocol: { templates: 7, mean: [0.485, 0.456, 0.406] },
    mainMetric: "acc1",
    counts: { images: 2, classes: 2 },
    skipped: { count: 1, reasons: ["a.png: not an image"] },
  },
};

describe("results", () => {
  const folder = mkdtempSync(join(tmpdir(), "laclip-results-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

  test("what is written is read again, under a name that is safe as a file", () => {
    assert.equal(resultFileName(result), "wds_own_photos_runs_b16_en_zeroshot_classification.json");
    const path = writeResult(join(folder, "new"), result);
    assert.deepEqual(readResult(path), result);
    assert.deepEqual(readdirSync(join(folder, "new")), [resultFileName(result)], "nothing else is left behind");
    assert.deepEqual(
      readResults([join(folder, "new")]).map((one) => one.path),
      [path],
    );
  });

  test("every result has what CLIP_benchmark's build asks for", () => {
    // Its build takes data["metrics"] apart into columns and joins data["model"] + " " + data["pretrained"] (clip_benchmark/cli.py).
    const written = JSON.parse(readFileSync(writeResult(join(folder, "build"), result), "utf8")) as Record<string, unknown>;
    for (const key of ["dataset", "model", "pretrained", "task", "language"]) assert.equal(typeof written[key], "string", key);
    assert.equal(typeof written["metrics"], "object");
    // A key of the result would take the place of a metric of the same name.
    for (const name of Object.keys(result.metrics)) assert.ok(!(name in written), name);
  });

  test("a file of CLIP_benchmark is read, NaN as nothing", () => {
    const path = join(folder, "theirs.json");
    writeFileSync(
      path,
      '{"dataset": "wds/x", "model": "ViT-B-32", "pretrained": "laion400m_e32", "task": "zeroshot_classification", ' +
        '"metrics": {"acc1": 0.25, "acc5": NaN, "mean_per_class_recall": -Infinity, "note": "a \\"NaN\\" in words", "each": [0, NaN]}, "language": "en"}',
    );
    assert.deepEqual(readResult(path).metrics, { acc1: 0.25, acc5: null, mean_per_class_recall: null, note: 'a "NaN" in words' });
  });

  test("outcomes that lie elsewhere than beside the result are refused", () => {
    for (const file of ["../other.parquet", "/etc/hostname", "a\\b.parquet", "..", ""]) {
      const path = join(folder, "elsewhere.json");
      writeFileSync(path, JSON.stringify({ ...result, laclip: { ...result.laclip, perItem: { file, sha256: "", rows: 1 } } }));
      assert.throws(() => readResult(path), /elsewhere\.json.*beside the result/s, file);
    }
  });

  test("what is no result is refused with its path", () => {
    const path = join(folder, "other.json");
    writeFileSync(path, '{"dataset": "x"}');
    assert.throws(() => readResult(path), /other\.json: not a result[^]*model/);
    writeFileSync(path, "{");
    assert.throws(() => readResult(path), /other\.json: this result is not valid JSON/);
    assert.throws(() => writeResult(folder, { ...result, metrics: { acc1: NaN } }), /acc1/);
    assert.throws(() => readResults([join(folder, "nowhere")]), /nowhere: no such file/);
  });
});
