/** How long tensors live: scopes, disposal, and handles that no longer, not yet or never meant a tensor. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DisposedError, scope } from "./handle.ts";
import { native } from "./native.ts";
import { memoryInfo } from "./runtime.ts";
import { Tensor, ones, tensor, zeros } from "./tensor.ts";

const live = () => memoryInfo().live;

describe("scopes", () => {
  test("free everything but the result, which the scope around takes over", () => {
    const before = live();
    let inner: Tensor | undefined;
    let middle: Tensor | undefined;
    const result = scope(() => {
      middle = scope(() => {
        inner = ones([2]);
        return inner.add(1).mul(3);
      });
      assert.equal(inner!.disposed, true);
      assert.equal(live(), before + 1);
      return middle.sub(1);
    });
    assert.equal(middle!.disposed, true);
    assert.equal(live(), before + 1);
    assert.deepEqual(result.toArray(), [5, 5]);
    result.dispose();
    assert.equal(live(), before);
  });

  test("results may lie in arrays, Maps and plain objects, deep inside", () => {
    const before = live();
    const result = scope(() => {
      ones([9]);
      return { list: [ones([1]), [ones([1])]], map: new Map([["a", { b: ones([1]) }]]), number: 3, nothing: null };
    });
    assert.equal(live(), before + 3);
    const tensors = [result.list[0] as Tensor, (result.list[1] as Tensor[])[0]!, result.map.get("a")!.b];
    for (const one of tensors) {
      assert.deepEqual(one.toArray(), [1]);
      one.dispose();
    }
    assert.equal(live(), before);
  });

  test("a body that throws loses its tensors and keeps its error", () => {
    const before = live();
    assert.throws(
      () =>
        scope(() => {
          ones([2]);
          scope(() => {
            zeros([2]);
            throw new RangeError("mine");
          });
        }),
      new RangeError("mine"),
    );
    assert.equal(live(), before);
    const after = scope(() => ones([1]));
    assert.equal(live(), before + 1);
    after.dispose();
  });

  test("a tensor of an outer scope stays what it is, also when an inner one returns it", () => {
    scope(() => {
      const outer = ones([1]);
      const same = scope(() => outer);
      assert.equal(same, outer);
      assert.equal(outer.disposed, false);
      scope(() => void outer.add_(1));
      assert.deepEqual(outer.toArray(), [2]);
    });
  });

  test("keep() takes a tensor out of all scopes until it is disposed of", () => {
    const before = memoryInfo();
    const kept = scope(() => scope(() => ones([4]).keep().keep()));
    assert.deepEqual(kept.toArray(), [1, 1, 1, 1]);
    assert.deepEqual(memoryInfo(), { live: before.live + 1, accountedBytes: before.accountedBytes + 16 });
    kept.dispose();
    assert.deepEqual(memoryInfo(), before);
  });

  test("an asynchronous body is refused, and its tensors are freed", async () => {
    const before = live();
    assert.throws(
      () =>
        scope(async () => {
          ones([2]);
          await Promise.resolve();
        }),
      { name: "UsageError", message: /asynchronous/ },
    );
    assert.equal(live(), before);
    await new Promise(setImmediate);
    assert.equal(live(), before);
  });

  test("10,000 tensors in one scope", () => {
    const before = live();
    const sum = scope(() => {
      let total = zeros([]);
      for (let i = 0; i < 10000; i++) total = total.add(1);
      assert.ok(live() > before + 10000);
      return total.item();
    });
    assert.equal(sum, 10000);
    assert.equal(live(), before);
  });
});

describe("disposal", () => {
  test("a disposed tensor refuses everything with advice, and disposing twice is harmless", () => {
    const gone = ones([2]);
    gone.dispose();
    gone.dispose();
    assert.equal(gone.disposed, true);
    for (const use of [
      () => gone.shape,
      () => gone.add(1),
      () => ones([2]).add(gone),
      () => gone.toArray(),
      () => gone.keep(),
      () => gone.grad,
      () => gone.backward(),
      () => tensor([1, 2]).copy_(gone),
    ]) {
      assert.throws(use, (error: DisposedError) => error instanceof DisposedError && /keep\(\)/.test(error.mend ?? ""));
    }
  });

  test("using disposes at the end of the block", () => {
    const before = live();
    let seen: Tensor;
    {
      using held = ones([2]);
      seen = held;
      assert.equal(live(), before + 1);
    }
    assert.equal(seen.disposed, true);
    assert.equal(live(), before);
  });

  test("a view keeps the memory of what it looks at", () => {
    scope(() => {
      const base = tensor([1, 2, 3]);
      const view = base.slice(0, 1);
      base.dispose();
      assert.deepEqual(view.toArray(), [2, 3]);
    });
  });
});

describe("handles that mean no tensor", () => {
  test("the handle of a disposed tensor does not reach the one that has its place now", () => {
    const first = ones([1]);
    const stale = first.handle;
    first.dispose();
    const second = Tensor.from(Float32Array.of(5), [1]);
    const slots = 2 ** 24;
    assert.equal(second.handle % slots, stale % slots, "the slot is used again, or this test shows nothing");
    assert.notEqual(second.handle, stale);
    for (const use of [() => native().shape(stale), () => native().release(stale), () => native().toBytes(stale)]) {
      assert.throws(use, /disposed of/);
    }
    assert.deepEqual(second.toArray(), [5]);
    second.dispose();
  });

  test("numbers that were made up are refused everywhere", () => {
    const real = ones([1]);
    const invented = [
      0,
      1,
      -1,
      2 ** 24,
      2 ** 24 + 5,
      2 ** 52 + 1,
      2 ** 53,
      real.handle + 1,
      real.handle + 0.5,
      -real.handle,
      NaN,
      Infinity,
      -Infinity,
      1e300,
    ];
    const others = ["1", null, undefined, {}, true, 5n];
    const before = live();
    for (const handle of [...invented, ...others] as number[]) {
      for (const use of [
        () => native().shape(handle),
        () => native().dtype(handle),
        () => native().item(handle),
        () => native().toBytes(handle),
        () => native().release(handle),
        () => native().account(handle),
        () => native().gradient(handle),
        () => native().backward([handle], undefined),
        () => native().isSame(real.handle, handle),
        () => native().setGradient(real.handle, handle === undefined ? 1 : handle),
        () => native().adamwStep([handle], [handle], [handle], 1, 0.1, 0.9, 0.99, 1e-8, 0),
        () => native().adamwStepOnDevice([real.handle], [real.handle], [real.handle], [handle, handle], 0.9, 0.99, 1e-8, 0),
      ]) {
        assert.throws(use, { code: "LACLIP_NATIVE" }, `${String(handle)} in ${use.toString()}`);
      }
    }
    assert.throws(() => native().releaseMany(Float64Array.of(1), 1), { code: "LACLIP_NATIVE" });
    assert.throws(() => native().releaseMany(Float64Array.of(real.handle), 2), { code: "LACLIP_NATIVE" });
    assert.equal(live(), before);
    assert.deepEqual(real.toArray(), [1]);
    real.dispose();
  });

  test("functions of the addon refuse missing and mistaken arguments", () => {
    const addon = native() as unknown as Record<string, (...args: unknown[]) => unknown>;
    const reads = [
      "schemas",
      "threads",
      "gradMode",
      "libraryInfo",
      "memoryInfo",
      "distributedBackends",
      "tf32",
      "gpuProblem",
      "standInDevice",
      "standInWorksAside",
      "kernelCompilations",
    ];
    const withoutArguments = new Set([...reads, "clearAutocastCache", "startMemoryMeasure", "endMemoryMeasure"]);
    for (const [name, call] of Object.entries(addon)) {
      if (withoutArguments.has(name)) continue;
      assert.throws(() => call(), { code: "LACLIP_NATIVE" }, `${name}()`);
      assert.throws(() => call({}, {}, {}, {}, {}, {}, {}, {}, {}), { code: "LACLIP_NATIVE" }, `${name}({}, ...)`);
    }
  });
});
