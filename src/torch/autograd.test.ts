/** Gradients and mixed precision. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { autocast, enableGrad, noGrad } from "./autograd.ts";
import { scope } from "./handle.ts";
import { native } from "./native.ts";
import * as ops from "./operators.generated.ts";
import { memoryInfo } from "./runtime.ts";
import { type Tensor, ones, randn, tensor, zeros } from "./tensor.ts";

const leaf = (values: number[]): Tensor => tensor(values).setRequiresGrad();

describe("gradients", () => {
  test("of functions whose derivatives are known", () => {
    scope(() => {
      const x = leaf([1, 2, -3]);
      x.pow(2).sum().backward();
      assert.deepEqual(x.grad!.toArray(), [2, 4, -6]);
      x.grad = undefined;
      x.mul(tensor([5, 6, 7]))
        .exp()
        .log()
        .sum()
        .backward();
      x.grad!.toArray().forEach((value, i) => assert.ok(Math.abs(value - [5, 6, 7][i]!) < 1e-5));
    });
  });

  test("of every input of a layer agree with differences", () => {
    scope(() => {
      const inputs = [randn([4, 3]), randn([2, 3]), randn([2])].map((input) => input.to("float64"));
      const leaves = inputs.map((input) => input.detach().setRequiresGrad());
      const value = ([x, w, b]: Tensor[]) =>
        ops
          .gelu(ops.linear(x!, w!, b))
          .pow(2)
          .mean();
      value(leaves).backward();
      inputs.forEach((input, i) => {
        const gradient = leaves[i]!.grad!.toArray();
        const flat = input.toTypedArray() as Float64Array;
        flat.forEach((original, j) => {
          const at = (shift: number): number => {
            flat[j] = original + shift;
            input.copyFrom(flat);
            return value(inputs).item();
          };
          const difference = (at(1e-5) - at(-1e-5)) / 2e-5;
          at(0);
          assert.ok(Math.abs(difference - gradient[j]!) < 1e-7, `input ${i}, element ${j}: ${difference}, ${gradient[j]}`);
        });
      });
    });
  });

  test("accumulate until they are dropped or set", () => {
    scope(() => {
      const x = leaf([1]);
      assert.equal(x.grad, undefined);
      x.mul(3).backward();
      x.mul(3).backward();
      assert.equal(x.grad!.item(), 6);
      x.grad = tensor([10]);
      x.mul(3).backward();
      assert.equal(x.grad.item(), 13);
      x.grad = undefined;
      assert.equal(x.grad, undefined);
    });
  });

  test("of something that is no scalar need a gradient of their own", () => {
    scope(() => {
      const x = leaf([1, 2]);
      const y = x.mul(x);
      assert.throws(() => y.backward(), { name: "NativeError", message: /scalar/ });
      y.backward(tensor([1, 10]));
      assert.deepEqual(x.grad!.toArray(), [2, 40]);
      assert.throws(() => x.mul(2).backward(tensor([1, 2, 3])), { name: "NativeError" });
    });
  });

  test("a second backward through a freed graph and one without a graph are errors", () => {
    scope(() => {
      const y = leaf([1, 2]).pow(2).sum();
      y.backward();
      assert.throws(() => y.backward(), { name: "NativeError", message: /second time/ });
      assert.throws(() => ones([]).backward(), { name: "NativeError", message: /require grad/ });
    });
  });

  test("a gradient of another shape or dtype can't be set: the optimiser would read past its end", () => {
    scope(() => {
      const x = leaf([1, 2, 3]);
      assert.throws(() => (x.grad = tensor([1])), { name: "NativeError", message: /shape.*\[3\].*\[1\]/ });
      assert.throws(() => (x.grad = tensor([1, 2, 3], { dtype: "int64" })), {
        name: "NativeError",
        message: /float32.*int64|int64.*float32/,
      });
      assert.equal(x.grad, undefined);
    });
  });

  test("a leaf changed in place after it was used is noticed", () => {
    scope(() => {
      const x = leaf([2]);
      const y = x.mul(x);
      noGrad(() => x.add_(1));
      assert.throws(() => y.backward(), { name: "NativeError", message: /modified by an inplace operation/ });
      assert.throws(() => x.add_(1), { name: "NativeError", message: /leaf/ });
    });
  });

  test("only floating tensors can have one", () => {
    scope(() => assert.throws(() => tensor([1], { dtype: "int64" }).setRequiresGrad(), { name: "NativeError", message: /float/i }));
  });
});

describe("grad mode", () => {
  test("noGrad records nothing, enableGrad inside does, and both are undone, also after an error", () => {
    scope(() => {
      const x = leaf([1]);
      noGrad(() => {
        assert.equal(x.mul(2).requiresGrad, false);
        assert.equal(enableGrad(() => x.mul(2)).requiresGrad, true);
        assert.equal(x.mul(2).requiresGrad, false);
        assert.throws(() => enableGrad(() => assert.fail("out")), /out/);
        assert.equal(native().gradMode(), false);
      });
      assert.throws(() => noGrad(() => assert.fail("out")), /out/);
      assert.equal(native().gradMode(), true);
      assert.equal(x.mul(2).requiresGrad, true);
      assert.equal(x.mul(2).detach().requiresGrad, false);
    });
  });

  test("asynchronous bodies are refused: what they do after their first await would run outside", () => {
    const asynchronous = { name: "UsageError", message: /asynchronous/ };
    assert.throws(() => noGrad(async () => {}), asynchronous);
    assert.throws(() => autocast("cpu", "bfloat16", async () => {}), asynchronous);
    assert.equal(native().gradMode(), true);
    scope(() => assert.equal(ones([2, 2]).matmul(ones([2, 2])).dtype, "float32"));
  });
});

describe("autocast", () => {
  test("matrix products in bfloat16, only inside, off again after an error", () => {
    scope(() => {
      const a = randn([4, 4]);
      assert.equal(autocast("cpu", "bfloat16", () => a.matmul(a)).dtype, "bfloat16");
      assert.equal(autocast("cpu", "bfloat16", () => a.add(a)).dtype, "float32");
      assert.equal(a.matmul(a).dtype, "float32");
      assert.throws(() => autocast("cpu", "bfloat16", () => assert.fail("out")), /out/);
      assert.equal(a.matmul(a).dtype, "float32");
      assert.throws(() => autocast("toaster", "bfloat16", () => 1), { name: "NativeError", message: /toaster/ });
      assert.equal(a.matmul(a).dtype, "float32");
    });
  });

  test("each step sees the weights of the step before, not autocast's copies of older ones", () => {
    scope(() => {
      const input = ones([1, 2]);
      const step = (weight: Tensor): number => autocast("cpu", "bfloat16", () => ops.linear(input, weight)).item();

      const weight = tensor([[1, 1]]).setRequiresGrad();
      const outputs: number[] = [];
      for (let i = 0; i < 3; i++) {
        outputs.push(step(weight));
        noGrad(() => weight.add_(1));
      }
      assert.deepEqual(outputs, [2, 4, 6]);

      // The trap is there: without the clearing, the second step would see the weight of the first.
      const trapped = tensor([[1, 1]]).setRequiresGrad();
      const careless = (): number => {
        native().setAutocast("cpu", "bfloat16");
        try {
          return ops.linear(input, trapped).item();
        } finally {
          native().setAutocast("cpu", undefined);
        }
      };
      try {
        careless();
        noGrad(() => trapped.add_(1));
        assert.equal(careless(), 2);
      } finally {
        native().clearAutocastCache();
      }
      assert.equal(step(trapped), 4);
    });
  });

  test("two training steps under autocast go down the slope", () => {
    scope(() => {
      const x = randn([16, 8]);
      const target = x.matmul(randn([8, 4]));
      const weight = zeros([4, 8]).setRequiresGrad();
      const losses: number[] = [];
      for (let i = 0; i < 3; i++) {
        scope(() => {
          const out = autocast("cpu", "bfloat16", () => ops.linear(x, weight));
          const loss = out.to("float32").sub(target).pow(2).mean();
          loss.backward();
          losses.push(loss.item());
          noGrad(() => weight.sub_(weight.grad!.mul(0.5)));
          weight.grad = undefined;
        });
      }
      assert.ok(losses[1]! < 0.95 * losses[0]! && losses[2]! < 0.95 * losses[1]!, losses.join(" "));
    });
  });

  test("leaves no tensors behind", () => {
    const before = memoryInfo().live;
    scope(() => {
      const weight = randn([8, 8]).setRequiresGrad();
      for (let i = 0; i < 5; i++)
        scope(() =>
          autocast("cpu", "bfloat16", () => weight.matmul(weight))
            .to("float32")
            .sum()
            .backward(),
        );
    });
    assert.equal(memoryInfo().live, before);
  });
});
