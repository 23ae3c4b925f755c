/** What is computed again in the backward pass: the gradients, what it saves, and what must be as it was the first time. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { autocast, noGrad } from "./autograd.ts";
import { scope } from "./handle.ts";
import * as ops from "./operators.generated.ts";
import { recomputed } from "./recompute.ts";
import { manualSeed, measureMemory, memoryInfo } from "./runtime.ts";
import { type Tensor, randn, tensor } from "./tensor.ts";

const leaf = (shape: number[], seed: number): Tensor => {
  manualSeed(seed);
  return scope(() => randn(shape).mul(0.3)).setRequiresGrad();
};

/** Two layers with something to remember between them. */
const layers = (x: Tensor, first: Tensor, second: Tensor): Tensor => ops.gelu(ops.gelu(x.matmul(first)).matmul(second)).add(x);

describe("recomputed", () => {
  for (const narrow of [false, true]) {
    test(`gives the gradients of what was remembered${narrow ? ", under autocast too" : ""}`, () => {
      scope(() => {
        const [x, first, second] = [leaf([5, 8], 1), leaf([8, 16], 2), leaf([16, 8], 3)];
        const run = (again: boolean): number[][] =>
          scope(() => {
            // The parameters are used twice, and what comes of one use goes into the other.
            const body = (y: Tensor): Tensor => layers(y, first, second);
            const through = (y: Tensor): Tensor => (again ? recomputed(body, [y], [first, second]) : body(y));
            const twice = (): Tensor => through(through(x.mul(2)));
            const result = narrow ? autocast("cpu", "bfloat16", twice) : twice();
            result.pow(2).sum().backward();
            const found = [result, x.grad!, first.grad!, second.grad!].map((one) => one.toArray());
            for (const one of [x, first, second]) one.grad = undefined;
            return found;
          });
        const expected = run(false);
        run(true).forEach((values, i) => {
          if (!narrow) return assert.deepEqual(values, expected[i]);
          // Of a weight that is used twice, autocast's narrow copy is made twice: the gradients are added up in another precision.
          const length = Math.hypot(...expected[i]!);
          assert.ok(Math.hypot(...values.map((value, j) => value - expected[i]![j]!)) < 1e-2 * length);
        });
      });
    });
  }

  test("keeps inputs and results alone until the backward pass, and nothing after it", () => {
    scope(() => {
      const [x, first, second] = [leaf([64, 32], 1), leaf([32, 128], 2), leaf([128, 32], 3)];
      const before = memoryInfo().live;
      const blocks = 6;
      const forward = (again: boolean): Tensor => {
        let y: Tensor = x;
        for (let i = 0; i < blocks; i++) {
          const body = (z: Tensor): Tensor => layers(z, first, second);
          y = again ? recomputed(body, [y], [first, second]) : scope(() => body(y));
        }
        return y.sum();
      };
      const remembered = measureMemory(() => forward(false));
      const { result, kept } = measureMemory(() => forward(true));
      const block = 64 * 32 * 4;
      // Each block: its result, and the state of the random generator, of some 5 kB. The sum is one more number.
      assert.ok(kept >= blocks * block && kept < blocks * (block + 6000) + 1000, `${kept} bytes`);
      assert.ok(remembered.kept > 8 * blocks * block, `${remembered.kept} bytes`);
      const whole = measureMemory(() => remembered.result.backward()).peak + remembered.kept;
      const part = measureMemory(() => result.backward()).peak + kept;
      assert.ok(part < 0.5 * whole, `at most ${part} bytes at a time, ${whole} when all is remembered`);
      // What the blocks have made dies with the graph, and handles die in their scopes.
      assert.ok(memoryInfo().live - before <= 4 * blocks, `${memoryInfo().live - before} more tensors alive`);
    });
  });

  test("draws the same random numbers both times, and goes on behind them", () => {
    scope(() => {
      const x = leaf([1000], 1);
      const drawn: number[][] = [];
      const y = recomputed(
        (z) => {
          const noise = randn([1000]);
          drawn.push(noise.toArray());
          return z.mul(noise);
        },
        [x],
        [],
      );
      const next = randn([4]).toArray();
      manualSeed(7);
      y.sum().backward();
      assert.equal(drawn.length, 2);
      assert.deepEqual(drawn[1], drawn[0]);
      assert.deepEqual(x.grad!.toArray(), drawn[0]);
      assert.notDeepEqual(next, drawn[0]!.slice(0, 4));
      // The backward pass leaves the generator where it was.
      const after = randn([4]).toArray();
      manualSeed(7);
      assert.deepEqual(randn([4]).toArray(), after);
    });
  });

  test("just runs where nothing is to be learnt", () => {
    scope(() => {
      const x = leaf([3], 1);
      let runs = 0;
      const body = (y: Tensor): Tensor => (runs++, y.mul(2));
      assert.equal(noGrad(() => recomputed(body, [x], [])).requiresGrad, false);
      assert.equal(recomputed(body, [x.detach()], []).requiresGrad, false);
      // What only some of the inputs and parameters need is computed for these.
      const fixed = tensor([1, 2, 3]);
      const weight = leaf([3], 2);
      recomputed((y) => y.mul(weight), [fixed], [weight])
        .sum()
        .backward();
      assert.deepEqual(weight.grad!.toArray(), [1, 2, 3]);
      assert.equal(fixed.grad, undefined);
      assert.equal(runs, 2);
    });
  });

  test("an error of the second time is the error of the backward pass", () => {
    scope(() => {
      const x = leaf([3], 1);
      let runs = 0;
      const body = (y: Tensor): Tensor => {
        if (runs++ > 0) throw new RangeError("not again");
        return y.mul(2);
      };
      const { live } = memoryInfo();
      assert.throws(() => scope(() => recomputed(body, [x], []).sum().backward()), { name: "RangeError", message: "not again" });
      assert.equal(memoryInfo().live, live);
      const shapes = [3, 2];
      const other = recomputed((y) => y.slice(0, 0, shapes.shift()), [x], []);
      assert.throws(() => other.backward(tensor([1, 1, 1])), { name: "NativeError", message: /another shape the second time/ });
      const twice = recomputed((y) => y.mul(2), [x], []);
      twice.sum().backward();
      assert.throws(() => twice.sum().backward(), { name: "NativeError", message: /second backward pass/ });
    });
  });
});

test("memory of tensors is measured: what stays, and the most at a time", () => {
  scope(() => {
    const { result, kept, peak } = measureMemory(() => scope(() => randn([1000]).neg()));
    assert.equal(result.size, 1000);
    assert.deepEqual([kept, peak], [4000, 8000]);
    assert.throws(() => measureMemory(() => measureMemory(() => 1)), { name: "NativeError", message: /measured already/ });
    assert.equal(measureMemory(() => 1).peak, 0);
  });
});
