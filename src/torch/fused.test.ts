/** The fused operators against the plain ones that they stand for: values, gradients, edges. */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { attention, attentionKeeps, causalMask } from "./attention.ts";
import { autocast, noGrad } from "./autograd.ts";
import { type NormWeights, addNorm, cutPatches, gelu, linearThen, quickGelu, scaledSoftmax, splitHeads } from "./fused.ts";
import { scope } from "./handle.ts";
import * as ops from "./operators.generated.ts";
import { manualSeed, setThreads, threads } from "./runtime.ts";
import { Tensor, full, randn, tensor, zeros } from "./tensor.ts";

// What is rounded differs from draw to draw: another one may just miss a tolerance.
beforeEach(() => manualSeed(1));

/** A fresh leaf with the same numbers. */
const leaf = (x: Tensor): Tensor => x.detach().clone().setRequiresGrad();

function assertClose(found: Tensor, expected: Tensor, tolerance: number, what: string): void {
  assert.deepEqual(found.shape, expected.shape, what);
  const difference = found.to("float32").sub(expected.to("float32")).abs().max().item();
  const size = expected.to("float32").abs().max().item();
  assert.ok(difference <= tolerance * Math.max(1, size), `${what}: differ by ${difference} where the largest is ${size}`);
}

/**
 * Runs both on leaves of their own, back from outputs weighted at random, and compares outputs and gradients of all inputs.
 * @param used which outputs take part in the backward pass; default all
 */
function compare(
  inputs: readonly Tensor[],
  fused: (inputs: Tensor[]) => Tensor[],
  plain: (inputs: Tensor[]) => Tensor[],
  tolerance: number,
  used?: readonly number[],
): void {
  const sides = [fused, plain].map((compute) => {
    const leaves = inputs.map(leaf);
    return { leaves, outputs: compute(leaves) };
  });
  const [ours, theirs] = sides as [(typeof sides)[0], (typeof sides)[0]];
  const weights = theirs.outputs.map((output) => randn(output.shape));
  for (const { outputs } of sides) {
    const terms = outputs.flatMap((output, i) => (used && !used.includes(i) ? [] : [output.to("float32").mul(weights[i]!).sum()]));
    terms.reduce((a, b) => a.add(b)).backward();
  }
  theirs.outputs.forEach((output, i) => assertClose(ours.outputs[i]!, output, tolerance, `output ${i}`));
  theirs.leaves.forEach((input, i) => {
    if (input.grad === undefined) return assert.equal(ours.leaves[i]!.grad, undefined, `gradient of input ${i}`);
    assert.equal(ours.leaves[i]!.grad!.dtype, input.dtype);
    assertClose(ours.leaves[i]!.grad!, input.grad, tolerance, `gradient of input ${i}`);
  });
}

const eps = 1e-5;
const norm = (weight: Tensor, bias: Tensor): NormWeights => ({ weight, bias, eps });
const plainNorm = (x: Tensor, weight: Tensor, bias: Tensor): Tensor => ops.layerNorm(x.to("float32"), weight.shape, weight, bias, eps);

