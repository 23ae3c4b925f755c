import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Tensor, manualSeed, randn, scope, tensor } from "../torch/index.ts";
import { MultiheadAttention, causalMask } from "./attention.ts";
import { Ragged } from "./ragged.ts";

const differ = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item();

describe("Ragged", () => {
  test("knows the real tokens, packs them, and pads them with zeros; gradients reach what is real", () => {
    scope(() => {
      manualSeed(1);
      const ragged = new Ragged(tensor([2, 0, 3], { dtype: "int64" }), 4);
      assert.deepEqual(ragged.places.toArray(), [0, 1, 2, 4, 8, 9, 10, 11]);
      assert.deepEqual(ragged.positions.toArray(), [0, 1, 2, 0, 0, 1, 2, 3]);
      assert.deepEqual(ragged.lasts.toArray(), [2, 3, 7]);
      const x = randn([3, 4, 5]).setRequiresGrad();
      const packed = ragged.pack(x);
      assert.deepEqual(packed.shape, [8, 5]);
      const padded = ragged.pad(packed);
      const real = padded
        .detach()
        .abs()
        .sum(2)
        .toArray()
        .map((sum) => sum > 0);
      assert.deepEqual(real, [true, true, true, false, true, false, false, false, true, true, true, true]);
      assert.equal(differ(ragged.pack(padded), packed), 0);
      padded.pow(2).sum().backward();
      assert.ok(differ(x.grad!, padded.mul(2)) < 1e-6, "what fills up has no gradient");
      assert.deepEqual(
        ragged
          .pack(
            tensor(
              [
                [1, 2, 3, 0],
                [4, 0, 0, 0],
                [5, 6, 7, 8],
              ],
              { dtype: "int64" },
            ),
          )
          .toArray(),
        [1, 2, 3, 4, 5, 6, 7, 8],
      );
    });
  });

  test("attention over rows of different lengths is that over each row alone, for all tokens and for the last", () => {
    scope(() => {
      manualSeed(2);
      const layer = new MultiheadAttention(8, 2);
      const ends = [4, 1, 2];
      const x = randn([3, 5, 8]);
      const ragged = new Ragged(tensor(ends, { dtype: "int64" }), 5);
      const packed = ragged.pack(x);
      const all = layer.forwardRagged(packed, ragged, causalMask(5, "cpu"));
      const behind = tensor(ends.map((end) => Array.from({ length: 5 }, (_, i) => (i > end ? -Infinity : 0)))).view(3, 1, 1, 5);
      const last = layer.forwardRagged(packed, ragged, behind, packed.indexSelect(0, ragged.lasts));
      let from = 0;
      for (const [row, end] of ends.entries()) {
        const alone = layer.forward(x.slice(0, row, row + 1).slice(1, 0, end + 1), causalMask(end + 1, "cpu")).squeeze(0);
        assert.ok(differ(all.slice(0, from, from + end + 1), alone) < 1e-5);
        assert.ok(differ(last.select(0, row), alone.select(0, end)) < 1e-5);
        from += end + 1;
      }
      layer.dispose();
    });
  });
});
