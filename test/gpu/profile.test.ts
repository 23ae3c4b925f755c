/** What a profile sees of a device: the kernels of a GPU, with the operators that they are of. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gelu, randn, scope, startProfile } from "../../src/torch/index.ts";
import { profileTables, summarizeProfile } from "../../src/training/index.ts";
import { devices, gpu, unless } from "./devices.ts";

for (const tested of devices) {
  describe(`a profile on ${tested.name}`, () => {
    // One profile in the process: some versions of CUDA's profiling library lose the first kernels of later ones.
    test("has what was done there, with the operators that it is of", unless(tested), () => {
      const { device } = tested;
      scope(() => {
        const host = randn([256, 256]);
        const step = (): void =>
          scope(() => {
            const x = host.to({ device }).setRequiresGrad();
            gelu(x.matmul(x)).sum().backward();
          });
        step();
        const end = startProfile(device);
        for (let i = 0; i < 3; i++) step();
        const profile = end();
        const summary = summarizeProfile(profile, 3, 0);
        const kinds = summary.kinds.map(({ name }) => name);
        for (const kind of ["matrix products", "activations", "reductions", "copies and casts"]) {
          assert.ok(kinds.includes(kind), `${kind} in ${kinds.join()}`);
        }
        assert.match(profileTables(summary), /matrix products/);
        assert.ok(summary.busy > 0 && summary.busy <= summary.seconds);
        assert.equal(summary.of, tested === gpu ? "GPU" : "processor");
        if (tested !== gpu) return;
        const there = profile.events.filter(({ onDevice }) => onDevice);
        assert.ok(there.some(({ operator, duration }) => operator === "aten::mm" && duration > 0));
        for (const name of [/^activate_/, /memcpy/i]) assert.ok(there.some((event) => name.test(event.name)));
      });
    });
  });
}