describe("a residual sum and its norm", () => {
  for (const width of [7, 16, 50, 192]) {
    test(`of rows ${width} wide: float32`, () => {
      scope(() => {
        const inputs = [randn([3, 67, width]), randn([3, 67, width]).mul(3), randn([width]), randn([width])];
        for (const used of [undefined, [0], [1]]) {
          compare(
            inputs,
            ([x, change, w, b]) => addNorm(x!, change, norm(w!, b!)),
            ([x, change, w, b]) => {
              const sum = x!.add(change!);
              return [sum, plainNorm(sum, w!, b!)];
            },
            1e-5,
            used,
          );
        }
        compare(
          [inputs[0]!, inputs[2]!, inputs[3]!],
          ([x, w, b]) => addNorm(x!, undefined, norm(w!, b!)),
          ([x, w, b]) => [x!.mul(1), plainNorm(x!, w!, b!)],
          1e-5,
        );
      });
    });
  }

  test("under autocast comes out as matrix products take it, and the gradient of the change in the change's dtype", () => {
    scope(() => {
      const inputs = [randn([5, 24]), randn([5, 24]).to("bfloat16"), randn([24]), randn([24])];
      autocast("cpu", "bfloat16", () => {
        const [sum, normed] = addNorm(inputs[0]!, inputs[1], norm(inputs[2]!, inputs[3]!));
        assert.deepEqual([sum.dtype, normed.dtype], ["float32", "bfloat16"]);
        compare(
          inputs,
          ([x, change, w, b]) => addNorm(x!, change, norm(w!, b!)),
          ([x, change, w, b]) => {
            const added = x!.add(change!);
            return [added, plainNorm(added, w!, b!).to("bfloat16")];
          },
          1e-2,
        );
      });
      assert.equal(addNorm(inputs[0]!, inputs[1], norm(inputs[2]!, inputs[3]!))[1].dtype, "float32");
    });
  });

  test("of what is not laid out in rows, and without gradients", () => {
    scope(() => {
      const [x, w, b] = [randn([6, 20]).t(), randn([6]), randn([6])];
      noGrad(() => assertClose(addNorm(x, x, norm(w, b))[1], plainNorm(x.add(x), w, b), 1e-5, "turned"));
    });
  });

  test("of a change in float16 is that of plain operators, with its gradient", () => {
    scope(() => {
      compare(
        [randn([5, 24]), randn([5, 24]).to("float16"), randn([24]), randn([24])],
        ([x, change, w, b]) => addNorm(x!, change, norm(w!, b!)),
        ([x, change, w, b]) => {
          const sum = x!.add(change!);
          return [sum, plainNorm(sum, w!, b!)];
        },
        1e-5,
      );
    });
  });

  test("gives the same bits for any number of threads", () => {
    const before = threads();
    const run = (count: number): number[] =>
      scope(() => {
        setThreads(count);
        manualSeed(5);
        const [x, w, b] = [randn([300, 48]), randn([48]), randn([48])].map(leaf) as [Tensor, Tensor, Tensor];
        addNorm(x, x.mul(0.5), norm(w, b))[1].pow(2).sum().backward();
        return [...x.grad!.toArray(), ...w.grad!.toArray(), ...b.grad!.toArray()];
      });
    try {
      assert.deepEqual(run(2), run(1));
    } finally {
      setThreads(before);
    }
  });

  test("refuses what does not fit, naming it", () => {
    scope(() => {
      const [w, b] = [randn([8]), randn([8])];
      assert.throws(() => addNorm(randn([4, 8]), randn([4, 7]), norm(w, b)), /change must have the shape of residual/);
      assert.throws(() => addNorm(randn([4, 6]), undefined, norm(w, b)), /weight must be float32\[6\]/);
      assert.throws(() => addNorm(randn([4, 8]).to("bfloat16"), undefined, norm(w, b)), /residual must be float32, got BFloat16/);
    });
  });
});

