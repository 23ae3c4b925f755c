import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Tensor, causalMask, manualSeed, randn, scope, tensor } from "../torch/index.ts";
import { MultiheadAttention } from "./attention.ts";
import { Ragged, raggedLayout, raggedSize } from "./ragged.ts";

const differ = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item();

describe("Ragged", () => {
  test("knows the real tokens, packs them, and pads them with zeros; gradients reach what is real", () => {
    scope(() => {
      manualSeed(1);
      const ragged = Ragged.of([3, 1, 4], 4);
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
      const ragged = Ragged.of(
        ends.map((end) => end + 1),
        5,
      );
      const packed = ragged.pack(x);
      const all = layer.forwardRagged(packed, ragged);
      const last = layer.forwardRagged(packed, ragged, packed.indexSelect(0, ragged.lasts));
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

  test("spare tokens make the number of all a multiple, are copies of the first, and belong to no row", () => {
    scope(() => {
      for (const [lengths, tokens] of [
        [[3, 1, 4], 12],
        [[3, 1, 3], 8],
        [[4, 4], 12],
      ] as const) {
        const size = raggedSize(lengths, 4, 4);
        assert.deepEqual(size, { rows: lengths.length, longest: 4, tokens, spare: 4 });
        const layout = raggedLayout(lengths, 4, 4);
        const real = lengths.reduce((sum: number, length) => sum + length, 0);
        const ragged = new Ragged(tensor([...layout], { dtype: "int32" }), size, true);
        assert.deepEqual(ragged.places.toArray().slice(real), Array(tokens - real).fill(0));
        assert.deepEqual(ragged.positions.toArray().slice(real), Array(tokens - real).fill(0));
        const starts = lengths.map((_, row) => lengths.slice(0, row).reduce((sum: number, length) => sum + length, 0));
        assert.deepEqual(ragged.ends!.all.toArray(), [...starts, real, tokens]);
        assert.deepEqual(ragged.ends!.single.toArray(), [...lengths.keys(), lengths.length, lengths.length + 1]);
        assert.deepEqual(
          ragged.lasts.toArray(),
          starts.map((start, row) => start + lengths[row]! - 1),
        );
      }
    });
  });
});
