/** What libtorch's profiler says of operators. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { scope } from "./handle.ts";
import * as ops from "./operators.generated.ts";
import { type ProfileEvent, startProfile } from "./profiler.ts";
import { randn } from "./tensor.ts";

test("operators and their gradients are recorded with their times, one within the other", () => {
  scope(() => {
    const x = randn([64, 64]).setRequiresGrad();
    const end = startProfile("cpu");
    ops.gelu(x.matmul(x)).sum().backward();
    const { events, seconds } = end();
    const named = (name: string): ProfileEvent => {
      const found = events.find((event) => event.name === name);
      assert.ok(found, `${name} in ${events.map((event) => event.name).join(", ")}`);
      return found;
    };
    const [around, inside, back] = [named("aten::matmul"), named("aten::mm"), named("aten::gelu_backward")];
    assert.ok(around.start <= inside.start && inside.start + inside.duration <= around.start + around.duration + 1);
    assert.ok(back.start > around.start + around.duration, "the way back comes later");
    assert.equal(Math.min(...events.map(({ start }) => start)), 0);
    assert.ok(events.every(({ onDevice, start, duration }) => !onDevice && duration >= 0 && start + duration <= 1e6 * seconds + 1));
  });
});

test("nothing is recorded before and after, and one profile at a time", () => {
  scope(() => {
    randn([2, 2]).exp();
    const end = startProfile("cpu");
    assert.throws(() => startProfile("cpu"), { name: "NativeError", message: /a profile is being recorded already/ });
    randn([2, 2]).sigmoid();
    const names = end().events.map(({ name }) => name);
    assert.ok(names.includes("aten::sigmoid"));
    assert.ok(!names.includes("aten::exp"));
    assert.throws(end, { name: "NativeError", message: /no profile is being recorded by this thread/ });
    const again = startProfile("cpu");
    randn([2, 2]).exp();
    assert.ok(again().events.some(({ name }) => name === "aten::exp"));
  });
});
