import assert from "node:assert/strict";
import { test } from "node:test";
import { formatBytes, formatDuration, gibibytes, percent, percentOf, points, shortPercent, signedPoints, thousands } from "./index.ts";

test("shares have as many decimals as is asked for", () => {
  assert.deepEqual([percent(0.0873), percent(0.1234, 2), percent(0.125, 0), percent(1)], ["8.7 %", "12.34 %", "13 %", "100.0 %"]);
  assert.deepEqual([percentOf(3, 40), percentOf(0, 0)], ["7.5 %", "0.0 %"]);
  assert.equal(points(0.4838), "48.4");
});

test("a short share has no zeros at its end, and none of the noise of binary fractions", () => {
  assert.deepEqual(
    [0, 0.5, 0.07, 0.29, 0.0125, 0.9975].map((share) => shortPercent(share)),
    ["0 %", "50 %", "7 %", "29 %", "1.25 %", "99.75 %"],
  );
  assert.deepEqual([shortPercent(0.000123, 2), shortPercent(0.99, 2)], ["0.012 %", "99 %"]);
});

test("a difference that rounds to nothing has no sign", () => {
  assert.deepEqual([0.012, -0.012, 0.0004, -0.0004, 0, -0].map(signedPoints), ["+1.2", "−1.2", "0.0", "0.0", "0.0", "0.0"]);
});

test("thousands stand apart", () => {
  assert.deepEqual([7, 1234567].map(thousands), ["7", "1,234,567"]);
});

test("bytes have the unit in which they are less than a thousand, also once they are rounded", () => {
  assert.deepEqual([0, 834, 999.6, 12_345, 99_949, 99_951, 999_499, 999_500, 1_234_567, 79.2e9, 5e12, 12_345e12].map(formatBytes), [
    "0 B",
    "834 B",
    "1.0 kB",
    "12.3 kB",
    "99.9 kB",
    "100 kB",
    "999 kB",
    "1.0 MB",
    "1.2 MB",
    "79.2 GB",
    "5.0 TB",
    "12345 TB",
  ]);
  assert.equal(formatBytes(-5), "0 B", "an estimate may fall below nothing");
  assert.equal(gibibytes(8 * 2 ** 30), "8.0");
});

test("durations read as people say them", () => {
  assert.deepEqual([4, 75, 3700, Infinity].map(formatDuration), ["4s", "1m15s", "1h01m", "?"]);
});
