import assert from "node:assert/strict";
import { test } from "node:test";
import { BitSet } from "./bit-set.ts";

test("numbers are in the set once they were added, however far apart", () => {
  const set = new BitSet();
  const numbers = [0, 1, 31, 32, 63, 64, 2047, 2048, 100_000, 12_000_000];
  for (const number of numbers) assert.equal(set.add(number), true);
  for (const number of numbers) assert.equal(set.add(number), false);
  for (const number of numbers) assert.ok(set.has(number) && !set.has(number + 2));
  assert.ok(!set.has(2 ** 31));
  assert.equal(set.count(), numbers.length);
});

test("any range is counted as one by one", () => {
  const set = new BitSet();
  for (let i = 0; i < 500; i++) if ((i * 7919) % 3 !== 0) set.add(i);
  for (const [from, to] of [
    [0, 500],
    [0, 32],
    [1, 33],
    [31, 64],
    [40, 40],
    [100, 477],
    [480, 10_000],
    [5000, 6000],
  ] as const) {
    let expected = 0;
    for (let i = from; i < to; i++) if (set.has(i)) expected++;
    assert.equal(set.count(from, to), expected, `${from} to ${to}`);
  }
});
