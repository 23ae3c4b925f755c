/**
 * Attention over rows that lie end to end, on a device, against each row alone on the processor: values and gradients, for all tokens and
 * for the last of each row.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MultiheadAttention, Ragged } from "../../src/nn/index.ts";
import {
  type DType,
  Tensor,
  attention,
  causalMask,
  deviceMemory,
  hasOperator,
  manualSeed,
  mostAttentionRows,
  native,
  operator,
  packedAttention,
  packedWorkspace,
  packsAttention,
  randn,
  resetPeakMemory,
  scope,
  tensor,
} from "../../src/torch/index.ts";
import { devices, standIn, unless } from "./devices.ts";

const lengths = [3, 1, 6, 2];
const [heads, depth] = [2, 8];
const tokens = lengths.reduce((a, b) => a + b);
const starts = [0, ...lengths.map((_, row) => lengths.slice(0, row + 1).reduce((a, b) => a + b))];

type Attend = (q: Tensor, k: Tensor, v: Tensor) => Tensor;

/** Result and gradients of q, k and v, on the processor in float32. */
function resultOf(device: string, dtype: DType, queries: number, attend: Attend): Float32Array[] {
  return scope(() => {
    manualSeed(7);
    const [q, k, v] = [queries, tokens, tokens].map((count) => randn([count, heads, depth]).to({ dtype, device }).setRequiresGrad());
    const out = attend(q!, k!, v!);
    out
      .mul(randn([queries, heads, depth]).to({ device }))
      .sum()
      .backward();
    return [out, q!.grad!, k!.grad!, v!.grad!].map((x) => x.detach().to({ dtype: "float32", device: "cpu" }).toFloat32Array());
  });
}

/** Each row by itself. */
const rowByRow =
  (last: boolean): Attend =>
  (q, k, v) => {
    const part = (x: Tensor, from: number, to: number): Tensor => x.slice(0, from, to).transpose(0, 1).unsqueeze(0);
    return lengths
      .map((length, row) => {
        const [from, to] = [starts[row]!, starts[row + 1]!];
        const own = last ? part(q, row, row + 1) : part(q, from, to);
        const mask = last ? undefined : causalMask(length, "cpu");
        return attention(own, part(k, from, to), part(v, from, to), mask)
          .squeeze(0)
          .transpose(0, 1);
      })
      .reduce((all, rows) => concatenated(all, rows));
  };
const concatenated = (a: Tensor, b: Tensor): Tensor => catenate([a, b], 0);
const catenate = operator<(tensors: readonly Tensor[], dim: number) => Tensor>("aten::cat", "", "tensor");

const int32 = (values: readonly number[], device: string): Tensor => tensor(values, { dtype: "int32", device });

function distances(found: readonly Float32Array[], expected: readonly Float32Array[]): number[] {
  return found.map((values, i) => values.reduce((most, value, at) => Math.max(most, Math.abs(value - expected[i]![at]!)), 0));
}

