import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DataError, InterruptedError, UsageError } from "../../support/index.ts";
import { Tensor, measureMemory, memoryInfo, randn, scope } from "../../torch/index.ts";
import { retrieval } from "./index.ts";
import { rankBlocks } from "./retrieval-ranks.ts";

// The last test counts what is alive while it waits: nothing may be left to the collector, which may come meanwhile.
describe("retrieval", () => {
  test("a model that gives everything the same feature finds nothing", async () => {
    using same = Tensor.from(new Float32Array(40 * 4).fill(1), [40, 4]);
    const { metrics } = await retrieval(
      same,
      same,
      Int32Array.from({ length: 40 }, (_, i) => i),
    );
    assert.equal(metrics["image_retrieval_recall@10"], 0);
    assert.equal(metrics["text_retrieval_median_rank"], 40);
  });

  test("an image has found its texts when one of them is among the first", async () => {
    using images = Tensor.from(Float32Array.from([1, 0, 0, 1]), [2, 2]);
    using texts = Tensor.from(Float32Array.from([0, 1, 1, 0.1, 0.1, 1]), [3, 2]);
    const { metrics, ranks } = await retrieval(images, texts, Int32Array.from([0, 0, 1]), { recalls: [1, 2] });
    assert.deepEqual([...ranks.ofImages], [1, 2], "text 0, which is image 1 itself, comes before text 2");
    assert.deepEqual([...ranks.ofTexts], [2, 1, 1]);
    assert.equal(metrics["text_retrieval_recall@1"], 0.5);
    assert.equal(metrics["image_retrieval_recall@1"], 2 / 3);
  });

  test("wrong owners, features that are no numbers and recall at no place are refused", async () => {
    using images = randn([3, 2]);
    using texts = randn([4, 2]);
    using noNumbers = scope(() => randn([4, 2]).mul(NaN));
    await assert.rejects(retrieval(images, texts, Int32Array.from([0, 1, 2, 3])), DataError);
    await assert.rejects(retrieval(images, noNumbers, Int32Array.from([0, 1, 2, 2])), DataError);
    await assert.rejects(retrieval(images, texts, Int32Array.from([0, 1, 2, 2]), { recalls: [0] }), UsageError);
  });

  test("memory is that of the features and of one block, not of all similarities", () => {
    const run = (images: number, texts: number): void =>
      scope(() => {
        const owners = Int32Array.from({ length: texts }, (_, text) => text % images);
        const blocks = rankBlocks(randn([images, 16]), randn([texts, 16]), owners, { images: 512, texts: 2048 });
        while (!blocks.next().done);
      });
    const { live } = memoryInfo();
    const { peak } = measureMemory(() => run(3000, 30_000));
    const similarities = 4 * 3000 * 30_000;
    // Features and their copies take 10 MB, a block with its comparisons as much again.
    assert.ok(peak < similarities / 8, `${peak} bytes at a time, all similarities would be ${similarities}`);
    assert.ok(memoryInfo().live <= live);
  });

  test("is stopped between two blocks, and leaves nothing behind", async () => {
    const [images, texts] = [randn([400, 4]), randn([400, 4])];
    const owners = Int32Array.from({ length: 400 }, (_, i) => i);
    const { live } = memoryInfo();
    const stop = new AbortController();
    const found = retrieval(images, texts, owners, { images: 1, texts: 1, signal: stop.signal });
    setImmediate(() => stop.abort());
    await assert.rejects(found, InterruptedError);
    assert.equal(memoryInfo().live, live);
  });
});
