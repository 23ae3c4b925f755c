/** Which split is chosen for which memory. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Clip, preset } from "../models/index.ts";
import { StepMemory, type StepSizes, type StepSplit } from "./step-memory.ts";
import { chooseSplit, possibleSplits } from "./step-splits.ts";

const shape = preset("tiny", { vision: { depth: 12 }, text: { vocabularySize: 500 } });
const model = new Clip(shape, { seed: 1 });
after(() => model.dispose());
const memory = new StepMemory({ model, device: "cpu", precision: "fp32" });
const batchSize = 512;
const sizes: StepSizes = {
  batchSize,
  images: 1,
  textsPerImage: 1,
  lengths: Array.from({ length: batchSize }, (_, i) => 22 - Math.floor((15 * i) / batchSize)),
};
const peak = (split: StepSplit): number => memory.peak(sizes, split);
const whole = { microBatch: batchSize, recomputeBlocks: false };

/** The choice for a share of the memory that a whole batch takes. */
function choice(share: number, settings: Parameters<typeof possibleSplits>[1] = {}, kind: "device" | "processor" = "device") {
  return chooseSplit(possibleSplits(batchSize, settings, kind), peak, share * peak(whole));
}

describe("the fastest split that fits", () => {
  test("is none where the batch fits as a whole", () => {
    assert.deepEqual(choice(1), { split: whole, fits: true });
  });

  test("computes blocks again, then has micro-batches that keep the device busy, then both", () => {
    assert.deepEqual(choice(0.99), { split: { microBatch: batchSize, recomputeBlocks: true }, fits: true });
    const bare = peak({ microBatch: batchSize, recomputeBlocks: true }) / peak(whole);
    const { split } = choice(0.98 * bare);
    assert.ok(split.microBatch >= 64 && split.microBatch < batchSize && !split.recomputeBlocks, JSON.stringify(split));
    // Where those would be so small that the device waits, one more pass with larger ones costs less.
    const busy = peak({ microBatch: 48, recomputeBlocks: false }) / peak(whole);
    const both = choice(0.9 * busy);
    assert.ok(both.fits && both.split.recomputeBlocks && both.split.microBatch >= 64, JSON.stringify(both));
    // A processor is as fast with small micro-batches.
    const small = choice(0.9 * busy, {}, "processor");
    assert.ok(small.fits && !small.split.recomputeBlocks && small.split.microBatch < 64, JSON.stringify(small));
  });

  test("takes no more than there is, and no smaller micro-batches than it needs to", () => {
    for (const share of [0.7, 0.3, 0.15, 0.08]) {
      const { split, fits } = choice(share, { recomputeBlocks: false });
      assert.ok(fits && peak(split) <= share * peak(whole), `${share}`);
      const sizesThere = possibleSplits(batchSize, { recomputeBlocks: false }, "device").map((one) => one.microBatch);
      const larger = Math.min(...sizesThere.filter((size) => size > split.microBatch));
      assert.ok(peak({ ...split, microBatch: larger }) > share * peak(whole), `${share}: ${larger} would fit too`);
    }
  });

  test("keeps to what the recipe says", () => {
    assert.deepEqual(choice(1, { microBatch: 100 }).split, { microBatch: 100, recomputeBlocks: false });
    assert.deepEqual(choice(1, { microBatch: 4096 }).split, whole);
    assert.deepEqual(choice(1, { recomputeBlocks: true }).split, { microBatch: batchSize, recomputeBlocks: true });
    assert.deepEqual(choice(0.01, { microBatch: 100, recomputeBlocks: false }), {
      split: { microBatch: 100, recomputeBlocks: false },
      fits: false,
    });
  });

  test("is the one that takes least where nothing fits", () => {
    assert.deepEqual(choice(0), { split: { microBatch: 1, recomputeBlocks: true }, fits: false });
  });
});

test("no part has more images than a device takes at once, unless the settings say so", () => {
  const parts = possibleSplits(8192, {}, "device", 3000).map(({ microBatch }) => microBatch);
  assert.equal(Math.max(...parts), 2736);
  assert.deepEqual(possibleSplits(8192, { microBatch: 4096, recomputeBlocks: true }, "device", 3000), [
    { microBatch: 4096, recomputeBlocks: true },
  ]);
});

test("a batch of a few thousand is split into a few sizes, and all of them can be chosen", () => {
  const splits = possibleSplits(8192, {}, "device");
  const sizesThere = [...new Set(splits.map(({ microBatch }) => microBatch))].toSorted((a, b) => b - a);
  assert.deepEqual(sizesThere.slice(0, 4), [8192, 4096, 2736, 2048]);
  assert.ok(sizesThere.every((size) => size <= 16 || size % 8 === 0));
  assert.equal(sizesThere.at(-1), 1);
});
