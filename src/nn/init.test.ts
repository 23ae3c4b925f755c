/** Distributions that weights start from, measured on many draws. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { type Tensor, empty, manualSeed, memoryInfo, scope } from "../torch/index.ts";
import { constant, fanInUniform, normal, truncatedNormal, uniform, xavierUniform } from "./init.ts";

beforeEach(() => manualSeed(11));

/** Mean, standard deviation and largest magnitude. */
function figures(weights: Tensor): { mean: number; std: number; largest: number } {
  const values = weights.toFloat32Array();
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const std = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  return { mean, std, largest: values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) };
}

/** Whether two numbers differ by less than a share of the second. */
const near = (actual: number, expected: number, share: number, what: string): void =>
  assert.ok(Math.abs(actual - expected) <= share * Math.abs(expected), `${what}: expected ${expected}, got ${actual}`);

test("normal: mean and deviation", () => {
  scope(() => {
    const { mean, std, largest } = figures(normal(empty([300, 300]), 0.02, 0.5));
    near(mean, 0.5, 0.001, "mean");
    near(std, 0.02, 0.01, "deviation");
    assert.ok(largest > 0.5 + 3.5 * 0.02);
  });
});

test("uniform: fills the interval and does not leave it", () => {
  scope(() => {
    const { mean, std, largest } = figures(uniform(empty([300, 300]), 0.3));
    assert.ok(Math.abs(mean) < 0.003);
    near(std, 0.3 / Math.sqrt(3), 0.01, "deviation");
    assert.ok(largest <= 0.3 && largest > 0.2999);
  });
});

test("truncated normal: timm's 0.02 is cut nowhere, a wide one is cut at -2 and 2", () => {
  scope(() => {
    const narrow = figures(truncatedNormal(empty([300, 300]), 0.02));
    near(narrow.std, 0.02, 0.01, "deviation");
    assert.ok(Math.abs(narrow.mean) < 0.0003 && narrow.largest > 0.07 && narrow.largest < 2);
    // Cut at one and at half a deviation: 1 - 2 a phi(a) / (2 Phi(a) - 1) of the variance is left.
    for (const [std, share] of [
      [2, 0.29112509],
      [4, 0.08050694],
    ] as const) {
      const wide = figures(truncatedNormal(empty([300, 300]), std));
      near(wide.std, std * Math.sqrt(share), 0.01, `deviation ${std}`);
      assert.ok(wide.largest <= 2 && wide.largest > 1.999);
    }
  });
});

test("the others go by the size of the layer", () => {
  scope(() => {
    near(figures(xavierUniform(empty([200, 100]))).largest, Math.sqrt(6 / 300), 0.001, "xavier");
    near(figures(fanInUniform(empty([200, 100]))).largest, 0.1, 0.001, "linear");
    near(figures(fanInUniform(empty([50, 4, 5, 5]))).largest, 0.1, 0.001, "convolution");
    near(figures(fanInUniform(empty([5000]), 25)).largest, 0.2, 0.001, "bias");
    assert.deepEqual(constant(empty([2]), 0.5).toArray(), [0.5, 0.5]);
  });
});

test("each changes its tensor in place, without a gradient and without leaving tensors behind", () => {
  scope(() => {
    const weights = empty([4, 4]).setRequiresGrad();
    const before = memoryInfo().live;
    for (const fill of [
      () => normal(weights, 1),
      () => uniform(weights, 1),
      () => truncatedNormal(weights, 1),
      () => xavierUniform(weights),
      () => fanInUniform(weights),
      () => constant(weights, 1),
    ]) {
      assert.equal(fill(), weights);
    }
    assert.equal(memoryInfo().live, before);
  });
});

test("the same seed gives the same weights", () => {
  scope(() => {
    manualSeed(5);
    const first = truncatedNormal(empty([50]), 0.1).toArray();
    manualSeed(5);
    assert.deepEqual(truncatedNormal(empty([50]), 0.1).toArray(), first);
  });
});
