/** Batches that come to a device beside its work: there when they are read, and their memory nobody else's before they were. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Tensor, native, noGrad, scope, zeros } from "../../src/torch/index.ts";
import { type TestedDevice, devices, gpu, standIn, unless } from "./devices.ts";

const rounds = 4;

/** How long a device has to work so that copies come meanwhile, and how much there is to copy: 128 MiB on a GPU. */
const sizes = (tested: TestedDevice) =>
  tested === gpu ? { side: 8192, products: 40, count: 2 ** 25 } : { side: 4, products: 1, count: 1000 };

for (const tested of devices) {
  const { device } = tested;
  describe(`uploads to ${tested.name}`, () => {
    for (const busy of [false, true]) {
      test(
        `values are right, and memory is taken anew at once, ${busy ? "behind long work" : "without other work"}`,
        unless(tested),
        () => {
          const { side, products, count } = sizes(tested);
          const arrays = Array.from({ length: rounds }, (_, round) => new Float32Array(count).fill(round + 1));
          noGrad(() =>
            scope(() => {
              let work = zeros([side, side], { device });
              const wrong: Tensor[] = [];
              if (busy) for (let i = 0; i < products; i++) work = work.matmul(work);
              for (const [round, array] of arrays.entries()) {
                scope(() => {
                  const there = Tensor.from(array, [count], { device, ahead: true });
                  wrong.push(
                    there
                      .sub(round + 1)
                      .abs()
                      .max()
                      .keep(),
                  );
                });
              }
              // Not before: a round that was waited for would hide that nobody else waits for it.
              assert.deepEqual(
                wrong.map((found) => found.item()),
                arrays.map(() => 0),
              );
              for (const found of wrong) found.dispose();
            }),
          );
        },
      );
    }
  });
}

test("on the stand-in, only what comes ahead is copied aside", unless(standIn), () => {
  const { device } = standIn;
  const aside = (ahead: boolean): number => {
    const before = native().standInWorksAside();
    scope(() => Tensor.from(Float32Array.of(1, 2), [2], { device, ahead }));
    return native().standInWorksAside() - before;
  };
  assert.equal(aside(false), 0);
  assert.equal(aside(true), 1);
});