describe("heads", () => {
  const [batch, tokens, heads, depth] = [2, 37, 3, 20];
  const parts = (projected: Tensor): Tensor[] => projected.view(batch, tokens, 3, heads, depth).permute(2, 0, 3, 1, 4).unbind(0);

  test("are split as views would, with and without norms of query and key", () => {
    scope(() => {
      const projected = randn([batch, tokens, 3 * heads * depth]);
      compare(
        [projected],
        ([x]) => splitHeads(x!, heads),
        ([x]) => parts(x!),
        1e-6,
      );
      compare(
        [projected, ...Array.from({ length: 4 }, () => randn([depth]))],
        ([x, qw, qb, kw, kb]) => splitHeads(x!, heads, { query: norm(qw!, qb!), key: norm(kw!, kb!) }),
        ([x, qw, qb, kw, kb]) => {
          const [q, k, v] = parts(x!) as [Tensor, Tensor, Tensor];
          return [plainNorm(q, qw!, qb!), plainNorm(k, kw!, kb!), v];
        },
        1e-5,
      );
    });
  });

  test("whose norms have a small number of their own each keep to it", () => {
    scope(() => {
      const [projected, w, b] = [randn([batch, tokens, 3 * heads * depth]), randn([depth]), randn([depth])];
      const [query, key] = splitHeads(projected, heads, { query: { weight: w, bias: b, eps: 1 }, key: { weight: w, bias: b, eps: 1e-5 } });
      const [q, k] = parts(projected) as [Tensor, Tensor];
      assertClose(query, ops.layerNorm(q, [depth], w, b, 1), 1e-5, "query");
      assertClose(key, ops.layerNorm(k, [depth], w, b, 1e-5), 1e-5, "key");
    });
  });

  test("that only some of which are used, in bfloat16", () => {
    scope(() => {
      const inputs = [randn([batch, tokens, 3 * heads * depth]).to("bfloat16"), ...Array.from({ length: 4 }, () => randn([depth]))];
      compare(
        inputs,
        ([x, qw, qb, kw, kb]) => splitHeads(x!, heads, { query: norm(qw!, qb!), key: norm(kw!, kb!) }),
        ([x, qw, qb, kw, kb]) => {
          const [q, k, v] = parts(x!) as [Tensor, Tensor, Tensor];
          return [plainNorm(q, qw!, qb!).to("bfloat16"), plainNorm(k, kw!, kb!).to("bfloat16"), v];
        },
        2e-2,
      );
      compare(
        inputs.slice(0, 1),
        ([x]) => splitHeads(x!, heads),
        ([x]) => parts(x!),
        1e-2,
        [1],
      );
    });
  });

  test("that don't divide the width, or half a norm, are refused", () => {
    scope(() => {
      assert.throws(() => splitHeads(randn([2, 3, 10]), 2), /with 2 heads, got \[2, 3, 10\]/);
      const wrong = { query: norm(randn([5]), randn([5])), key: norm(randn([5]), randn([5])) };
      assert.throws(() => splitHeads(randn([2, 3, 12]), 2, wrong), /query_weight must be float32\[2\]/);
    });
  });
});

describe("a layer and what follows it", () => {
  test("give the bias its gradient, whichever of the two it is left to", () => {
    scope(() => {
      const heads = (y: Tensor, bias?: Tensor): Tensor => ops.cat(splitHeads(y, 2, undefined, bias), -1);
      for (const then of [gelu, quickGelu, heads]) {
        const inputs = [randn([2, 3, 5]), randn([12, 5]), randn([12])];
        const whole = ([x, w, b]: Tensor[]): Tensor[] => [then(ops.linear(x!, w!, b))];
        compare(inputs, ([x, w, b]) => [linearThen(x!, w!, b, then)], whole, 1e-6);
        compare(inputs, ([x, w, b]) => [then(ops.linear(x!, w!, b!.detach()), b)], whole, 1e-5);
      }
    });
  });
});

describe("the softmax of scaled scores", () => {
  test("is that of plain operators, with its gradient", () => {
    scope(() => {
      for (const width of [1, 5, 16, 197]) {
        const scores = randn([4, 3, width]).mul(30);
        compare(
          [scores],
          ([x]) => [scaledSoftmax(x!, 0.125)],
          ([x]) => [x!.mul(0.125).softmax(-1)],
          1e-6,
        );
        compare(
          [scores.to("bfloat16")],
          ([x]) => [scaledSoftmax(x!, 0.125)],
          ([x]) => [x!.to("float32").mul(0.125).softmax(-1)],
          1e-2,
        );
      }
    });
  });

  test("keeps to its edges: far apart, hidden, all alike, not a number", () => {
    scope(() => {
      const close = (found: Tensor, expected: number[]): void =>
        found.toArray().forEach((value, i) => assert.ok(Math.abs(value - expected[i]!) < 1e-6, `${value} for ${expected[i]}`));
      close(scaledSoftmax(tensor([[0, -1e30, 1e30]]), 1), [0, 0, 1]);
      close(scaledSoftmax(tensor([[3, -Infinity, 3, -Infinity]]), 1), [0.5, 0, 0.5, 0]);
      close(scaledSoftmax(full([1, 40], 1e4), 2), Array<number>(40).fill(1 / 40));
      for (const hidden of [Number.NaN, -Infinity]) {
        assert.ok(
          scaledSoftmax(full([1, 20], hidden), 1)
            .toArray()
            .every((value) => Number.isNaN(value)),
        );
      }
    });
  });
});

