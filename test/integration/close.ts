/** Numbers that are equal up to rounding, on the scale of the largest of them. */
import assert from "node:assert/strict";

/**
 * @param tolerance largest difference, as a share of the largest number. Default 1e-5.
 * @param smallest scale to measure by, for numbers that would be zero but for rounding. Default 0.
 */
export function assertClose(got: readonly number[], expected: readonly number[], label: string, tolerance = 1e-5, smallest = 0): void {
  assert.equal(got.length, expected.length, `${label}: numbers`);
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), smallest);
  got.forEach((value, i) => {
    const difference = Math.abs(value - expected[i]!);
    assert.ok(difference <= tolerance * scale, `${label}[${i}]: ${value}, expected ${expected[i]} (scale ${scale})`);
  });
}
