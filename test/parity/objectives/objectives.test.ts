/**
 * Each objective against PyTorch: loss and gradients, whole and in parts of every size.
 *
 * make-fixtures.py beside this file writes each loss pair by pair from its definition.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type ObjectiveInput, type ObjectiveSettings, makeObjective } from "../../../src/objectives/index.ts";
import { Tensor, scope } from "../../../src/torch/index.ts";

type Leaf = "image" | "text" | "scale" | "bias" | "views";

interface Facts {
  batch: Record<"B" | "K" | "D" | "E", number> & Record<Leaf | "keys" | "oneKeys" | "sampleWeights" | "textWeights", number[]>;
  cases: {
    name: string;
    settings: ObjectiveSettings;
    textsPerImage: number;
    weighted: boolean;
    loss: number;
    gradients: Partial<Record<Leaf, number[]>>;
  }[];
}

const path = fileURLToPath(new URL("../../../../test/parity/objectives/fixtures.json", import.meta.url));
const { batch, cases } = JSON.parse(readFileSync(path, "utf8")) as Facts;
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
      ...(weighted ? { sampleWeights: Tensor.from(Float32Array.from(batch.sampleWeights), [B]), textWeights: weights } : {}),
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
