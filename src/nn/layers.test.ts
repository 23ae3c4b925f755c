/** Layers against the same sums in plain JavaScript. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { type Tensor, autocast, manualSeed, randn, scope, tensor } from "../torch/index.ts";
import { Embedding, LayerNorm, Linear, Mlp, gelu, quickGelu } from "./layers.ts";

before(() => manualSeed(3));

function close(actual: Tensor, expected: readonly number[], tolerance = 1e-5): void {
  const values = actual.toArray();
  assert.equal(values.length, expected.length);
  values.forEach((value, i) => assert.ok(Math.abs(value - expected[i]!) < tolerance, `element ${i}: ${value}, expected ${expected[i]}`));
}

const rows = (x: Tensor): number[][] => x.unbind(0).map((row) => row.toArray());
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

describe("Linear", () => {
  test("is x weight^T + bias, over any leading dimensions", () => {
    scope(() => {
      const layer = new Linear(3, 2);
      const x = randn([4, 3]);
      const [weight, bias] = [rows(layer.weight), layer.bias!.toArray()];
      const expected = rows(x).flatMap((row) => weight.map((column, j) => dot(row, column) + bias[j]!));
      close(layer.forward(x), expected);
      assert.deepEqual(layer.forward(x.view(2, 2, 3)).shape, [2, 2, 2]);
      close(layer.forward(x.view(2, 2, 3)), expected);
      layer.dispose();
    });
  });

  test("can do without a bias, and starts within 1 / sqrt(inputs)", () => {
    scope(() => {
      const layer = new Linear(100, 60, { bias: false });
      assert.deepEqual([...layer.stateDict().keys()], ["weight"]);
      const largest = layer.weight.abs().max().item();
      assert.ok(largest <= 0.1 && largest > 0.099);
      layer.dispose();
      const biased = new Linear(100, 6000);
      const most = biased.bias!.abs().max().item();
      assert.ok(most <= 0.1 && most > 0.099);
      biased.dispose();
    });
  });
});

describe("LayerNorm", () => {
  test("normalises the last dimension, then scales and shifts", () => {
    scope(() => {
      const layer = new LayerNorm(4, { eps: 0.1 });
      layer.weight.copyFrom(Float32Array.of(1, 2, 3, 4));
      layer.bias.copyFrom(Float32Array.of(0.5, 0, 0, -1));
      const x = randn([2, 3, 4]);
      const expected = rows(x.view(6, 4)).flatMap((row) => {
        const mean = row.reduce((sum, value) => sum + value, 0) / 4;
        const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 4;
        return row.map((value, i) => ((value - mean) / Math.sqrt(variance + 0.1)) * (i + 1) + [0.5, 0, 0, -1][i]!);
      });
      close(layer.forward(x), expected);
      layer.dispose();
    });
  });

  test("works in float32 under autocast and on bfloat16 input", () => {
    scope(() => {
      const layer = new LayerNorm(4);
      const x = randn([2, 4]);
      assert.equal(autocast("cpu", "bfloat16", () => layer.forward(x)).dtype, "float32");
      const narrow = x.to("bfloat16");
      const out = layer.forward(narrow);
      assert.equal(out.dtype, "float32");
      close(out, layer.forward(narrow.to("float32")).toArray(), 1e-6);
      layer.dispose();
    });
  });
});

test("Embedding picks rows, and its gradient lands on the rows picked", () => {
  scope(() => {
    const table = new Embedding(5, 2);
    const ids = tensor([[4, 0, 4]], { dtype: "int64" });
    const out = table.forward(ids);
    assert.deepEqual(out.shape, [1, 3, 2]);
    const weight = rows(table.weight);
    close(
      out,
      [4, 0, 4].flatMap((id) => weight[id]!),
    );
    out.sum().backward();
    assert.deepEqual(table.weight.grad!.toArray(), [1, 1, 0, 0, 0, 0, 0, 0, 2, 2]);
    table.dispose();
  });
});

describe("activations", () => {
  const points = [-6, -2, -0.5, 0, 0.3, 1, 4];

  test("gelu is the exact form, not the tanh one", () => {
    scope(() => {
      // x Phi(x), from tables of the normal distribution.
      close(gelu(tensor([-2, -0.5, 0, 1])), [-0.0455002639, -0.1542687694, 0, 0.8413447461], 1e-6);
    });
  });

  test("quickGelu is x sigmoid(1.702 x), and another function than gelu", () => {
    scope(() => {
      const x = tensor(points);
      close(
        quickGelu(x),
        points.map((value) => value / (1 + Math.exp(-1.702 * value))),
        1e-6,
      );
      assert.ok(quickGelu(x).sub(gelu(x)).abs().max().item() > 0.01);
    });
  });
});

test("Mlp has the names it is given, and works in the order expand, activation, contract", () => {
  scope(() => {
    const mlp = new Mlp(3, 5, quickGelu, { expand: "c_fc", contract: "c_proj" });
    assert.deepEqual([...mlp.stateDict().keys()], ["c_fc.weight", "c_fc.bias", "c_proj.weight", "c_proj.bias"]);
    const x = randn([2, 3]);
    close(mlp.forward(x), mlp.contract.forward(quickGelu(mlp.expand.forward(x))).toArray(), 1e-6);
    mlp.dispose();
  });
});
