/** What reads frozen models computes on a device what it computes on the processor. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  type LabelledFeatures,
  ImageTextScorer,
  LinearClassifier,
  fewShot,
  fitProbe,
  imageFeatures,
  probeMetrics,
  retrieval,
  sgdProbe,
  textFeatures,
  zeroShot,
} from "../../src/evaluation/index.ts";
import { Clip, type LoadedModel, imagenetPreprocessing, preset } from "../../src/models/index.ts";
import { Random } from "../../src/support/index.ts";
import { Tensor } from "../../src/torch/index.ts";
import { writeCollection } from "../integration/small-collection.ts";
import { devices, unless } from "./devices.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-gpu-evaluation-"));
let items: { path: string; label: number }[] = [];
before(async () => {
  const rows = await writeCollection(root, 12);
  items = rows.map(({ image }, i) => ({ path: join(root, image), label: i % 3 }));
});
after(() => rmSync(root, { recursive: true }));

const model = (device: string): LoadedModel => ({
  model: new Clip(preset("nano"), { seed: 5 }).moveTo(device),
  preprocessing: imagenetPreprocessing,
});

/** Rows around a centre for each class. */
function rowsOf(device: string, count: number, name: string): LabelledFeatures {
  const width = 12;
  const labels = Int32Array.from({ length: count }, (_, i) => i % 4);
  const random = Random.of("rows", name);
  const centres = Random.of("centres");
  const centre = Float32Array.from({ length: 4 * width }, () => centres.uniform());
  const values = Float32Array.from({ length: count * width }, (_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    return centre[labels[row]! * width + column]! + 2.5 * random.uniform();
  });
  return { features: Tensor.from(values, [count, width], { device }).keep(), labels };
}

for (const tested of devices) {
  const { device, close } = tested;
  describe(`on ${tested.name}`, () => {
    const near = (a: ArrayLike<number>, b: ArrayLike<number>, most = close * 10): void => {
      assert.equal(a.length, b.length);
      for (let i = 0; i < a.length; i++) assert.ok(Math.abs(a[i]! - b[i]!) <= most, `${a[i]} and ${b[i]}`);
    };

    test("features of images and texts, zero-shot, and the fit of texts", unless(tested), async () => {
      const found = await Promise.all(
        ["cpu", device].map(async (where) => {
          const loaded = model(where);
          const { features } = await imageFeatures(loaded, items, { device: where, batchSize: 5 });
          const texts = await textFeatures(loaded, ["a dog", "a red house by the sea"], { device: where });
          assert.equal(features.device, where);
          const words = { names: [["dog"], ["cat"], ["house", "home"]], templates: ["a {}", "one {}"] };
          const asked = await Promise.all(
            (["mean", "best"] as const).map(async (several) => await zeroShot(loaded, items, { ...words, several }, { device: where })),
          );
          const scorer = new ImageTextScorer(loaded, "small", "hash", { device: where });
          const scores = await scorer.score(items.slice(0, 3).map(({ path }) => ({ image: path, texts: ["a dog", "a sea"] })));
          loaded.model.dispose();
          return {
            images: features.toFloat32Array(),
            texts: texts.toFloat32Array(),
            top: asked.flatMap(({ predictions }) => predictions.map(({ top }) => top[0]!.cosine)),
            cosines: scores.flatMap((score) => ("cosines" in score ? score.cosines : [])),
          };
        }),
      );
      for (const kind of ["images", "texts", "top", "cosines"] as const) near(found[1]![kind], found[0]![kind]);
    });

    test("linear probes, episodes and retrieval", unless(tested), async () => {
      const found = await Promise.all(
        ["cpu", device].map(async (where) => {
          const [train, held] = [rowsOf(where, 80, "train"), rowsOf(where, 40, "held out")];
          const fitted = await fitProbe(train, undefined, 4, { standardise: true });
          const metrics = probeMetrics(fitted.classifier, held);
          const folder = join(root, `classifier-${where.replace(":", "-")}`);
          fitted.classifier.save(folder, { classes: ["a", "b", "c", "d"], feature: "joint", model: "small", preparation: {}, fitted: {} });
          fitted.classifier.dispose();
          const { classifier } = LinearClassifier.load(folder, where);
          assert.equal(probeMetrics(classifier, held).acc1, metrics.acc1);
          classifier.dispose();
          const steps = await sgdProbe(train, 4, { epochs: 3 });
          const bySteps = probeMetrics(steps, held);
          steps.dispose();
          const owners = Int32Array.from({ length: 40 }, (_, i) => i);
          const { metrics: ranks } = await retrieval(held.features, rowsOf(where, 40, "held out").features, owners);
          const episodes = await fewShot(train, undefined, { ways: 3, shots: 2, queries: 3, episodes: 20 });
          return [metrics.acc1, bySteps.acc1, ranks["image_retrieval_recall@1"]!, episodes.accuracy];
        }),
      );
      // Shares of 40 rows: one that lies between two classes may fall to either side.
      near(found[1]!, found[0]!, 0.06);
    });
  });
}
