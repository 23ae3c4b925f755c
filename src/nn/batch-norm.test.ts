/** Batch normalisation over processes gives what it gives over the whole batch. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Tensor, cat, manualSeed, randn, scope } from "../torch/index.ts";
import { BatchNorm } from "./batch-norm.ts";

const largest = (a: Tensor, b: Tensor): number => a.detach().sub(b.detach()).abs().max().item();

test("rows of all ranks are normalised together, forward and backward", () => {
  scope(() => {
    manualSeed(3);
    const norm = new BatchNorm(5);
    norm.weight.detach().copy_(randn([5]));
    const whole = randn([8, 5]).mul(3).add(20).setRequiresGrad();
    const towards = randn([8, 5]);
    const expected = norm.forward(whole);
    expected.mul(towards).sum().backward();
    const weightGradient = norm.weight.grad!.clone();
    norm.zeroGrad();

    // Two ranks in one process: each hands over its statistics, and sees those of the other.
    const halves = [0, 4].map((from) =>
      whole
        .detach()
        .slice(0, from, from + 4)
        .clone()
        .setRequiresGrad(),
    );
    const mean = cat(halves.map((half) => half.mean(0, true)));
    const centre = mean.mean(0, true);
    const variance = cat(halves.map((half) => half.sub(centre).pow(2).mean(0, true)));
    const outputs = halves.map((half, rank) => {
      const gathered = [mean, variance];
      return norm.forward(half, { rank, ranks: 2, gather: () => gathered.shift()! });
    });
    const together = cat(outputs);
    assert.ok(largest(together, expected) < 1e-5);
    together.mul(towards).sum().backward();
    assert.ok(largest(cat(halves.map((half) => half.grad!)), whole.grad!) < 1e-4);
    assert.ok(largest(norm.weight.grad!, weightGradient) < 1e-4);
    // The columns of a normalised batch have mean 0 before scale and shift.
    const plain = new BatchNorm(5).forward(whole);
    assert.ok(plain.mean(0).abs().max().item() < 1e-5);
  });
});
