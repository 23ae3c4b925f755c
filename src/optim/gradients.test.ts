/** The norm of all gradients together. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryInfo, scope, tensor, zeros } from "../torch/index.ts";
import { gradientNorm } from "./gradients.ts";

test("is that of one long vector, leaves out parameters without gradient, and leaves no tensors", () => {
  scope(() => {
    const [a, b, c] = [zeros([2]).setRequiresGrad(), zeros([1, 1]).setRequiresGrad(), zeros([3]).setRequiresGrad()];
    assert.equal(gradientNorm([a, b, c]), 0);
    assert.equal(gradientNorm([]), 0);
    a.grad = tensor([3, 0]);
    b.grad = tensor([[4]]);
    const before = memoryInfo().live;
    assert.ok(Math.abs(gradientNorm([a, b, c]) - 5) < 1e-6);
    assert.equal(memoryInfo().live, before);
  });
});

test("is not finite when a gradient is not", () => {
  scope(() => {
    const a = zeros([2]).setRequiresGrad();
    a.grad = tensor([1, NaN]);
    assert.ok(Number.isNaN(gradientNorm([a])));
    a.grad = tensor([1, Infinity]);
    assert.equal(gradientNorm([a]), Infinity);
  });
});
