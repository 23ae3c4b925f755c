import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { lineSearch } from "./line-search.ts";

type Curve = (x: number) => { value: number; slope: number };

/** Checks both conditions of Wolfe from outside. */
function check(curve: Curve, options: { slope?: number; first?: number }): number {
  const start = curve(0);
  const found = lineSearch(curve, start, options);
  assert.ok(found);
  assert.ok(found.value <= start.value + 1e-4 * found.step * start.slope, "it falls by what was promised");
  assert.ok(Math.abs(found.slope) <= (options.slope ?? 0.9) * Math.abs(start.slope), "it is flatter");
  return found.step;
}

describe("line search", () => {
  const parabola =
    (minimum: number): Curve =>
    (x) => ({ value: (x - minimum) ** 2, slope: 2 * (x - minimum) });

  test("steps that are much too short or too long are mended", () => {
    for (const minimum of [1e-6, 0.01, 1, 300, 1e5]) {
      const step = check(parabola(minimum), { slope: 0.01 });
      assert.ok(Math.abs(step - minimum) <= 0.01 * minimum);
    }
  });

  test("curves that turn, flatten out or have several valleys", () => {
    check((x) => ({ value: Math.exp(-x) + x / 50, slope: -Math.exp(-x) + 1 / 50 }), { slope: 0.1 });
    check((x) => ({ value: -x / (x * x + 2), slope: (x * x - 2) / (x * x + 2) ** 2 }), { slope: 0.1 });
    check((x) => ({ value: Math.cos(3 * x) + 0.1 * x * x - x, slope: -3 * Math.sin(3 * x) + 0.2 * x - 1 }), { slope: 0.5, first: 7 });
    check((x) => (x > 4 ? { value: NaN, slope: NaN } : parabola(3)(x)), { slope: 0.1, first: 64 });
  });

  test("a curve that only rises gives nothing; one that only falls, its last step", () => {
    assert.equal(
      lineSearch((x) => ({ value: x, slope: 1 }), { value: 0, slope: -1 }, { evaluations: 30 }),
      undefined,
    );
    const found = lineSearch((x) => ({ value: -x, slope: -1 }), { value: 0, slope: -1 }, { evaluations: 5 });
    assert.equal(found?.step, 16);
  });
});
