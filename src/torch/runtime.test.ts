/** Seeds, generator state, threads, and what the library says of itself. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { scope } from "./handle.ts";
import { defaultThreads } from "./native.ts";
import { manualSeed, memoryInfo, randomState, setRandomState, setThreads, threads, torchInfo } from "./runtime.ts";
import * as ops from "./operators.generated.ts";
import { randn, tensor, zeros } from "./tensor.ts";

describe("random numbers", () => {
  const draw = (): number[] => scope(() => [...randn([5]).toArray(), ...ops.uniform_(zeros([3])).toArray()]);

  test("a seed gives the same numbers again, another seed others", () => {
    manualSeed(7);
    const first = draw();
    const second = draw();
    manualSeed(7);
    assert.deepEqual(draw(), first);
    assert.deepEqual(draw(), second);
    manualSeed(8);
    assert.notDeepEqual(draw(), first);
  });

  test("the state can be taken and put back, in the middle of everything", () => {
    manualSeed(3);
    draw();
    scope(() => {
      const state = randomState();
      assert.equal(state.dtype, "uint8");
      const expected = draw();
      draw();
      setRandomState(state);
      assert.deepEqual(draw(), expected);
      const bytes = state.toTypedArray();
      manualSeed(99);
      setRandomState(tensor(Array.from(bytes, Number), { dtype: "uint8" }));
      assert.deepEqual(draw(), expected);
    });
  });

  test("what is no seed or no state is refused and changes nothing", () => {
    manualSeed(3);
    const expected = draw();
    manualSeed(3);
    for (const seed of [0.5, NaN, Infinity, 1e300]) assert.throws(() => manualSeed(seed), { name: "NativeError", message: /whole number/ });
    assert.throws(() => setRandomState(zeros([3], { dtype: "uint8" })), { name: "NativeError" });
    assert.throws(() => setRandomState(zeros([5056])), { name: "NativeError" });
    assert.deepEqual(draw(), expected);
  });
});

describe("threads", () => {
  const before = threads();
  after(() => setThreads(before));

  test("can be set, and results do not depend on them", () => {
    scope(() => {
      const [a, b] = [randn([200, 300]), randn([300, 100])];
      setThreads(1);
      assert.equal(threads(), 1);
      const one = a.matmul(b);
      setThreads(2);
      assert.equal(threads(), 2);
      assert.ok(a.matmul(b).sub(one).abs().max().item() < 1e-3);
    });
    for (const count of [0, -1, 1.5, NaN, 5000]) assert.throws(() => setThreads(count), { name: "NativeError" });
    assert.equal(threads(), 2);
  });

  test("the environment decides the number at start", () => {
    const names = ["LACLIP_THREADS", "OMP_NUM_THREADS"];
    const saved = names.map((name) => [name, process.env[name]] as const);
    try {
      process.env["LACLIP_THREADS"] = "3";
      process.env["OMP_NUM_THREADS"] = "5";
      assert.equal(defaultThreads(), 3);
      process.env["LACLIP_THREADS"] = "";
      assert.equal(defaultThreads(), 5);
      process.env["OMP_NUM_THREADS"] = "4,2";
      assert.equal(defaultThreads(), 4);
      process.env["LACLIP_THREADS"] = "many";
      assert.throws(() => defaultThreads(), { name: "UsageError", message: /LACLIP_THREADS.*"many"/ });
    } finally {
      for (const [name, value] of saved) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  });
});

test("the library says what it is", () => {
  const info = torchInfo();
  assert.match(info.version, /^\d+\.\d+\.\d+/);
  assert.ok(info.configuration.length > 20 && info.parallel.length > 20);
  assert.equal(info.cudaDevices > 0, info.cuda && info.cudaDevices > 0);
  assert.ok(info.build.addon.endsWith("laclip_torch.node"));
  assert.equal(info.build.libtorch.version.split(".").slice(0, 2).join("."), info.version.split(".").slice(0, 2).join("."));
  assert.deepEqual(Object.keys(memoryInfo()).sort(), ["accountedBytes", "live"]);
});
