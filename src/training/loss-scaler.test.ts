/** The factor on the loss: when it grows and shrinks, and that dividing by it loses nothing. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memoryInfo, scope, tensor, zeros } from "../torch/index.ts";
import { LossScaler } from "./loss-scaler.ts";

describe("the scaler of the loss", () => {
  test("doubles after so many good steps in a row, halves after a bad one, and never falls below 1", () => {
    const scaler = new LossScaler({ start: 8, growthSteps: 3 });
    const after = (...steps: boolean[]): number => (steps.forEach((finite) => scaler.update(finite)), scaler.scale);
    assert.equal(after(true, true), 8);
    assert.equal(after(true), 16);
    assert.equal(after(true, true, false), 8);
    assert.equal(after(true, true), 8, "the bad step begins the count anew");
    assert.equal(after(true), 16);
    assert.ok(scaler.canShrink);
    assert.equal(after(...Array.from({ length: 9 }, () => false)), 1);
    assert.ok(!scaler.canShrink);
    assert.equal(new LossScaler({ start: 1.5 }).canShrink, true);
    assert.equal(new LossScaler().scale, 65_536);
  });

  test("goes on from its state as if it had never stopped", () => {
    const scaler = new LossScaler({ start: 4, growthSteps: 3 });
    scaler.update(true);
    scaler.update(true);
    const resumed = new LossScaler({ growthSteps: 3 });
    resumed.restore(JSON.parse(JSON.stringify(scaler.state())) as ReturnType<LossScaler["state"]>);
    for (const finite of [true, false, true]) {
      scaler.update(finite);
      resumed.update(finite);
      assert.deepEqual(resumed.state(), scaler.state());
    }
    assert.deepEqual(scaler.state(), { scale: 4, good: 1 });
  });

  test("divides gradients in place, passes over what has none, and lets infinities be", () => {
    scope(() => {
      const [a, b] = [zeros([3]).setRequiresGrad(), zeros([1]).setRequiresGrad()];
      a.grad = tensor([3, -Infinity, 2 ** -100]);
      const before = memoryInfo().live;
      new LossScaler({ start: 2 ** 16 }).unscale([a, b]);
      assert.equal(memoryInfo().live, before);
      assert.deepEqual(a.grad.toArray(), [3 / 2 ** 16, -Infinity, 2 ** -116]);
      assert.equal(b.grad, undefined);
    });
  });
});
