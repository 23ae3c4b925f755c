/** The symmetric loss against plain JavaScript in double precision. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Tensor, manualSeed, memoryInfo, randn, scope, tensor } from "../torch/index.ts";
import { unitRows } from "../nn/index.ts";
import { ClipLoss } from "./clip-loss.ts";

const loss = new ClipLoss();

function plainLoss(images: number[][], texts: number[][], scale: number): { loss: number; accuracy: number } {
  const unit = (row: number[]): number[] => row.map((value) => value / Math.hypot(...row));
  const [a, b] = [images.map(unit), texts.map(unit)];
  const logits = a.map((image) => b.map((text) => scale * image.reduce((sum, value, i) => sum + value * text[i]!, 0)));
  const entropy = (rows: number[][]): number => {
    const each = rows.map((row, i) => {
      const most = Math.max(...row);
      return most + Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0)) - row[i]!;
    });
    return each.reduce((sum, value) => sum + value, 0) / each.length;
  };
  const turned = logits.map((_, i) => logits.map((row) => row[i]!));
  const right = logits.filter((row, i) => row.indexOf(Math.max(...row)) === i).length;
  return { loss: (entropy(logits) + entropy(turned)) / 2, accuracy: right / logits.length };
}

const rows = (x: Tensor): number[][] => x.unbind(0).map((row) => row.toArray());

describe("ClipLoss", () => {
  for (const scale of [1, 14.3, 100]) {
    test(`loss and accuracy at scale ${scale}`, () => {
      scope(() => {
        manualSeed(6);
        const images = randn([9, 6]);
        const texts = images.mul(0.7).add(randn([9, 6]));
        const report = loss.forward({ imageFeatures: images, textFeatures: texts, logitScale: tensor(scale) });
        const expected = plainLoss(rows(images), rows(texts), scale);
        assert.ok(Math.abs(report.loss.item() - expected.loss) < 1e-4 * Math.max(1, expected.loss));
        assert.ok(Math.abs(report.metrics["accuracy"]!.item() - expected.accuracy) < 1e-6);
        assert.ok(expected.accuracy > 0 && expected.accuracy < 1, "a batch that is all right or all wrong shows nothing");
      });
    });
  }

  test("knows its bounds: log B for features that tell nothing, almost 0 for perfect ones", () => {
    scope(() => {
      const same = tensor([
        [1, 0],
        [1, 0],
        [1, 0],
      ]);
      const nothing = loss.forward({ imageFeatures: same, textFeatures: same, logitScale: tensor(100) });
      assert.ok(Math.abs(nothing.loss.item() - Math.log(3)) < 1e-6);
      const apart = tensor([
        [1, 0, 0],
        [0, 5, 0],
        [0, 0, 0.1],
      ]);
      const perfect = loss.forward({ imageFeatures: apart, textFeatures: apart, logitScale: tensor(100) });
      assert.ok(perfect.loss.item() < 1e-6);
      assert.equal(perfect.metrics["accuracy"]!.item(), 1);
    });
  });

  test("the gradient reaches both features and the logit scale, as differences say", () => {
    scope(() => {
      manualSeed(2);
      const inputs = [randn([5, 4]), randn([5, 4]), tensor(1.5)] as const;
      const value = (i: number, j: number, shift: number): number => {
        const [images, texts, log] = inputs.map((input, k) => {
          const flat = [...input.toArray()];
          if (k === i) flat[j]! += shift;
          return flat;
        }) as [number[], number[], number[]];
        const fold = (flat: number[]): number[][] => Array.from({ length: 5 }, (_, row) => flat.slice(4 * row, 4 * row + 4));
        return plainLoss(fold(images), fold(texts), Math.exp(log[0]!)).loss;
      };
      const [imageFeatures, textFeatures, logScale] = inputs.map((input) => input.clone().setRequiresGrad()) as [Tensor, Tensor, Tensor];
      const report = loss.forward({ imageFeatures, textFeatures, logitScale: logScale.exp() });
      report.loss.backward();
      assert.equal(report.metrics["accuracy"]!.requiresGrad, false);
      [imageFeatures, textFeatures, logScale].forEach((leaf, i) => {
        leaf.grad!.toArray().forEach((gradient, j) => {
          const difference = (value(i, j, 1e-5) - value(i, j, -1e-5)) / 2e-5;
          assert.ok(Math.abs(gradient - difference) < 1e-4, `input ${i}, element ${j}: ${gradient}, ${difference}`);
        });
      });
      assert.ok(Math.abs(logScale.grad!.item()) > 1e-3);
    });
  });

  test("features in bfloat16 are compared in float32", () => {
    scope(() => {
      const features = randn([4, 8]).to("bfloat16");
      const report = loss.forward({ imageFeatures: features, textFeatures: features, logitScale: tensor(100) });
      assert.equal(report.loss.dtype, "float32");
      const wide = features.to("float32");
      const expected = loss.forward({ imageFeatures: wide, textFeatures: wide, logitScale: tensor(100) });
      assert.equal(report.loss.item(), expected.loss.item());
    });
  });

  test("leaves its report and nothing else", () => {
    scope(() => {
      const pair = { imageFeatures: randn([3, 4]), textFeatures: randn([3, 4]), logitScale: tensor(10) };
      const before = memoryInfo().live;
      const report = loss.forward(pair);
      const { metrics } = report;
      assert.equal(memoryInfo().live, before + 1 + Object.keys(metrics).length);
    });
  });
});

test("unitRows: rows of length 1, and zeros stay zeros", () => {
  scope(() => {
    const out = unitRows(
      tensor([
        [3, 4],
        [0, 0],
        [-1e-3, 0],
      ]),
    );
    out.toArray().forEach((value, i) => assert.ok(Math.abs(value - [0.6, 0.8, 0, 0, -1, 0][i]!) < 1e-6));
  });
});
