/** What the measurements are taken to mean; the measuring itself runs in test/integration/bench-data.test.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type StageName, judge } from "./bench-data.ts";

/** Samples a second of each stage, for a wall second and for a second of processor. */
type Rates = Partial<Record<StageName, [wall: number, cpu: number]>>;

const quick: Rates = {
  read: [20_000, 20_000],
  decode: [1200, 600],
  augment: [2000, 2000],
  "decode+augment": [900, 460],
  tokenize: [500_000, 500_000],
  collate: [10_000, 10_000],
  loader: [800, 430],
};

function judged(rates: Rates, more: { kind?: "table" | "tars"; shorterSide?: number } = {}): ReturnType<typeof judge> {
  const stages = Object.entries(rates).map(([stage, [perSecond, perCpuSecond]]) => ({
    stage: stage as StageName,
    samples: 1,
    perSecond,
    perCpuSecond,
  }));
  const { kind = "table", shorterSide = 240 } = more;
  return judge({ path: "x", kind, batchSize: 64, imageSize: 224, processors: 2, shorterSide, bytes: 1, stages });
}

test("the stage that costs most processor time is the limit where the disk keeps up", () => {
  const { limit, shares, advice } = judged(quick);
  assert.equal(limit, "decode");
  assert.ok(Math.abs(Object.values(shares).reduce((a, b) => a + b, 0) - 1) < 1e-9);
  assert.ok(shares.decode! > 0.7 && shares.decode! < 0.8);
  assert.equal(advice.join().includes("--resize"), false, "images that are hardly larger than the model's are not worth resizing");
  assert.equal(judged({ ...quick, tokenize: [300, 300] }).limit, "tokenize");
  assert.equal(judged({ ...quick, augment: [200, 200] }).limit, "augment");
});

test("a disk that gives less than the processors could take is the limit", () => {
  const slow = { ...quick, read: [300, 20_000] } satisfies Rates;
  assert.equal(judged(slow).limit, "read");
  assert.match(judged(slow).advice.join(), /laclip data pack/);
  assert.match(judged(slow, { kind: "tars" }).advice.join(), /faster disk/);
});

test("large images are to be stored smaller", () => {
  assert.match(judged(quick, { shorterSide: 600 }).advice.join(), /--resize 256/);
});

test("a loader that leaves processors idle is told of, one that the disk holds up is not", () => {
  const idle = { ...quick, loader: [400, 430] } satisfies Rates;
  assert.match(judged(idle).advice.join(), /keeps 0\.9 of 2 processors busy/);
  assert.doesNotMatch(judged(quick).advice.join(), /busy/);
  assert.doesNotMatch(judged({ ...idle, read: [420, 20_000] }).advice.join(), /busy/);
});
