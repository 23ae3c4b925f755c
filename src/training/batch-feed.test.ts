/** Batches through the feed: in order, ahead where the step leaves time, and errors where they belong. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Batch } from "../data/index.ts";
import { emptyColourLists, setColourList } from "../images/index.ts";
import { type Clip, imagenetPreprocessing } from "../models/index.ts";
import { memoryInfo } from "../torch/index.ts";
import { BatchFeed } from "./batch-feed.ts";
import type { StepContext } from "./step.ts";
import { towerFeatures } from "./tower-features.ts";
import type { BatchSource } from "./train-options.ts";

/** Batches of one image of 2 x 2 pixels, all of the number of their step. */
function source(steps: number, failAt = Infinity): BatchSource & { closed: boolean } {
  return {
    closed: false,
    async *[Symbol.asyncIterator]() {
      for (let step = 0; step < steps; step++) {
        if (step === failAt) throw new Error(`step ${step}`);
        yield await Promise.resolve({ step, images: new Uint8Array(12).fill(step), ids: ["a"] } as unknown as Batch);
      }
    },
    async close() {
      this.closed = true;
      await Promise.resolve();
    },
  };
}

const toInput = ({ images }: Batch) => ({ images, tokens: Int32Array.of(1, 2), batchSize: 1, tokenLength: 2 });

describe("BatchFeed", () => {
  for (const ahead of [false, true]) {
    test(`gives every batch once, in order, and frees what it brought, ${ahead ? "ahead" : "as they come"}`, async () => {
      const before = memoryInfo().live;
      const batches = source(5);
      const feed = new BatchFeed(batches, { device: "cpu", toInput, ahead });
      for (let step = 0; step < 5; step++) {
        const fed = await feed.next();
        assert.ok(typeof fed === "object");
        assert.equal(fed.batch.step, step);
        assert.deepEqual(fed.input.there?.images.toArray(), ahead ? Array.from({ length: 12 }, () => step) : undefined);
        // Two of three steps leave time for the next.
        if (step % 3 !== 2) feed.bringNext();
        feed.release(fed);
      }
      assert.equal(await feed.next(), "ended");
      await feed.close();
      assert.ok(batches.closed);
      assert.equal(memoryInfo().live, before);
    });
  }

  for (const ahead of [false, true]) {
    test(`changes the colours that were left to it, ${ahead ? "ahead" : "as they come"}; a step refuses a batch that it did not bring`, async () => {
      const [views, viewColours] = [Uint8Array.of(100, 50, 0, 9, 8, 7), emptyColourLists(2)];
      setColourList(viewColours, 0, [{ kind: "brightness", amount: 2 }]);
      const left = (batch: Batch) => ({ ...toInput(batch), images: Uint8Array.of(1, 2, 3), views, viewColours });
      const feed = new BatchFeed(source(1), { device: "cpu", toInput: left, ahead });
      const fed = await feed.next();
      assert.ok(typeof fed === "object");
      assert.deepEqual(fed.input.there?.views?.toArray(), [200, 100, 0, 9, 8, 7]);
      assert.deepEqual([...views], [100, 50, 0, 9, 8, 7]);
      const { there, ...here } = fed.input;
      const model = { config: { vision: { imageSize: 1 } } } as unknown as Clip;
      const context = { model, preprocessing: imagenetPreprocessing, precision: "fp32", device: "cpu" } as StepContext;
      assert.ok(there);
      assert.throws(() => towerFeatures(context, here), /colours of views are still to be changed/u);
      feed.release(fed);
      await feed.close();
    });
  }

  test("an error comes in the place of its batch, also where that was asked for ahead", async () => {
    const feed = new BatchFeed(source(5, 2), { device: "cpu", toInput, ahead: true });
    for (let step = 0; step < 2; step++) {
      const fed = await feed.next();
      assert.ok(typeof fed === "object" && fed.batch.step === step);
      feed.bringNext();
      feed.release(fed);
    }
    await assert.rejects(feed.next(), /step 2/);
    await feed.close();
  });

  test("an abort does not wait for a source that hangs", async () => {
    const hanging: BatchSource = {
      [Symbol.asyncIterator]: () => ({ next: async () => await new Promise<never>(() => {}) }),
      close: async () => await Promise.resolve(),
    };
    const feed = new BatchFeed(hanging, { device: "cpu", toInput, ahead: true });
    const stopping = new AbortController();
    const asked = feed.next(stopping.signal);
    stopping.abort();
    assert.equal(await asked, "aborted");
    await feed.close();
  });

  test("what was brought and not taken is freed at the end", async () => {
    const before = memoryInfo().live;
    const feed = new BatchFeed(source(3), { device: "cpu", toInput, ahead: true });
    const fed = await feed.next();
    assert.ok(typeof fed === "object");
    feed.bringNext();
    feed.release(fed);
    assert.ok(memoryInfo().live > before);
    await feed.close();
    assert.equal(memoryInfo().live, before);
  });
});
