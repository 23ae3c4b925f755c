import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import sharp from "sharp";
import { Clip, imagenetPreprocessing, preset } from "../models/index.ts";
import { DataError, InterruptedError } from "../support/index.ts";
import { Tensor, memoryInfo, noGrad, ops, setThreads } from "../torch/index.ts";
import {
  type ZeroShotClasses,
  ClassScorer,
  FeatureStore,
  ImageTextScorer,
  classVectors,
  classificationMetrics,
  fillTemplate,
  zeroShot,
} from "./index.ts";

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

  test("a class is the mean of the unit vectors of all its texts, of length 1", async () => {
    const names = [["a cat", "a kitten"], ["a dog"]];
    const values = async (classes: ZeroShotClasses): Promise<Float32Array> => {
      // Left to the collector, it might be freed while the next test counts what is alive.
      using vectors = await classVectors(model, classes);
      return vectors.toFloat32Array();
    };
    const both = await values({ names, templates: ["{}", "a photo of {}."] });
    const single: Float32Array[] = [];
    for (const text of ["a cat", "a photo of a cat.", "a kitten", "a photo of a kitten."])
      single.push(await values({ names: [[text]], templates: ["{}"] }));
    const mean = Array.from(single[0]!, (_, i) => single.reduce((sum, vector) => sum + vector[i]!, 0) / single.length);
    const length = Math.hypot(...mean);
    mean.forEach((value, i) => assert.ok(Math.abs(value / length - both[i]!) < 1e-5));
    assert.ok(Math.abs(Math.hypot(...both.slice(0, 16)) - 1) < 1e-5);
  });

  test("classes whose texts fill several batches are the same as each alone, and every text is counted; they can be stopped", async () => {
    const names = Array.from({ length: 70 }, (_, i) => [`thing ${i}`, `object number ${i} of them`]);
    const templates = ["{}", "a photo of a {}.", "art of the {}."];
    const counts: number[] = [];
    using vectors = await classVectors(model, { names, templates }, "cpu", { onTexts: (count) => counts.push(count) });
    const together = vectors.toFloat32Array();
    assert.deepEqual(counts, [256, 164]);
    for (const [place, own] of [names[0]!, names[42]!, names[69]!].map((own) => [names.indexOf(own), own] as const)) {
      using vector = await classVectors(model, { names: [own], templates });
      const alone = vector.toFloat32Array();
      alone.forEach((value, i) => assert.ok(Math.abs(value - together[place * alone.length + i]!) < 1e-5, `class ${place}, value ${i}`));
    }
    const live = memoryInfo().live;
    const stop = new AbortController();
    const stopped = classVectors(model, { names, templates }, "cpu", { onTexts: () => stop.abort(), signal: stop.signal });
    await assert.rejects(stopped, (error) => error instanceof InterruptedError && /after 256 of 420 texts/.test(error.message));
    assert.equal(memoryInfo().live, live, "nothing is left behind");
  });

  test("with names as alternatives, a class is as near as the nearest of them", () => {
    const vectors = Tensor.from(Float32Array.of(1, 0, 0, 1, -1, 0), [3, 2]);
    const names = [["east", "north"], ["west"]];
    const scorer = new ClassScorer(vectors, { names, templates: ["{}"], several: "best" }, 10);
    const images = Tensor.from(Float32Array.of(0.6, 0.8, 0, 5, -3, 1, -1, -0.1), [4, 2]);
    const found = scorer.score(images, Int32Array.of(0, 1, 0, 1), String);
    const rounded = found.map(({ top }) => top.map(({ label, cosine }) => [label, Math.round(cosine * 100) / 100]));
    assert.deepEqual(rounded, [
      [
        [0, 0.8],
        [1, -0.6],
      ],
      [
        [0, 1],
        [1, 0],
      ],
      [
        [1, 0.95],
        [0, 0.32],
      ],
      [
        [1, 1],
        [0, -0.1],
      ],
    ]);
    assert.deepEqual(
      found.map(({ rank }) => rank),
      [1, 2, 2, 1],
    );
    const chance = 1 / (1 + Math.exp(10 * (-0.6 - 0.8)));
    assert.ok(Math.abs(found[0]!.confidence - chance) < 1e-5 && Math.abs(found[0]!.probability - chance) < 1e-5);
  });

  test("features that are no numbers, and labels that are no class, are told with the image or the class", async () => {
    const scorer = new ClassScorer(Tensor.from(Float32Array.of(1, 0, 0, 1), [2, 2]), { names: [["a"], ["b"]], templates: ["{}"] }, 1);
    const images = Tensor.from(Float32Array.of(1, 0, NaN, 1), [2, 2]);
    const told = (message: RegExp) => (error: unknown) => error instanceof DataError && message.test(error.message);
    assert.throws(() => scorer.score(images, Int32Array.of(0, 1), (row) => `image ${row}`), told(/features of image 1 are not finite/));
    const spoiled = new Clip(preset("nano"), { seed: 3 });
    noGrad(() => ops.fillScalar_(spoiled.stateDict().get("text_projection")!, Infinity));
    const classes = { names: [["a cat"], ["a dog"]], templates: ["{}"] };
    await assert.rejects(classVectors(spoiled, classes), told(/texts of the class "a cat" are not finite/));
    const outside = zeroShot({ model, preprocessing: imagenetPreprocessing }, [{ path: "cat.png", label: 2 }], classes);
    await assert.rejects(outside, told(/cat\.png: its label is 2, and there are 2 classes/));
    spoiled.dispose();
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
    await assert.rejects(zeroShot(loaded, items, classes, { signal: AbortSignal.abort() }), InterruptedError);
    const store = new FeatureStore(join(folder, "features"));
    for (const time of ["made", "read"]) {
      const kept = await zeroShot({ ...loaded, hash: "nano" }, items, classes, { store, batchSize: 2 });
      assert.deepEqual([kept.metrics, kept.skipped, kept.logitScale], [whole.metrics, 0, whole.logitScale]);
      for (const [i, { path, rank, row, top, confidence }] of kept.predictions.entries()) {
        const seen = whole.predictions[i]!;
        assert.deepEqual([path, rank, row], [seen.path, seen.rank, seen.row], `features that were ${time}`);
        assert.ok(Math.abs(confidence - seen.confidence) < 1e-5 && Math.abs(top[0]!.cosine - seen.top[0]!.cosine) < 1e-5);
      }
    }
    const damaged = [...items, { path: join(folder, "broken.png"), label: 0 }];
    writeFileSync(join(folder, "broken.png"), "no picture");
    await assert.rejects(zeroShot(loaded, damaged, classes), /broken\.png/);
    const counted = await zeroShot(loaded, damaged, classes, { maximumSkipped: 0.5 });
    assert.deepEqual([counted.skipped, counted.predictions.length], [1, 5]);
    const none = damaged.slice(-1);
    for (const given of [{}, { store }]) {
      const scored = zeroShot({ ...loaded, hash: "nano" }, none, classes, { maximumSkipped: 1, ...given });
      await assert.rejects(scored, /None of 1 images can be read[^]*broken\.png/, "0 % of nothing is no score");
    }
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
