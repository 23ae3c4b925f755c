/** Products of float32 on a GPU, with TF32 and without: as far from those of float64 as mantissas of 10 and of 23 bits are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { manualSeed, native, noGrad, randn, scope, setTf32, tf32 } from "../../src/torch/index.ts";
import { distance } from "../parity/models/fixtures.ts";
import { gpu, unless } from "./devices.ts";

/** Why there is no TF32 to try; undefined where there is. */
function withoutTf32(): string | undefined {
  if (gpu.skip !== undefined) return gpu.skip;
  const { name, capability } = native().deviceProperties(gpu.device);
  return Number.parseFloat(capability) >= 8 ? undefined : `${name} has no TF32, which begins with compute capability 8.0`;
}

test("TF32 rounds products of float32 to about 1e-3, and without it they are exact to about 1e-6", unless({ skip: withoutTf32() }), () => {
  const before = tf32();
  manualSeed(1);
  try {
    noGrad(() =>
      scope(() => {
        const [a, b] = [randn([512, 512]), randn([512, 512])];
        const exact = a.to({ dtype: "float64" }).matmul(b.to({ dtype: "float64" }));
        const error = (on: boolean): number => {
          setTf32(on);
          assert.equal(tf32(), on);
          const found = a.to({ device: gpu.device }).matmul(b.to({ device: gpu.device }));
          return distance(found.to({ device: "cpu", dtype: "float64" }), exact);
        };
        const [without, with10Bits] = [error(false), error(true)];
        assert.ok(without < 3e-6, `without TF32, products are ${without} away`);
        assert.ok(with10Bits > 3e-5 && with10Bits < 3e-3, `with TF32, products are ${with10Bits} away`);
      }),
    );
  } finally {
    setTf32(before);
  }
});
