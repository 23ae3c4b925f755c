/** The guard on sequences whose verdicts are known. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Random } from "../support/index.ts";
import { StepGuard, type Verdict } from "./step-guard.ts";

/** Steps of a run that goes well: loss 3, norm 1, both with noise of 0.1. */
function quiet(count: number): { loss: number; gradientNorm: number }[] {
  const random = Random.of("guard");
  return Array.from({ length: count }, () => ({ loss: 3 + 0.1 * random.uniform(), gradientNorm: 1 + 0.1 * random.uniform() }));
}

describe("the guard", () => {
  test("lets a quiet run be, finds a jump of loss or norm, and nothing in a fall", () => {
    const guard = new StepGuard({ spikes: true });
    const verdicts = new Set<Verdict>(quiet(400).map((step) => guard.judge(step)));
    assert.deepEqual([...verdicts], ["update"]);
    assert.equal(guard.judge({ loss: 3.6, gradientNorm: 1 }), "spike");
    assert.equal(guard.judge({ loss: 3, gradientNorm: 1.6 }), "spike");
    assert.equal(guard.judge({ loss: 0.1, gradientNorm: 0.1 }), "update");
    assert.equal(guard.skipped, 2);
  });

  test("takes nothing for a jump before it has seen 128 steps, nor when it is not to look", () => {
    const young = new StepGuard({ spikes: true });
    for (const step of quiet(127)) young.judge(step);
    assert.equal(young.judge({ loss: 100, gradientNorm: 100 }), "update");
    const off = new StepGuard({ spikes: false });
    for (const step of quiet(200)) off.judge(step);
    assert.equal(off.judge({ loss: 100, gradientNorm: 100 }), "update");
  });

  test("gets used to a loss that stays at another level", () => {
    const guard = new StepGuard({ spikes: true });
    for (const step of quiet(200)) guard.judge(step);
    const verdicts = Array.from({ length: 128 }, () => guard.judge({ loss: 5, gradientNorm: 1 }));
    assert.equal(verdicts[0], "spike");
    assert.equal(verdicts.at(-1), "update");
  });

  test("an overflow is left out and counted, and neither goes on nor ends a row of steps that are not finite", () => {
    const guard = new StepGuard({ spikes: true });
    const overflow = { loss: 3, gradientNorm: Infinity, overflow: true };
    assert.equal(guard.judge(overflow), "overflow");
    assert.deepEqual([guard.skipped, guard.notFinite], [1, 0]);
    assert.equal(guard.judge({ loss: NaN, gradientNorm: NaN }), "not finite");
    assert.equal(guard.judge(overflow), "overflow");
    assert.equal(guard.judge({ loss: NaN, gradientNorm: NaN }), "not finite");
    assert.deepEqual([guard.skipped, guard.notFinite], [4, 2]);
    assert.deepEqual(guard.state().gradientNorms, [], "nothing infinite enters the window");
  });

  test("counts what is not finite in a row, in loss or norm, and goes on from its state", () => {
    const guard = new StepGuard({ spikes: true });
    for (const step of quiet(150)) guard.judge(step);
    assert.equal(guard.judge({ loss: NaN, gradientNorm: 1 }), "not finite");
    assert.equal(guard.judge({ loss: 3, gradientNorm: Infinity }), "not finite");
    const resumed = new StepGuard({ spikes: true });
    resumed.restore(JSON.parse(JSON.stringify(guard.state())) as ReturnType<StepGuard["state"]>);
    assert.equal(resumed.notFinite, 2);
    for (const next of [{ loss: NaN, gradientNorm: NaN }, ...quiet(5), { loss: 4, gradientNorm: 1 }]) {
      assert.equal(resumed.judge(next), guard.judge(next));
    }
    assert.equal(resumed.notFinite, 0);
    assert.equal(resumed.skipped, 4);
    assert.deepEqual(resumed.state(), guard.state());
  });
});
