/** Names of devices, and what they have. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { UsageError } from "../support/index.ts";
import { deviceMemory, deviceName, findDevice, resetPeakMemory, setDeterministic, synchronize } from "./device.ts";
import { scope } from "./handle.ts";
import { peakFlops, peakOfName } from "./peak-flops.ts";
import { readNumbers } from "./readback.ts";
import { torchInfo } from "./runtime.ts";
import { Tensor, full, tensor } from "./tensor.ts";

const gpus = torchInfo().cudaDevices;

describe("findDevice", () => {
  test("the processor is always there, and what is wanted without a GPU", () => {
    assert.equal(findDevice("cpu"), "cpu");
    assert.equal(findDevice("cpu", { localRank: 3 }), "cpu");
    assert.equal(findDevice(), gpus > 0 ? "cuda:0" : "cpu");
  });

  for (const name of ["gpu", "cuda:", "cuda:-1", "cpu:0", "auto:1", "CUDA", ""]) {
    test(`refuses "${name}"`, () => {
      assert.throws(
        () => findDevice(name, { from: "--device" }),
        (error: unknown) => error instanceof UsageError && /--device .*no such device/.test(error.message) && /cuda:1/.test(error.mend!),
      );
    });
  }

  test("of processes that train together, each takes a GPU of its own, and none is named", () => {
    assert.throws(
      () => findDevice("cuda:1", { localRank: 1, together: true, from: "--device" }),
      (error: unknown) => error instanceof UsageError && /--device cuda:1: .*same GPU/.test(error.message) && error.mend !== undefined,
    );
    assert.equal(findDevice("cpu", { localRank: 1, together: true }), "cpu");
  });

  test("a GPU that is not there is refused with the reason", () => {
    const beyond = gpus > 0 ? `cuda:${gpus}` : "cuda";
    assert.throws(
      () => findDevice(beyond, { from: "--device" }),
      (error: unknown) => error instanceof UsageError && error.message.startsWith(`--device ${beyond}: there `) && error.mend !== undefined,
    );
  });
});

test("the processor has no name, memory or peak of a GPU, and never has to be waited for", () => {
  assert.equal(deviceName("cpu"), undefined);
  assert.equal(deviceMemory("cpu"), undefined);
  assert.equal(peakFlops("cpu", "bfloat16"), undefined);
  resetPeakMemory("cpu");
  synchronize("cpu");
});

test("peaks by the names of drivers", () => {
  assert.equal(peakOfName("NVIDIA H200", "bfloat16"), 989e12);
  assert.equal(peakOfName("NVIDIA H100 PCIe", "bfloat16"), 756e12);
  assert.equal(peakOfName("NVIDIA A100-SXM4-80GB", "tf32"), 156e12);
  assert.equal(peakOfName("NVIDIA L40S", "float16"), 362e12);
  assert.equal(peakOfName("NVIDIA L4", "float16"), 121e12);
  assert.equal(peakOfName("Tesla V100-SXM2-16GB", "bfloat16"), undefined);
  assert.equal(peakOfName("Some other card", "float32"), undefined);
});

test("numbers come back as they are", () => {
  scope(() => assert.deepEqual(readNumbers([full([], 0.5), tensor([3]), full([1, 1], -2)]), [0.5, 3, -2]));
});

test("a tensor that is moved stays the same to whoever holds it, and is a leaf", () => {
  scope(() => {
    const x = tensor([1, 2]).setRequiresGrad();
    x.moveTo("cpu");
    assert.deepEqual([x.toArray(), x.requiresGrad, x.device], [[1, 2], true, "cpu"]);
    assert.throws(() => x.mul(2).moveTo("cpu"), /computed from/);
  });
});

test("an array may be changed as soon as it was given", () => {
  scope(() => {
    const array = Float32Array.of(1, 2);
    const x = Tensor.from(array, [2], { ahead: true });
    array.fill(0);
    assert.deepEqual(x.toArray(), [1, 2]);
  });
});

test("deterministic operators can be asked for and given up", () => {
  try {
    setDeterministic(true);
    scope(() => assert.equal(tensor([1, 2]).sum().item(), 3));
  } finally {
    setDeterministic(false);
  }
});
