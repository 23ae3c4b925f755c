/** What a profile sees of a device: the kernels of a GPU, with the operators that they are of. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gelu, ones, randn, scope, startProfile } from "../../src/torch/index.ts";
import { profileTables, summarizeProfile } from "../../src/training/index.ts";
import { devices, gpu, unless } from "./devices.ts";

for (const tested of devices) {
  describe(`a profile on ${tested.name}`, () => {
    test("has what was done there", unless(tested), () => {
      const { device } = tested;
      scope(() => {
        const x = randn([256, 256]).to({ device }).setRequiresGrad();
        const step = (): void => scope(() => gelu(x.matmul(x)).sum().backward());
        step();
        const end = startProfile(device);
        step();
        const profile = end();
        const summary = summarizeProfile(profile, 1, 0);
        const kinds = summary.kinds.map(({ name }) => name);
        for (const kind of ["matrix products", "activations", "reductions"]) assert.ok(kinds.includes(kind), `${kind} in ${kinds.join()}`);
        assert.match(profileTables(summary), /matrix products/);
        assert.ok(summary.busy > 0 && summary.busy <= summary.seconds);
        assert.equal(summary.of, tested === gpu ? "GPU" : "processor");
        if (tested !== gpu) return;
        const product = profile.events.find(({ onDevice, operator }) => onDevice && operator === "aten::mm");
        assert.ok(product !== undefined && product.duration > 0);
        assert.ok(profile.events.some(({ onDevice, name }) => onDevice && name.startsWith("activate_")));
      });
    });

    test("sees a copy from the processor's memory", unless(tested), () => {
      scope(() => {
        const host = ones([1 << 20]);
        const end = startProfile(tested.device);
        host.to({ device: tested.device });
        const { events } = end();
        assert.ok(events.some(({ name }) => name === "aten::copy_" || name === "aten::to"));
        if (tested === gpu) assert.ok(events.some(({ onDevice, name }) => onDevice && /memcpy/i.test(name)));
      });
    });
  });
}
