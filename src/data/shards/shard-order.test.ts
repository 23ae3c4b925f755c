import assert from "node:assert/strict";
import { test } from "node:test";
import { DataError, Random, UsageError } from "../../support/index.ts";
import { ShardOrder, type ShardOrderOptions, type ShardSlot } from "./shard-order.ts";

const name = ({ shard, sample }: ShardSlot): string => `${shard}/${sample}`;

/** The samples of each step, in order. */
function steps(order: ShardOrder, from: number, to: number, batchSize: number): string[][] {
  return Array.from({ length: to - from }, (_, i) => {
    const step = from + i;
    const block = order.block(order.blockOf(step));
    const start = ((step % order.stepsPerEpoch) - block.from) * batchSize;
    return Array.from(block.order.subarray(start, start + batchSize), (at) => name(block.slots[at]!));
  });
}

const sets: Omit<ShardOrderOptions, "batchSize" | "seed">[] = [
  { counts: [7] },
  { counts: [100, 1, 37, 0, 250, 99] },
  { counts: Array.from({ length: 23 }, (_, i) => 10 + ((i * 7919) % 31)), interleave: 5, shuffle: 60 },
  { counts: [1000, 1000, 1000], interleave: 1, shuffle: 16 },
  { counts: [3, 3, 3, 3, 3, 3, 3, 3], interleave: 100, shuffle: 1 },
];

test("an epoch shows each sample at most once, over all ranks, and leaves out less than a batch for each", () => {
  for (const set of sets) {
    const all = set.counts.flatMap((count, shard) => Array.from({ length: count }, (_, sample) => name({ shard, sample })));
    for (const ranks of [1, 2, 3]) {
      const batchSize = 2;
      if (all.length < batchSize * ranks) continue;
      for (const epoch of [0, 4]) {
        const seen: string[] = [];
        for (let rank = 0; rank < ranks; rank++) {
          const order = new ShardOrder({ ...set, batchSize, seed: 3, rank, ranks });
          assert.equal(order.stepsPerEpoch, Math.floor(all.length / (batchSize * ranks)));
          seen.push(...steps(order, epoch * order.stepsPerEpoch, (epoch + 1) * order.stepsPerEpoch, batchSize).flat());
        }
        assert.equal(new Set(seen).size, seen.length);
        for (const sample of seen) assert.ok(all.includes(sample));
        assert.ok(all.length - seen.length < batchSize * ranks);
      }
    }
  }
});

test("a step is the same whatever was asked before, other seeds and epochs mix otherwise", () => {
  const options = { ...sets[2]!, batchSize: 4, seed: 1 };
  const order = new ShardOrder(options);
  const count = order.stepsPerEpoch * 2 + 3;
  const all = steps(order, 0, count, 4);
  for (const step of [count - 1, 0, 17, order.stepsPerEpoch]) {
    assert.deepEqual(steps(new ShardOrder(options), step, step + 1, 4)[0], all[step]);
  }
  assert.notDeepEqual(steps(new ShardOrder({ ...options, seed: 2 }), 0, 3, 4), all.slice(0, 3));
  assert.notDeepEqual(all.slice(order.stepsPerEpoch, order.stepsPerEpoch + 3), all.slice(0, 3));
});

test("a block is read from few tars, front to back, and mixes what it has read", () => {
  const order = new ShardOrder({ counts: Array.from({ length: 40 }, () => 500), batchSize: 32, seed: 9, shuffle: 1024, interleave: 4 });
  const blocks = order.blockOf(order.stepsPerEpoch - 1) + 1;
  let last = new Map<number, number>();
  for (let number = 0; number < blocks; number++) {
    const { slots, order: mixed, from, to } = order.block(number);
    assert.equal(slots.length, (to - from) * 32);
    assert.ok(slots.length >= 1024);
    const next = new Map<number, number>();
    for (const { shard, sample } of slots) {
      assert.equal(sample, (next.get(shard) ?? last.get(shard) ?? -1) + 1, "each tar is read on where it was left");
      next.set(shard, sample);
    }
    assert.ok(next.size <= 12);
    last = next;
    const neighbours = Array.from(mixed).filter((at, i) => i > 0 && Math.abs(at - mixed[i - 1]!) <= 8).length;
    assert.ok(neighbours < slots.length * 0.05, "neighbours are taken apart");
  }
});

test("with replacement, tars are drawn evenly and an epoch is as long as it is said to be", () => {
  const counts = [10, 10, 10, 10, 10];
  const order = new ShardOrder({ counts, batchSize: 4, seed: 2, shuffle: 40, resample: { samplesPerEpoch: 2000 } });
  assert.equal(order.stepsPerEpoch, 500);
  const drawn = steps(order, 0, 500, 4).flat();
  const by = counts.map((_, shard) => drawn.filter((sample) => sample.startsWith(`${shard}/`)).length);
  assert.equal(drawn.length, 2000);
  for (const count of by) assert.ok(count > 250 && count < 550, String(by));
  const again = new ShardOrder({ counts, batchSize: 4, seed: 2, shuffle: 40, resample: { samplesPerEpoch: 2000 }, rank: 1, ranks: 2 });
  assert.equal(again.stepsPerEpoch, 250);
});

test("too few samples, and settings out of range, are refused", () => {
  assert.throws(() => new ShardOrder({ counts: [3, 4], batchSize: 8, seed: 0 }), DataError);
  assert.throws(() => new ShardOrder({ counts: [], batchSize: 1, seed: 0 }), DataError);
  assert.throws(() => new ShardOrder({ counts: [0], batchSize: 1, seed: 0, resample: { samplesPerEpoch: 10 } }), DataError);
  assert.throws(() => new ShardOrder({ counts: [9], batchSize: 1, seed: 0, shuffle: 0 }), UsageError);
  assert.throws(() => new ShardOrder({ counts: [9], batchSize: 1, seed: 0, interleave: 1.5 }), UsageError);
});

test("many tars cost little: a block in the middle of four thousand", () => {
  const random = Random.of("many");
  const order = new ShardOrder({ counts: Array.from({ length: 4000 }, () => 9000 + random.integer(1000)), batchSize: 256, seed: 1 });
  const { slots } = order.block(order.blockOf(Math.floor(order.stepsPerEpoch / 2)));
  assert.equal(slots.length, 2048);
});
