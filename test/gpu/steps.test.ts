/** Steps of every objective on a device: the losses of the processor, whole and in micro-batches, with batches brought ahead or not. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Tensor, countWaits, ops, scope, zeros } from "../../src/torch/index.ts";
import { BatchFeed, trainStep } from "../../src/training/index.ts";
import { lossCurve, objectives, smallBatch, smallContext } from "../integration/small-training.ts";
import { assertNear } from "./assert-near.ts";
import { devices, standIn, unless } from "./devices.ts";

const steps = 6;

test("the stand-in refuses tensors of two devices", unless(standIn), () => {
  scope(() => {
    const there = zeros([2], { device: standIn.device });
    assert.equal(there.device, standIn.device);
    assert.throws(() => there.add(zeros([2])), /two devices/);
    assert.deepEqual(there.add(1).toArray(), [1, 1]);
  });
});

for (const tested of devices) {
  describe(`on ${tested.name}`, () => {
    test("what makes the program wait is counted, and nothing else", unless(tested), () => {
      scope(() => {
        const { device } = tested;
        const there = zeros([2], { device });
        const counted = (body: () => unknown): number => countWaits(device, body).waits;
        assert.equal(
          counted(() => there.add(1).sum()),
          0,
        );
        assert.equal(
          counted(() => there.sum().item()),
          1,
        );
        assert.equal(
          counted(() => there.toArray()),
          1,
        );
        assert.ok(counted(() => ops.nonzero(there)) > 0);
        const other = there.clone();
        assert.ok(counted(() => ops.equal(there, other)) > 0);
        assert.equal(
          counted(() => there.copyFrom(Float32Array.of(1, 2))),
          1,
        );
        assert.equal(
          counted(() => Tensor.from(Float32Array.of(1, 2), [2], { device })),
          0,
        );
      });
    });

    for (const name of Object.keys(objectives)) {
      test(`${name}: the losses of the processor`, unless(tested), () => {
        assertNear(lossCurve(name, steps, undefined, tested.device), lossCurve(name, steps), tested.close);
      });
      for (const microBatch of [undefined, 5]) {
        const whole = microBatch === undefined ? "whole" : "in micro-batches";
        test(`${name}, ${whole}: a step waits for the device once`, unless(tested), () => {
          const { settings, texts } = objectives[name]!;
          const context = { ...smallContext({ settings }, tested.device), microBatch };
          // The first step makes what later ones have.
          trainStep(context, smallBatch(0, texts), 5e-3, { measureGradient: true });
          const { waits } = countWaits(tested.device, () => trainStep(context, smallBatch(1, texts), 5e-3, { measureGradient: true }));
          assert.equal(waits, 1);
          context.dispose();
        });
      }
      test(`${name}, in micro-batches`, unless(tested), () => {
        assertNear(lossCurve(name, steps, 5, tested.device), lossCurve(name, steps), tested.close);
      });
    }

    test("batches brought ahead are the batches", unless(tested), async () => {
      const { settings, texts } = objectives["slip"]!;
      const { device } = tested;
      const losses = async (ahead: boolean, microBatch?: number): Promise<number[]> => {
        const source = {
          async *[Symbol.asyncIterator]() {
            for (let step = 0; step < steps; step++) yield await Promise.resolve(step as never);
          },
          close: async () => await Promise.resolve(),
        };
        const feed = new BatchFeed(source, { device, ahead, toInput: (step) => smallBatch(step as never, texts) });
        const context = { ...smallContext({ settings }, device), microBatch };
        const found: number[] = [];
        try {
          for (let fed = await feed.next(); typeof fed !== "string"; fed = await feed.next()) {
            assert.equal(fed.input.there !== undefined, ahead);
            found.push(trainStep({ ...context, meanwhile: () => feed.bringNext() }, fed.input, 5e-3).loss);
            feed.release(fed);
          }
        } finally {
          context.dispose();
          await feed.close();
        }
        return found;
      };
      const plain = await losses(false);
      assert.equal(plain.length, steps);
      assertNear(await losses(true), plain, tested.close / 100);
      assertNear(await losses(true, 5), await losses(false, 5), tested.close / 100);
    });
  });
}
