/** The losses of two runs of the same steps, which differ by rounding alone. */
import assert from "node:assert/strict";

/** @param close largest distance of a step, as a share of what is expected of it */
export function assertNear(found: readonly number[], expected: readonly number[], close: number): void {
  assert.ok(expected.length > 0, "no steps are expected");
  assert.equal(found.length, expected.length, "steps");
  found.forEach((loss, i) => {
    const distance = Math.abs(loss - expected[i]!) / Math.abs(expected[i]!);
    assert.ok(distance <= close, `step ${i + 1}: ${loss}, expected ${expected[i]}`);
  });
}
