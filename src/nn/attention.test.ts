/** Attention against plain JavaScript, and the layers of both towers against what PyTorch computes (test/parity/models). */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { before, describe, test } from "node:test";
import { type Tensor, attention, autocast, causalMask, manualSeed, noGrad, randn, scope } from "../torch/index.ts";
import { MultiheadAttention, SelfAttention } from "./attention.ts";
import { LayerNorm, Mlp, gelu, quickGelu } from "./layers.ts";
import type { Module } from "./module.ts";
import { loadTensors } from "./state-files.ts";

before(() => manualSeed(4));

function largestDifference(actual: Tensor, expected: Tensor): number {
  assert.deepEqual(actual.shape, expected.shape);
  return actual.to("float32").sub(expected.to("float32")).abs().max().item();
}

/** softmax(q k^T / sqrt(D)) v of one head, in double precision. */
function plainAttention(q: number[][], k: number[][], v: number[][], causal: boolean): number[] {
  const dot = (a: number[], b: number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  return q.flatMap((query, i) => {
    const weights = k.map((key, j) => (causal && j > i ? 0 : Math.exp(dot(query, key) / Math.sqrt(query.length))));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return query.map((_, d) => weights.reduce((sum, weight, j) => sum + weight * v[j]![d]!, 0) / total);
  });
}

const rows = (x: Tensor): number[][] => x.unbind(0).map((row) => row.toArray());

describe("attention", () => {
  for (const causal of [false, true]) {
    test(`${causal ? "causal" : "full"}: each head against plain JavaScript, in every way it can be computed`, () => {
      scope(() => {
        const [q, k, v] = [randn([2, 3, 5, 4]), randn([2, 3, 5, 4]), randn([2, 3, 5, 4])];
        const mask = causal ? causalMask(5, "cpu") : undefined;
        const single = attention(q, k, v, mask);
        // Through float64, which does not take the fused kernel.
        const double = attention(q.to("float64"), k.to("float64"), v.to("float64"), mask);
        for (let b = 0; b < 2; b++)
          for (let h = 0; h < 3; h++) {
            const head = (x: Tensor): Tensor => x.select(0, b).select(0, h);
            const expected = plainAttention(rows(head(q)), rows(head(k)), rows(head(v)), causal);
            head(single)
              .toArray()
              .forEach((value, i) => assert.ok(Math.abs(value - expected[i]!) < 1e-5));
            head(double)
              .toArray()
              .forEach((value, i) => assert.ok(Math.abs(value - expected[i]!) < 1e-6));
          }
        const narrow = attention(q.to("bfloat16"), k.to("bfloat16"), v.to("bfloat16"), mask);
        assert.ok(largestDifference(narrow, single) < 0.05);
      });
    });
  }

  test("causal: later tokens have no influence, at all", () => {
    scope(() => {
      const layer = new MultiheadAttention(8, 2);
      const x = randn([1, 6, 8]);
      const whole = layer.forward(x, causalMask(6, "cpu")).slice(1, 0, 4);
      const cut = layer.forward(x.slice(1, 0, 4), causalMask(4, "cpu"));
      assert.ok(largestDifference(cut, whole) < 1e-6);
      const changed = x.clone();
      noGrad(() => void changed.slice(1, 4).fill_(100));
      assert.ok(largestDifference(layer.forward(changed, causalMask(6, "cpu")).slice(1, 0, 4), whole) < 1e-6);
      layer.dispose();
    });
  });

  test("asked for some tokens only, both layers give what they give for these among all", () => {
    scope(() => {
      const x = randn([2, 5, 8]);
      const image = new SelfAttention(8, 2, { qkNorm: true });
      const some = image.forward(x, x.slice(1, 1, 3));
      assert.ok(largestDifference(some, image.forward(x).slice(1, 1, 3)) < 1e-6);
      const text = new MultiheadAttention(8, 2);
      const mask = causalMask(5, "cpu");
      const last = text.forward(x, mask.slice(0, 3, 4), x.slice(1, 3, 4));
      assert.ok(largestDifference(last, text.forward(x, mask).slice(1, 3, 4)) < 1e-6);
      last.sum().backward();
      for (const parameter of text.parameters()) assert.deepEqual(parameter.grad!.shape, parameter.shape);
      for (const layer of [image, text]) layer.dispose();
    });
  });

  test("gradients of the fused and the written-out form agree", () => {
    scope(() => {
      const inputs = [randn([1, 2, 4, 3]), randn([1, 2, 4, 3]), randn([1, 2, 4, 3])];
      const gradients = (["float32", "float64"] as const).map((dtype) => {
        const [q, k, v] = inputs.map((input) => input.to(dtype).detach().clone().setRequiresGrad()) as [Tensor, Tensor, Tensor];
        attention(q, k, v, causalMask(4, "cpu")).pow(2).sum().backward();
        return [q, k, v].map((leaf) => leaf.grad!);
      });
      gradients[0]!.forEach((gradient, i) => assert.ok(largestDifference(gradient, gradients[1]![i]!) < 1e-5));
    });
  });
});

describe("layers of LaCLIP's towers, as PyTorch computes them", () => {
  const folder = fileURLToPath(new URL("../../../test/parity/models/", import.meta.url));
  let weights: Map<string, Tensor>;
  let expected: Map<string, Tensor>;
  before(() => {
    weights = loadTensors(`${folder}weights.safetensors`).tensors;
    expected = loadTensors(`${folder}activations.safetensors`).tensors;
  });

  /** The module with the weights whose names begin with `prefix`. */
  function loaded<M extends Module>(prefix: string, module: M): M {
    const own = [...weights]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), value] as const);
    module.loadStateDict(new Map(own), prefix);
    return module;
  }

  function agrees(actual: Tensor, name: string): void {
    const difference = largestDifference(actual, expected.get(name)!);
    assert.ok(difference < 2e-5, `${name}: ${difference} away`);
  }

  test("image tower: norms, attention with normalised queries and keys, MLP", () => {
    scope(() =>
      noGrad(() => {
        const block = "visual.blocks.0.";
        const eps = 1e-6;
        const x = expected.get("visual.embedded")!;
        const attended = loaded(`${block}attn.`, new SelfAttention(48, 4, { qkNorm: true, eps })).forward(
          loaded(`${block}norm1.`, new LayerNorm(48, { eps })).forward(x),
        );
        agrees(attended, "visual.blocks.0.attn");
        const between = x.add(attended);
        const mlp = loaded(`${block}mlp.`, new Mlp(48, 192, gelu, { expand: "fc1", contract: "fc2" }));
        const out = mlp.forward(loaded(`${block}norm2.`, new LayerNorm(48, { eps })).forward(between));
        agrees(out, "visual.blocks.0.mlp");
        agrees(between.add(out), "visual.blocks.0");
        agrees(loaded("visual.norm.", new LayerNorm(48, { eps })).forward(expected.get("visual.blocks.1")!), "visual.norm");
      }),
    );
  });

  test("text tower: norms, causal attention, QuickGELU", () => {
    scope(() =>
      noGrad(() => {
        const block = "transformer.resblocks.0.";
        const x = expected.get("text.embedded")!;
        const normed = loaded(`${block}ln_1.`, new LayerNorm(32)).forward(x);
        agrees(normed, `${block}ln_1`);
        const attended = loaded(`${block}attn.`, new MultiheadAttention(32, 4)).forward(normed, causalMask(24, "cpu"));
        agrees(attended, `${block}attn`);
        const between = x.add(attended);
        const mlp = loaded(`${block}mlp.`, new Mlp(32, 128, quickGelu, { expand: "c_fc", contract: "c_proj" }));
        const middle = loaded(`${block}ln_2.`, new LayerNorm(32)).forward(between);
        agrees(quickGelu(mlp.expand.forward(middle)), `${block}mlp.gelu`);
        agrees(mlp.forward(middle), `${block}mlp`);
        agrees(between.add(mlp.forward(middle)), "transformer.resblocks.0");
        agrees(loaded("ln_final.", new LayerNorm(32)).forward(expected.get("transformer.resblocks.1")!), "ln_final");
      }),
    );
  });

  test("under autocast the products are bfloat16 and the norms over the width are float32", () => {
    scope(() => {
      const layer = loaded("visual.blocks.0.attn.", new SelfAttention(48, 4, { qkNorm: true, eps: 1e-6 }));
      const norm = loaded("visual.blocks.0.norm1.", new LayerNorm(48, { eps: 1e-6 }));
      const x = expected.get("visual.embedded")!;
      const out = autocast("cpu", "bfloat16", () => layer.forward(norm.forward(x)));
      assert.equal(out.dtype, "bfloat16");
      const reference = expected.get("visual.blocks.0.attn")!;
      assert.ok(largestDifference(out, reference) < 0.02 * reference.abs().max().item());
      layer.dispose();
      norm.dispose();
    });
  });
});
