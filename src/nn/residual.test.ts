/** What goes through blocks: the sum and what is still to be added to it, and how long both live. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Tensor, memoryInfo, scope, tensor } from "../torch/index.ts";
import { LayerNorm } from "./layers.ts";
import { type Residual, summed, throughBlocks } from "./residual.ts";

test("a norm adds what is still to be added, and says what the sum is", () => {
  scope(() => {
    const norm = new LayerNorm(2);
    const x: Residual = [tensor([[1, 2]]), tensor([[3, 5]])];
    const [sum, normed] = norm.add(x);
    assert.deepEqual(sum.toArray(), [4, 7]);
    assert.deepEqual(sum.toArray(), summed(x).toArray());
    assert.deepEqual(normed.toArray().map(Math.round), [-1, 1]);
    assert.deepEqual(norm.add([sum])[0].toArray(), [4, 7]);
    norm.dispose();
  });
});

test("blocks take what the one before has handed on, which dies with their scope", () => {
  scope(() => {
    const x = tensor([1]);
    const given: Tensor[] = [];
    const { live } = memoryInfo();
    const found = throughBlocks([10, 100, 1000], x, (block, before) => {
      assert.ok(given.every((one) => one.disposed));
      const [sum, change] = before;
      if (change !== undefined) given.push(sum, change);
      return [summed(before).add(0), tensor([block])];
    });
    assert.deepEqual(
      found.map((one) => one!.toArray()),
      [[111], [1000]],
    );
    assert.equal(given.length, 4);
    assert.equal(x.disposed, false);
    assert.equal(memoryInfo().live, live + 2);
    assert.deepEqual(
      throughBlocks([], x, () => assert.fail("there is none")),
      [x],
    );
  });
});
