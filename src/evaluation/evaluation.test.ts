import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import sharp from "sharp";
import { Clip, imagenetPreprocessing, preset } from "../models/index.ts";
import { setThreads } from "../torch/index.ts";
import { ImageTextScorer, classVectors, classificationMetrics, fillTemplate, zeroShot } from "./index.ts";

describe("metrics", () => {
  test("top-1, top-5 and the mean over classes are counted as CLIP_benchmark does", () => {
    const metrics = classificationMetrics(
      [
        { label: 0, ranked: [0, 1, 2, 3, 4] },
        { label: 0, ranked: [0, 1, 2, 3, 4] },
        { label: 0, ranked: [1, 0, 2, 3, 4] },
        { label: 1, ranked: [2, 3, 4, 5, 6, 1] },
      ],
      7,
    );
    assert.equal(metrics.acc1, 0.5);
    assert.equal(metrics.acc5, 0.75, "a sixth place does not count");
    assert.equal(metrics.mean_per_class_recall, (2 / 3 + 0) / 2, "classes without images are left out");
  });
});

describe("zero-shot", () => {
  setThreads(1);
  const model = new Clip(preset("nano"), { seed: 3 });

  test("a class is the mean of the unit vectors of all its texts, of length 1", () => {
    const names = [["a cat", "a kitten"], ["a dog"]];
    const both = classVectors(model, { names, templates: ["{}", "a photo of {}."] }).toFloat32Array();
    const single = ["a cat", "a photo of a cat.", "a kitten", "a photo of a kitten."].map((text) =>
      classVectors(model, { names: [[text]], templates: ["{}"] }).toFloat32Array(),
    );
    const mean = Array.from(single[0]!, (_, i) => single.reduce((sum, vector) => sum + vector[i]!, 0) / single.length);
    const length = Math.hypot(...mean);
    mean.forEach((value, i) => assert.ok(Math.abs(value / length - both[i]!) < 1e-5));
    assert.ok(Math.abs(Math.hypot(...both.slice(0, 16)) - 1) < 1e-5);
  });

  test("a template without a place for the name is refused; the name is taken as it is", () => {
    assert.throws(() => fillTemplate("a photo", "cat"), /has no \{\}/);
    assert.equal(fillTemplate("a {} here", "$& {}"), "a $& {} here");
  });

  test("the predictions do not depend on the batch, and ranks agree with the best five", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "laclip-zero-shot-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const items = [];
    for (const [i, background] of ["red", "green", "blue", "white", "black"].entries()) {
      const path = join(folder, `${i}.png`);
      await sharp({ create: { width: 20, height: 20, channels: 3, background } })
        .png()
        .toFile(path);
      items.push({ path, label: i });
    }
    const classes = { names: ["red", "green", "blue", "white", "black", "pink", "brown"].map((name) => [name]), templates: ["{}"] };
    const loaded = { model, preprocessing: imagenetPreprocessing };
    const whole = await zeroShot(loaded, items, classes, { batchSize: 5 });
    const split = await zeroShot(loaded, items, classes, { batchSize: 2 });
    assert.deepEqual(
      whole.predictions.map(({ path, rank, top }) => [path, rank, top.map(({ label }) => label)]),
      split.predictions.map(({ path, rank, top }) => [path, rank, top.map(({ label }) => label)]),
    );
    for (const { label, rank, top } of whole.predictions) {
      if (rank <= 5) assert.equal(top[rank - 1]!.label, label);
      else assert.ok(top.every((guess) => guess.label !== label));
    }
    const damaged = [...items, { path: join(folder, "broken.png"), label: 0 }];
    writeFileSync(join(folder, "broken.png"), "no picture");
    await assert.rejects(zeroShot(loaded, damaged, classes), /broken\.png/);
    const counted = await zeroShot(loaded, damaged, classes, { maximumSkipped: 0.5 });
    assert.deepEqual([counted.skipped, counted.predictions.length], [1, 5]);
  });

  test("texts fit images as they do in classification, in any batch; unreadable images are named", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "laclip-scorer-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const items: { path: string; label: number }[] = [];
    for (const [label, background] of ["red", "green", "blue"].entries()) {
      const path = join(folder, `${label}.png`);
      await sharp({ create: { width: 20, height: 24, channels: 3, background } })
        .png()
        .toFile(path);
      items.push({ path, label });
    }
    const broken = join(folder, "broken.png");
    writeFileSync(broken, "no picture");
    const names = ["a red wall", "green", "the blue, blue sky"];
    const loaded = { model, preprocessing: imagenetPreprocessing };
    const { predictions } = await zeroShot(loaded, items, { names: names.map((name) => [name]), templates: ["{}"] });
    const asked = [
      { image: items[0]!.path, texts: names },
      { image: broken, texts: names },
      { image: items[1]!.path, texts: [] },
      { image: items[2]!.path, texts: [names[2]!, names[0]!] },
    ];
    for (const batchSize of [1, 3]) {
      const [first, second, third, last] = await new ImageTextScorer(loaded, "nano", "", { batchSize }).score(asked);
      assert.ok("unreadable" in second! && second.unreadable.includes("broken.png"));
      assert.deepEqual(third, { cosines: [] });
      const expected = (row: number, labels: number[]): number[] =>
        labels.map((label) => predictions[row]!.top.find((one) => one.label === label)!.cosine);
      for (const [score, cosines] of [
        [first, expected(0, [0, 1, 2])],
        [last, expected(2, [2, 0])],
      ] as const) {
        assert.ok("cosines" in score! && score.cosines.length === cosines.length);
        score.cosines.forEach((cosine, i) => assert.ok(Math.abs(cosine - cosines[i]!) < 1e-5));
      }
    }
    assert.deepEqual(await new ImageTextScorer(loaded, "nano", "").score([]), []);
  });
});