describe("attention in float32", () => {
  const plain = (q: Tensor, k: Tensor, v: Tensor, mask?: Tensor): Tensor => {
    const scores = q.matmul(k.transpose(-2, -1)).mul(1 / Math.sqrt(q.sizeOf(-1)));
    return (mask ? scores.add(mask) : scores).softmax(-1).matmul(v);
  };
  /** Query, key and value of 2 samples with 3 heads. */
  const heads = (queries: number, keys: number, depth: number): Tensor[] =>
    [queries, keys, keys].map((tokens) => randn([2, 3, tokens, depth]).mul(2));

  for (const [queries, keys, depth] of [
    [1, 1, 8],
    [1, 17, 32],
    [5, 5, 24],
    [17, 17, 32],
    [33, 9, 16],
    [70, 101, 64],
  ] as const) {
    test(`is that of plain operators, with its gradients: ${queries} queries, ${keys} keys, ${depth} deep`, () => {
      scope(() => {
        const behind = tensor([0, -Infinity]).indexSelect(0, tensor([...Array<number>(keys - 1).fill(0), keys > 1 ? 1 : 0]).to("int64"));
        const masks = [undefined, randn([2, 1, queries, keys]), behind.view(1, 1, 1, keys), randn([queries, 1])];
        if (queries === keys) masks.push(causalMask(keys, "cpu"));
        for (const mask of masks) {
          compare(
            heads(queries, keys, depth),
            ([q, k, v]) => [attention(q!, k!, v!, mask)],
            ([q, k, v]) => [plain(q!, k!, v!, mask)],
            1e-5,
          );
        }
      });
    });
  }

  test("reads what does not lie in order, whose gradients do not either, and keeps no scores", () => {
    scope(() => {
      const turned = (x: Tensor): Tensor => x.permute(2, 1, 3, 0);
      for (const read of [turned, (x: Tensor): Tensor => x.transpose(1, 2).contiguous().transpose(1, 2)]) {
        compare(
          read === turned ? [0, 1, 2].map(() => randn([16, 3, 2, 9])) : heads(9, 9, 16),
          ([q, k, v]) => [attention(read(q!), read(k!), read(v!)).permute(3, 0, 2, 1)],
          ([q, k, v]) => [plain(read(q!), read(k!), read(v!)).permute(3, 0, 2, 1)],
          1e-5,
        );
      }
      const [q, k, v] = heads(9, 9, 16) as [Tensor, Tensor, Tensor];
      assert.doesNotThrow(
        () => attention(q, k, v).transpose(1, 2).view(2, 9, 48),
        "the next layer reads the heads of a token side by side",
      );
      assert.deepEqual(
        [16, 12].map((depth) => attentionKeeps(q, depth)),
        ["nothing", "scores"],
      );
    });
  });

  test("of heads that fit no vector is that of plain operators, with its gradients", () => {
    scope(() => {
      compare(
        heads(7, 7, 12),
        ([q, k, v]) => [attention(q!, k!, v!)],
        ([q, k, v]) => [plain(q!, k!, v!)],
        1e-5,
      );
    });
  });

  test("has the same bits with one thread and with several", () => {
    scope(() => {
      const before = threads();
      const inputs = heads(40, 40, 64);
      const sides = [1, 3].map((count) => {
        setThreads(count);
        const leaves = inputs.map(leaf);
        const found = attention(...(leaves as [Tensor, Tensor, Tensor]));
        found.mul(found.detach()).sum().backward();
        return [found, ...leaves.map((x) => x.grad!)].map((x) => x.toArray());
      });
      setThreads(before);
      assert.deepEqual(sides[0], sides[1]);
    });
  });

  test("of a query that sees nothing is not a number, and of its neighbours is", () => {
    scope(() => {
      const [q, k, v] = heads(2, 3, 8) as [Tensor, Tensor, Tensor];
      const found = attention(
        q,
        k,
        v,
        tensor([
          [-Infinity, -Infinity, -Infinity],
          [0, 0, 0],
        ]),
      );
      assert.ok(found.slice(2, 0, 1).toArray().every(Number.isNaN) && !found.slice(2, 1).toArray().some(Number.isNaN));
    });
  });

  test("says what does not fit", () => {
    scope(() => {
      const [q, k, v] = heads(4, 4, 16) as [Tensor, Tensor, Tensor];
      assert.throws(() => attention(q, k, v.slice(2, 0, 3)), /k and v \[batch, heads, keys, depth\], got \[2, 3, 4, 16\]/);
      assert.throws(() => attention(q, k.slice(3, 0, 8), v.slice(3, 0, 8)), /q must be \[batch, heads, queries, depth\]/);
      assert.throws(() => attention(q, k.slice(2, 0, 0), v.slice(2, 0, 0)), /there must be queries and keys/);
      assert.throws(() => attention(q, k, v, zeros([5])), /expand/i);
      assert.throws(() => attention(q, k, v, zeros([4]).setRequiresGrad()), /the mask gets no gradient/);
    });
  });
});

