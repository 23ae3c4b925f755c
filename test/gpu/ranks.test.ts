/** A group of a single rank: what it asks of NCCL on a GPU, and of Gloo on a processor. That several ranks agree is proven in test/integration. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { GradientReducer, type GroupOptions, ProcessGroup, distributedBackends } from "../../src/distributed/index.ts";
import { type Tensor, full, scope, tensor, zeros } from "../../src/torch/index.ts";
import { withoutGloo } from "../integration/start-ranks.ts";
import { gpu } from "./devices.ts";

const withoutNccl = distributedBackends().nccl ? false : "this build of the addon has no NCCL, which comes with a CUDA wheel of PyTorch";

const tested = [
  { backend: "nccl", device: gpu.device, skip: gpu.skip ?? withoutNccl },
  { backend: "gloo", device: "cpu", skip: withoutGloo() },
] as const;

/** Runs `body` as the one rank of a group, which is closed afterwards. */
function alone({ backend, device }: Required<Pick<GroupOptions, "backend" | "device">>, body: (group: ProcessGroup) => void): ProcessGroup {
  const folder = mkdtempSync(join(tmpdir(), "laclip-alone-"));
  const meeting = { kind: "file", path: join(folder, "meet") } as const;
  const place = { rank: 0, ranks: 1, localRank: 0, meeting, attempt: "0", from: "a test" };
  const group = ProcessGroup.open(place, { backend, device, meetingTimeout: 60, timeout: 60 });
  try {
    scope(() => body(group));
  } finally {
    group.close();
    rmSync(folder, { recursive: true });
  }
  return group;
}

for (const { backend, device, skip } of tested) {
  describe(`a group of one rank by ${backend} on ${device}`, { skip }, () => {
    test("sums, gathers, broadcasts and agrees, and is closed", () => {
      const group = alone({ backend, device }, (group) => {
        assert.deepEqual(group.sum_(tensor([1, 2], { device })).toArray(), [1, 2]);
        const all = group.gather(full([2, 3], 7, { device }));
        assert.deepEqual(all.toArray(), [7, 7, 7, 7, 7, 7]);
        group.broadcast([all]);
        assert.deepEqual(group.means([0.5, 3]), [0.5, 3]);
        assert.deepEqual([group.any(true), group.any(false)], [true, false]);
        assert.deepEqual(group.valueOfFirst({ text: "först" }), { text: "först" });
        group.checkEqual([all], "These");
      });
      assert.throws(() => group.any(false), /was closed/);
    });

    test("gradients flow through what was gathered", () => {
      alone({ backend, device }, (group) => {
        const x = tensor([1, 2, 3], { device }).setRequiresGrad();
        const gathered = group.gather(x);
        assert.deepEqual(gathered.toArray(), [1, 2, 3]);
        gathered.pow(2).sum().backward();
        assert.deepEqual(x.grad!.toArray(), [2, 4, 6]);
      });
    });

    for (const bytes of [1, 1e9]) {
      test(`gradients are reduced while the backward pass runs, in ${bytes === 1 ? "many buckets" : "one"}`, () => {
        alone({ backend, device }, (group) => {
          const layers = Array.from({ length: 4 }, (_, i) => full([32, 32], (i + 1) / 64, { device }).setRequiresGrad());
          const unused = zeros([5], { device }).setRequiresGrad();
          const pass = (): void =>
            layers
              .reduce<Tensor>((rows, layer) => rows.matmul(layer), full([8, 32], 1, { device }))
              .sum()
              .backward();
          const taken = (): number[][] => layers.map((layer) => layer.grad!.toArray());
          pass();
          const expected = taken();
          const reducer = new GradientReducer(group, [...layers, unused], bytes);
          // The second pass writes into the buckets of the first.
          for (let i = 0; i < 2; i++) {
            for (const layer of layers) layer.grad = undefined;
            reducer.arm();
            pass();
            reducer.finish();
            assert.deepEqual(taken(), expected);
            assert.equal(unused.grad, undefined);
            assert.equal(reducer.bytes, 4 * (4 * 32 * 32 + 5));
          }
          reducer.close();
        });
      });
    }
  });
}