describe("attention over rows that lie end to end", () => {
  test("on the processor, by loops of our own", () => {
    const looped = operator<(q: Tensor, k: Tensor, v: Tensor, startsQ: Tensor, startsK: Tensor, causal: boolean) => Tensor>(
      "laclip::packed_attention",
      "",
      "tensor",
    );
    for (const last of [false, true]) {
      const queries = last ? lengths.length : tokens;
      const ends = last ? [...lengths.keys(), lengths.length] : starts;
      const found = resultOf("cpu", "float32", queries, (q, k, v) => looped(q, k, v, int32(ends, "cpu"), int32(starts, "cpu"), !last));
      for (const distance of distances(found, resultOf("cpu", "float32", queries, rowByRow(last))))
        assert.ok(distance < 1e-5, `${distance}`);
    }
    scope(() => {
      const x = randn([tokens, heads, depth]);
      assert.throws(() => looped(x, x, x, int32([0, tokens + 1], "cpu"), int32([0, tokens], "cpu"), false), /outside of its tokens/);
    });
  });

  for (const tested of devices) {
    const { device } = tested;
    for (const [dtype, close] of [
      ["float32", Math.max(1e-5, tested.close)],
      ["bfloat16", 0.05],
      ["float16", 0.01],
    ] as const) {
      for (const last of [false, true]) {
        test(`on ${tested.name}, ${dtype}, ${last ? "the last token of each row" : "all tokens"}`, unless(tested), () => {
          assert.ok(packsAttention(device, depth));
          const queries = last ? lengths.length : tokens;
          const found = resultOf(device, dtype, queries, (q, k, v) => {
            const keys = { starts: int32(starts, device), longest: 6 };
            const own = last ? { starts: int32([...lengths.keys(), lengths.length], device), longest: 1 } : keys;
            return packedAttention(q, k, v, own, keys, !last);
          });
          // What is added up in 16 bits on the processor would be off by as much as what is tested.
          const expected = resultOf("cpu", "float32", queries, (q, k, v) => rowByRow(last)(...rounded([q, k, v], dtype)));
          for (const distance of distances(found, expected)) assert.ok(distance < close, `${distance}`);
        });
      }
    }

    test(`on ${tested.name}, as many rows as the kernels take; more are refused`, unless(tested), () => {
      scope(() => {
        const attend = (rows: number): Tensor => {
          const x = randn([rows, 1, 8]).to({ device, dtype: "bfloat16" }).setRequiresGrad();
          const ends = {
            starts: int32(
              Array.from({ length: rows + 1 }, (_, i) => i),
              device,
            ),
            longest: 1,
          };
          packedAttention(x, x, x, ends, ends, true).sum().backward();
          return x.grad!;
        };
        // A row of one token passes on its value.
        assert.equal(attend(mostAttentionRows).sub(1).abs().max().item(), 0);
        assert.throws(() => attend(mostAttentionRows + 1), /at most 65535 texts at once, got 65536/);
      });
    });

    test(`on ${tested.name}, the backward pass has the memory for itself that estimates reckon with`, unless(tested), () => {
      scope(() => {
        if (tested === standIn) native().standInMemory(1e12);
        try {
          const [rows, width] = [200, 2 * 64];
          const ends = {
            starts: int32(
              Array.from({ length: rows + 1 }, (_, i) => i),
              device,
            ),
            longest: 1,
          };
          const x = randn([rows, 2, 64]).to({ device, dtype: "bfloat16" }).setRequiresGrad();
          const sum = packedAttention(x, x, x, ends, ends, true).sum();
          const before = deviceMemory(device)!.allocated;
          resetPeakMemory(device);
          sum.backward();
          const { token, row } = packedWorkspace("bfloat16");
          const others = (deviceMemory(device)!.peak - before) / width - rows * (token + row);
          assert.ok(others >= 0 && others < 20 * rows, `${others / rows} bytes for each token beside it`);
        } finally {
          if (tested === standIn) native().standInMemory(0);
        }
      });
    });

    test(`on ${tested.name}, spare tokens change nothing of the others, and have gradients of zero`, unless(tested), () => {
      scope(() => {
        manualSeed(3);
        const layer = new MultiheadAttention(heads * depth, heads).moveTo(device);
        const x = randn([tokens, heads * depth]).to({ device });
        const plain = Ragged.of(lengths, 6, { device, packs: true });
        const filled = Ragged.of(lengths, 6, { device, packs: true, step: 16 });
        const room = filled.places.sizeOf(0) - tokens;
        assert.equal(room, 4);
        const wide = concatenated(x, randn([room, heads * depth]).to({ device })).setRequiresGrad();
        const out = layer.forwardRagged(wide, filled);
        const real = out.slice(0, 0, tokens);
        const expected = layer.forwardRagged(x, plain);
        assert.ok(real.detach().sub(expected.detach()).abs().max().item() < tested.close);
        real.pow(2).sum().backward();
        assert.equal(wide.grad!.slice(0, tokens).abs().max().item(), 0);
        assert.ok(wide.grad!.slice(0, 0, tokens).abs().max().item() > 0);
        const last = (x: Tensor, ragged: Ragged): Tensor => layer.forwardRagged(x, ragged, x.indexSelect(0, ragged.lasts));
        wide.grad = undefined;
        const ends = last(wide, filled);
        assert.ok(ends.detach().sub(last(x, plain).detach()).abs().max().item() < tested.close);
        ends.pow(2).sum().backward();
        assert.equal(wide.grad!.slice(0, tokens).abs().max().item(), 0);
        assert.ok(wide.grad!.slice(0, 0, tokens).abs().max().item() > 0);
        layer.dispose();
      });
    });
  }

  for (const tested of devices) {
    test(`on ${tested.name}, heads that no such kernel takes are filled up, and are the processor's`, unless(tested), () => {
      scope(() => {
        const { device } = tested;
        manualSeed(5);
        const layer = new MultiheadAttention(12, 3);
        const x = randn([tokens, 12]);
        const both = (where: string): Tensor[] => {
          const ragged = Ragged.of(lengths, 6, { device: where, packs: packsAttention(where, 4) });
          assert.equal(ragged.ends, undefined);
          const there = x.to({ device: where });
          const last = layer.forwardRagged(there, ragged, there.indexSelect(0, ragged.lasts));
          return [layer.forwardRagged(there, ragged), last].map((out) => out.detach().to({ device: "cpu" }));
        };
        const expected = both("cpu");
        layer.moveTo(device);
        both(device).forEach((out, i) => assert.ok(out.sub(expected[i]!).abs().max().item() < tested.close));
        layer.dispose();
      });
    });
  }

  const libtorch = hasOperator("aten::_flash_attention_forward") ? {} : { skip: "this libtorch has no flash attention" };
  test("the stand-in refuses what flash attention refuses", standIn.skip === undefined ? libtorch : unless(standIn), () => {
    scope(() => {
      const { device } = standIn;
      const flash = operator<(...given: unknown[]) => Tensor[]>("aten::_flash_attention_forward", "", "tensors");
      const x = randn([tokens, heads, depth]).to({ device });
      const at = int32(starts, device);
      assert.throws(() => flash(x, x, x, at, at, 6, 6, 0, true, false), /fp16 and bf16/);
      const half = x.to("float16");
      assert.throws(() => flash(half, half, half, at.to("int64"), at, 6, 6, 0, true, false), /int32/);
      assert.throws(() => flash(half, half, half, at, at, 5, 6, 0, true, false), /longer than the longest/);
    });
  });
});

/** The same values as a narrower dtype holds them; gradients pass. */
function rounded(tensors: [Tensor, Tensor, Tensor], dtype: DType): [Tensor, Tensor, Tensor] {
  return tensors.map((x) => x.to(dtype).to("float32")) as [Tensor, Tensor, Tensor];
}
