import assert from "node:assert/strict";
import { test } from "node:test";
import { DataError } from "../support/index.ts";
import { BatchOrder } from "./order.ts";

test("an epoch shows each sample once, but for the short last batch; epochs differ; a seed decides", () => {
  const order = new BatchOrder({ count: 103, batchSize: 10, seed: 7 });
  assert.equal(order.stepsPerEpoch, 10);
  const epoch = (from: number): number[] => Array.from({ length: 10 }, (_, i) => [...order.rows(from + i)]).flat();
  const [first, second] = [epoch(0), epoch(10)];
  assert.equal(new Set(first).size, 100);
  assert.equal(new Set(second).size, 100);
  assert.notDeepEqual(first, second);
  assert.deepEqual(order.position(23), { epoch: 2, offset: 30 });
  const again = new BatchOrder({ count: 103, batchSize: 10, seed: 7 });
  assert.deepEqual(again.rows(23), order.rows(23));
  assert.deepEqual(again.rows(2), order.rows(2));
  assert.notDeepEqual(new BatchOrder({ count: 103, batchSize: 10, seed: 8 }).rows(0), order.rows(0));
});

test("ranks share out the batch that one process with their batches together would see", () => {
  const whole = new BatchOrder({ count: 50, batchSize: 12, seed: 1 });
  const ranks = [0, 1, 2].map((rank) => new BatchOrder({ count: 50, batchSize: 4, seed: 1, rank, ranks: 3 }));
  for (const step of [0, 3, 4, 9])
    assert.deepEqual(
      [...whole.rows(step)],
      ranks.flatMap((order) => [...order.rows(step)]),
    );
});

test("replacements come from outside of the batch and reach every other sample", () => {
  const order = new BatchOrder({ count: 12, batchSize: 4, seed: 3 });
  for (const step of [0, 1, 2]) {
    const own = new Set(order.rows(step));
    const replacements = [...order.replacements(step, 2)];
    assert.equal(new Set(replacements).size, 8);
    assert.ok(replacements.every((row) => !own.has(row)));
  }
  assert.equal(new BatchOrder({ count: 12, batchSize: 4, seed: 3 }).replacements(0, 1).next().value, order.rows(1)[1]);
});

test("fewer samples than a batch is a data error", () => {
  assert.throws(() => new BatchOrder({ count: 9, batchSize: 10, seed: 0 }), DataError);
  assert.throws(() => new BatchOrder({ count: 15, batchSize: 8, seed: 0, ranks: 2 }), /15 samples are fewer than one batch of 8 x 2/);
});
