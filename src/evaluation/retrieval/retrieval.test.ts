import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DataError, UsageError } from "../../support/index.ts";
import { Tensor, measureMemory, memoryInfo, randn, scope } from "../../torch/index.ts";
import { retrieval } from "./index.ts";

describe("retrieval", () => {
  test("a model that gives everything the same feature finds nothing", () => {
    const same = Tensor.from(new Float32Array(40 * 4).fill(1), [40, 4]);
    const { metrics } = retrieval(
      same,
      same,
      Int32Array.from({ length: 40 }, (_, i) => i),
    );
    assert.equal(metrics["image_retrieval_recall@10"], 0);
    assert.equal(metrics["text_retrieval_median_rank"], 40);
  });

  test("an image has found its texts when one of them is among the first", () => {
    const images = Tensor.from(Float32Array.from([1, 0, 0, 1]), [2, 2]);
    const texts = Tensor.from(Float32Array.from([0, 1, 1, 0.1, 0.1, 1]), [3, 2]);
    const { metrics, ranks } = retrieval(images, texts, Int32Array.from([0, 0, 1]), { recalls: [1, 2] });
    assert.deepEqual([...ranks.ofImages], [1, 2], "text 0, which is image 1 itself, comes before text 2");
    assert.deepEqual([...ranks.ofTexts], [2, 1, 1]);
    assert.equal(metrics["text_retrieval_recall@1"], 0.5);
    assert.equal(metrics["image_retrieval_recall@1"], 2 / 3);
  });

  test("wrong owners, features that are no numbers and recall at no place are refused", () => {
    const [images, texts] = [randn([3, 2]), randn([4, 2])];
    assert.throws(() => retrieval(images, texts, Int32Array.from([0, 1, 2, 3])), DataError);
    assert.throws(() => retrieval(images, randn([4, 2]).mul(NaN), Int32Array.from([0, 1, 2, 2])), DataError);
    assert.throws(() => retrieval(images, texts, Int32Array.from([0, 1, 2, 2]), { recalls: [0] }), UsageError);
  });

  test("memory is that of the features and of one block, not of all similarities", () => {
    const run = (images: number, texts: number): void =>
      scope(() => {
        const owners = Int32Array.from({ length: texts }, (_, text) => text % images);
        retrieval(randn([images, 16]), randn([texts, 16]), owners, { images: 512, texts: 2048 });
      });
    const { live } = memoryInfo();
    const { peak } = measureMemory(() => run(3000, 30_000));
    const similarities = 4 * 3000 * 30_000;
    // Features and their copies take 10 MB, a block with its comparisons as much again.
    assert.ok(peak < similarities / 8, `${peak} bytes at a time, all similarities would be ${similarities}`);
    assert.ok(memoryInfo().live <= live);
  });
});