describe("patches of bytes", () => {
  const colours = { scale: [0.017, 0.0175, 0.0174], shift: [-2.1, -2, -1.8] } as const;
  const pixels = (images: number, side: number): Tensor =>
    Tensor.from(
      Uint8Array.from({ length: images * side * side * 3 }, (_, i) => (i * 89 + (i >> 8)) % 256),
      [images, side, side, 3],
    );
  /** By plain operators, in float32. */
  const expectedOf = (bytes: Tensor, side: number, patch: number): Tensor => {
    const [scale, shift] = [tensor([...colours.scale]), tensor([...colours.shift])];
    const rows = side / patch;
    return ops
      .addTensor(bytes.to("float32").mul(scale), shift)
      .permute(0, 3, 1, 2)
      .reshape(2, 3, rows, patch, rows, patch)
      .permute(0, 2, 4, 1, 3, 5)
      .reshape(2, rows * rows, 3 * patch * patch);
  };

  for (const [side, patch] of [
    [12, 4],
    [15, 5],
    [7, 7],
    [6, 1],
  ] as const) {
    test(`are those of the plain operators, number for number: ${patch} of ${side} pixels`, () => {
      scope(() => {
        const bytes = pixels(2, side);
        const expected = expectedOf(bytes, side, patch);
        assert.deepEqual(cutPatches(bytes, colours, patch).toArray(), expected.toArray());
        const turned = bytes.transpose(1, 2).contiguous().transpose(1, 2);
        assert.deepEqual(cutPatches(turned, colours, patch).toArray(), expected.toArray(), "bytes that lie in another order");
        const under = autocast("cpu", "bfloat16", () => cutPatches(bytes, colours, patch));
        assert.equal(under.dtype, "bfloat16");
        assert.deepEqual(under.toArray(), expected.to("bfloat16").toArray());
        const last = tensor([[(side / patch) ** 2 - 1], [0]], { dtype: "int64" });
        const some = cutPatches(bytes, colours, patch, last);
        assert.deepEqual(
          some.select(1, 0).toArray(),
          ops.stack([expected.select(0, 0).select(0, -1), expected.select(0, 1).select(0, 0)]).toArray(),
        );
      });
    });
  }

  test("under float16 stay as they are on a processor, where the product casts itself", (t) => {
    scope(() => {
      const bytes = pixels(2, 6);
      try {
        autocast("cpu", "float16", () => 0);
      } catch (error) {
        t.skip((error as Error).message);
        return;
      }
      const patches = autocast("cpu", "float16", () => cutPatches(bytes, colours, 3));
      assert.deepEqual([patches.dtype, patches.toArray()], ["float32", expectedOf(bytes, 6, 3).toArray()]);
    });
  });

  test("need images that they fill, numbers of each colour, and places that there are", () => {
    scope(() => {
      const bytes = pixels(2, 6);
      assert.throws(() => cutPatches(bytes, colours, 4), /patches of 4 pixels don't fill a side of 6/);
      assert.throws(() => cutPatches(bytes.to("float32"), colours, 3), /pixels must be uint8/);
      const two = { ...colours, shift: [0, 1] } as unknown as typeof colours;
      assert.throws(() => cutPatches(bytes, two, 3), /shift must have a number for each colour, got 2/);
      assert.throws(() => cutPatches(bytes, colours, 3, tensor([[0], [4]], { dtype: "int64" })), /kept has 4 where there are 4 patches/);
      assert.throws(() => cutPatches(bytes, colours, 3, tensor([[0]], { dtype: "int64" })), /kept must be int64\[2, patches\]/);
    });
  });
});
