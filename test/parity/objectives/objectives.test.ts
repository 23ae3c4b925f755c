/**
 * Each objective against PyTorch: loss and gradients, whole and in parts of every size.
 *
 * make-fixtures.py beside this file writes each loss pair by pair from its definition.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ViewHead } from "../../../src/models/index.ts";
import { type ObjectiveInput, type ObjectiveSettings, makeObjective } from "../../../src/objectives/index.ts";
import { Tensor, scope } from "../../../src/torch/index.ts";

type Leaf = "image" | "text" | "scale" | "bias" | "views";

interface Facts {
  batch: Record<"B" | "K" | "D" | "E", number> & Record<Leaf | "keys" | "oneKeys" | "textWeights", number[]>;
  cases: {
    name: string;
    settings: ObjectiveSettings;
    textsPerImage: number;
    weighted: boolean;
    loss: number;
    gradients: Partial<Record<Leaf, number[]>>;
  }[];
  viewHead: Record<"width" | "hidden" | "out", number> &
    Record<"input" | "towards" | "output" | "inputGradient", number[]> & {
      weights: Record<string, { shape: number[]; values: number[] }>;
      gradients: Record<string, number[]>;
    };
}

const path = fileURLToPath(new URL("../../../../test/parity/objectives/fixtures.json", import.meta.url));
const { batch, cases, viewHead } = JSON.parse(readFileSync(path, "utf8")) as Facts;
const { B, K, D, E } = batch;

/** Leaves with the stored values, and what an objective is given of them. */
function input({ textsPerImage, weighted }: Facts["cases"][number]): { leaves: Record<Leaf, Tensor>; input: ObjectiveInput } {
  const shapes: Record<Leaf, number[]> = { image: [B, D], text: [B * K, D], scale: [], bias: [], views: [2 * B, E] };
  const leaf = (name: Leaf): Tensor => Tensor.from(Float32Array.from(batch[name]), shapes[name]).setRequiresGrad();
  const leaves = { image: leaf("image"), text: leaf("text"), scale: leaf("scale"), bias: leaf("bias"), views: leaf("views") };
  const several = textsPerImage === K;
  const keys = several ? batch.keys : batch.oneKeys;
  const first = (x: Tensor): Tensor => (several ? x : x.view(B, K, -1).select(1, 0));
  const weights = first(Tensor.from(Float32Array.from(batch.textWeights), [B * K])).reshape(-1);
  return {
    leaves,
    input: {
      imageFeatures: leaves.image,
      textFeatures: first(leaves.text),
      textsPerImage,
      logitScale: leaves.scale.mul(1),
      logitBias: leaves.bias,
      viewFeatures: leaves.views,
      textKeys: Tensor.from(BigInt64Array.from(keys.map(BigInt)), [keys.length]),
      ...(weighted ? { textWeights: weights } : {}),
    },
  };
}

function assertGradients(leaves: Record<Leaf, Tensor>, expected: Facts["cases"][number]["gradients"], label: string): void {
  for (const name of Object.keys(leaves) as Leaf[]) {
    const got = leaves[name].grad?.toArray();
    assert.equal(got === undefined, expected[name] === undefined, `${label}: gradient of ${name}`);
    if (got === undefined) continue;
    const largest = Math.max(...expected[name]!.map(Math.abs));
    got.forEach((value, i) => {
      assert.ok(Math.abs(value - expected[name]![i]!) < 1e-4 * largest, `${label}: ${name}[${i}] is ${value}, not ${expected[name]![i]}`);
    });
  }
}

describe("objectives against PyTorch", () => {
  for (const example of cases) {
    test(`${example.name}: loss within 1e-5, gradients within 1e-4`, () => {
      const objective = makeObjective(example.settings);
      assert.equal(objective.name, example.settings.name);
      scope(() => {
        const whole = input(example);
        const { loss, metrics } = objective.forward(whole.input);
        assert.ok(Math.abs(loss.item() / example.loss - 1) < 1e-5, `${loss.item()}, PyTorch ${example.loss}`);
        loss.backward();
        assertGradients(whole.leaves, example.gradients, "whole");
        for (const rows of [1, 4, 100]) {
          const cut = input(example);
          const report = objective.backwardByRows(cut.input, rows);
          assert.ok(Math.abs(report.loss.item() / example.loss - 1) < 1e-5, `rows ${rows}`);
          assertGradients(cut.leaves, example.gradients, `rows ${rows}`);
          assert.deepEqual(Object.keys(report.metrics), Object.keys(metrics));
          for (const [name, value] of Object.entries(metrics)) {
            assert.ok(Math.abs(report.metrics[name]!.item() - value.item()) < 1e-5, `${name} with rows ${rows}`);
            assert.equal(value.requiresGrad, false);
          }
        }
      });
    });
  }
});

test("SLIP's view head: output and every gradient as PyTorch computes them", () => {
  const { width, hidden, out } = viewHead;
  scope(() => {
    const head = new ViewHead(width, { hidden, width: out });
    const floats = (values: readonly number[], shape: readonly number[]): Tensor => Tensor.from(Float32Array.from(values), shape);
    const weights = Object.entries(viewHead.weights).map(([name, { shape, values }]) => [name, floats(values, shape)] as const);
    head.loadStateDict(new Map(weights));
    const input = floats(viewHead.input, [9, width]).setRequiresGrad();
    const output = head.forward(input);
    const near = (got: readonly number[], expected: readonly number[], label: string): void =>
      got.forEach((value, i) => assert.ok(Math.abs(value - expected[i]!) < 1e-4, `${label}[${i}]: ${value}, PyTorch ${expected[i]}`));
    near(output.toArray(), viewHead.output, "output");
    output
      .mul(floats(viewHead.towards, [9, out]))
      .sum()
      .backward();
    near(input.grad!.toArray(), viewHead.inputGradient, "gradient of the input");
    for (const [name, parameter] of head.namedParameters()) near(parameter.grad!.toArray(), viewHead.gradients[name]!, name);
    head.dispose();
  });
});
