/** Intervals and p values against SciPy and statsmodels (make-fixture.py). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Estimate, bootstrapInterval, compareValues, holm, mcnemarExact } from "../../../src/evaluation/index.ts";

interface Fixture {
  mcnemar: { onlyFirst: number; onlySecond: number; p: number }[];
  /** Items, right ones, and the ends of the exact interval. */
  edges: [number, number, number, number][];
  holm: { ps: number[]; raised: number[] };
  labels: number[];
  first: number[];
  second: number[];
  graded: number[];
  intervals: Record<"first" | "graded" | "firstPerClass" | "difference" | "differencePerClass", Estimate>;
}

const fixture = JSON.parse(readFileSync(join(import.meta.dirname, "../../../../test/parity/significance/fixture.json"), "utf8")) as Fixture;

describe("significance", () => {
  test("the exact McNemar test gives the p of statsmodels", () => {
    for (const { onlyFirst, onlySecond, p } of fixture.mcnemar) {
      const ours = mcnemarExact(onlyFirst, onlySecond);
      assert.ok(Math.abs(ours - p) <= 1e-9 * Math.max(p, 1e-290), `${onlyFirst} against ${onlySecond}: ${ours}, expected ${p}`);
      assert.equal(mcnemarExact(onlySecond, onlyFirst), ours);
    }
  });

  test("all right or all wrong, the interval is the exact one of SciPy", () => {
    for (const [count, right, low, high] of fixture.edges) {
      const ours = bootstrapInterval(new Float64Array(count).fill(right / count), { resamples: 10 });
      assert.ok(Math.abs(ours.low - low) < 1e-12 && Math.abs(ours.high - high) < 1e-12, `${right} of ${count}: ${JSON.stringify(ours)}`);
    }
  });

  test("Holm's p values are those of statsmodels", () => {
    holm(fixture.holm.ps).forEach((p, i) => assert.ok(Math.abs(p - fixture.holm.raised[i]!) < 1e-12));
  });

  test("bootstrap intervals are those of SciPy, up to the chance of the draws", () => {
    const { first, second, labels, graded, intervals } = fixture;
    const options = { resamples: 20_000, seed: 5 };
    const ours = {
      first: bootstrapInterval(first, options),
      graded: bootstrapInterval(graded, options),
      firstPerClass: bootstrapInterval(first, { ...options, classes: labels }),
      difference: compareValues(first, second, options).difference,
      differencePerClass: compareValues(first, second, { ...options, classes: labels }).difference,
    };
    for (const [name, theirs] of Object.entries(intervals)) {
      const mine = ours[name as keyof typeof ours];
      assert.ok(Math.abs(mine.value - theirs.value) < 1e-12, name);
      // The ends of two bootstraps of 20,000 differ by some hundredths of the width, and by an item more, which is the step of a share.
      const tolerance = 0.03 * (theirs.high - theirs.low) + 1 / first.length;
      assert.ok(
        Math.abs(mine.low - theirs.low) < tolerance && Math.abs(mine.high - theirs.high) < tolerance,
        `${name}: ${JSON.stringify(mine)}`,
      );
    }
  });

  test("the same seed draws the same interval, another seed another one", () => {
    const draw = (seed: number): Estimate => bootstrapInterval(fixture.first, { resamples: 500, seed });
    assert.deepEqual(draw(1), draw(1));
    assert.notDeepEqual(draw(1), draw(2));
  });

  test("both tests of a clear difference agree that it is clear, and of none that there is none", () => {
    const { first, second } = fixture;
    const exact = compareValues(first, second);
    assert.equal(exact.test, "mcnemar-exact");
    assert.equal(
      exact.onlySecond! - exact.onlyFirst!,
      second.reduce((sum, one, i) => sum + one - first[i]!, 0),
    );
    const drawn = compareValues(first, second, { test: "paired-bootstrap" });
    assert.ok(Math.abs(exact.p - drawn.p) < 0.05, `${exact.p} and ${drawn.p}`);
    const same = compareValues(first, first);
    assert.deepEqual([same.p, same.difference.low, same.difference.high, same.onlyFirst], [1, 0, 0, 0]);
    assert.equal(compareValues(first, first, { test: "paired-bootstrap" }).p, 1);
  });
});
