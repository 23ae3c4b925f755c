/** The learning rate at the places where schedules go wrong: first, last, and where warm-up meets cosine. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type WarmupCosineOptions, warmupCosine } from "./schedules.ts";

const base: WarmupCosineOptions = { peak: 1e-3, start: 1e-6, end: 1e-5, warmupSteps: 4, totalSteps: 20 };
const near = (actual: number, expected: number): void => assert.ok(Math.abs(actual - expected) < 1e-15, `${actual}, expected ${expected}`);

test("warm-up takes both ends, the cosine begins at the peak and comes down to just above its end", () => {
  const rate = warmupCosine(base);
  near(rate(0), 1e-6);
  near(rate(1), 1e-6 + (1e-3 - 1e-6) / 3);
  near(rate(3), 1e-3);
  near(rate(4), 1e-3);
  near(rate(12), 1e-5 + (1e-3 - 1e-5) / 2);
  near(rate(19), 1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + Math.cos((15 * Math.PI) / 16)));
  for (let step = 5; step < 20; step++) assert.ok(rate(step) < rate(step - 1));
});

test("after the end it stays at the end", () => {
  const rate = warmupCosine(base);
  near(rate(20), 1e-5);
  near(rate(1000), 1e-5);
});

test("no warm-up, a warm-up of one step, and nothing but warm-up", () => {
  const none = warmupCosine({ ...base, warmupSteps: 0 });
  near(none(0), 1e-3);
  assert.ok(none(1) < 1e-3);

  const one = warmupCosine({ ...base, warmupSteps: 1 });
  near(one(0), 1e-6); // as LaCLIP's linspace with one point
  near(one(1), 1e-3);

  const all = warmupCosine({ ...base, warmupSteps: 20 });
  near(all(0), 1e-6);
  near(all(19), 1e-3);
  assert.ok(Number.isFinite(all(20)));
});

test("a schedule has no state: any step at any time gives the same", () => {
  const rate = warmupCosine(base);
  const forward = Array.from({ length: 20 }, (_, step) => rate(step));
  const backward = Array.from({ length: 20 }, (_, step) => rate(19 - step)).toReversed();
  assert.deepEqual(backward, forward);
});

test("a warm-up that is longer than the training, negative or no whole number is refused", () => {
  for (const warmupSteps of [21, -1, NaN, 2.5]) {
    assert.throws(() => warmupCosine({ ...base, warmupSteps }), { name: "UsageError", message: /0 to 20/ });
  }
});
