/** The presets against the published models: names, shapes, numbers and the distributions they start from (test/parity/models). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { type Tensor } from "../torch/index.ts";
import { Clip } from "./clip.ts";
import { type PresetName, preset, presets } from "./presets.ts";

interface Figures {
  shape: number[];
  layers?: number;
  kind: "normal" | "uniform" | "constant";
  std?: number;
  value?: number;
  bound?: number;
}
interface Published {
  parameters: number;
  tensors: number;
  names: Record<string, Figures>;
}

const read = (name: string): unknown => JSON.parse(readFileSync(new URL(`../../../test/parity/models/${name}`, import.meta.url), "utf8"));
const published: Record<string, Published> = {
  ...(read("presets.json") as Record<string, Published>),
  ...(read("open-clip.json") as { presets: Record<string, Published> }).presets,
};

/** Parameters by published name, those of all layers together under `{i}`. */
function byPattern(model: Clip): Map<string, Tensor[]> {
  const groups = new Map<string, Tensor[]>();
  for (const [name, parameter] of model.namedParameters()) {
    const pattern = name.replace(/(blocks)\.\d+\./, "$1.{i}.");
    groups.set(pattern, [...(groups.get(pattern) ?? []), parameter]);
  }
  return groups;
}

/** Deviation, mean, kurtosis and largest magnitude over all layers. */
function measure(parameters: readonly Tensor[]): { std: number; mean: number; kurtosis: number; largest: number; count: number } {
  const arrays = parameters.map((parameter) => parameter.toFloat32Array());
  let [count, sum, largest] = [0, 0, 0];
  for (const array of arrays) {
    count += array.length;
    for (const value of array) {
      sum += value;
      largest = Math.max(largest, Math.abs(value));
    }
  }
  const mean = sum / count;
  let [second, fourth] = [0, 0];
  for (const array of arrays) {
    for (const value of array) {
      const square = (value - mean) ** 2;
      second += square;
      fourth += square * square;
    }
  }
  return { mean, std: Math.sqrt(second / count), kurtosis: (fourth * count) / (second * second || 1), largest, count };
}

for (const [name, publishedName] of [
  ["vit-s-16", "CLIP_VITS16"],
  ["open-clip-vit-b-32", "ViT-B-32"],
] as const) {
  test(`${name} has the published names, shapes and initial distributions`, () => {
    const { names, parameters, tensors } = published[publishedName]!;
    const model = new Clip(preset(name), { seed: 1 });
    try {
      assert.equal(model.parameterCount, parameters);
      assert.equal(model.parameters().length, tensors);
      const own = byPattern(model);
      assert.deepEqual([...own.keys()].toSorted(), Object.keys(names).toSorted());
      for (const [pattern, expected] of Object.entries(names)) {
        const group = own.get(pattern)!;
        assert.equal(group.length, expected.layers ?? 1, pattern);
        for (const one of group) assert.deepEqual(one.shape, expected.shape, pattern);
        const got = measure(group);
        if (expected.kind === "constant") {
          assert.ok(got.std < 1e-7 && Math.abs(got.mean - expected.value!) < 1e-6, `${pattern}: ${JSON.stringify(got)}`);
          continue;
        }
        // Both figures are estimates from `count` numbers; four standard errors of their difference.
        const slack = 4 * Math.SQRT2 * Math.sqrt((expected.kind === "normal" ? 2 : 0.8) / (4 * got.count)) + 1e-3;
        assert.ok(Math.abs(got.std / expected.std! - 1) < slack, `${pattern}: deviation ${got.std}, published ${expected.std}`);
        assert.ok(Math.abs(got.mean) < (5 * expected.std!) / Math.sqrt(got.count), `${pattern}: mean ${got.mean}`);
        const tolerance = got.count > 1000 ? (expected.kind === "normal" ? 0.6 : 0.15) : 1.1;
        assert.ok(Math.abs(got.kurtosis - (expected.kind === "normal" ? 3 : 1.8)) < tolerance, `${pattern}: kurtosis ${got.kurtosis}`);
        if (expected.bound !== undefined) {
          assert.ok(got.largest <= 1.01 * expected.bound && got.largest > 0.97 * expected.bound, `${pattern}: largest ${got.largest}`);
        }
      }
    } finally {
      model.dispose();
    }
  });
}

describe("the larger ones, with one layer a tower", () => {
  const pairs: [PresetName, string][] = [
    ["vit-b-16", "CLIP_VITB16"],
    ["vit-l-16", "CLIP_VITL16"],
    ["open-clip-vit-b-16", "ViT-B-16"],
    ["open-clip-vit-l-14", "ViT-L-14"],
  ];
  for (const [name, publishedName] of pairs) {
    test(`${name} has the published names and shapes, and with all its layers the published size`, () => {
      const { names, parameters, tensors } = published[publishedName]!;
      const whole = preset(name);
      const model = new Clip(preset(name, { vision: { depth: 1 }, text: { depth: 1 } }));
      try {
        const own = byPattern(model);
        assert.deepEqual([...own.keys()].toSorted(), Object.keys(names).toSorted());
        let [numbers, count] = [0, 0];
        for (const [pattern, [first]] of own) {
          assert.deepEqual(first!.shape, names[pattern]!.shape, pattern);
          const layers = pattern.includes("{i}") ? (pattern.startsWith("visual") ? whole.vision.depth : whole.text.depth) : 1;
          assert.equal(layers, names[pattern]!.layers ?? 1, pattern);
          numbers += layers * first!.size;
          count += layers;
        }
        assert.equal(numbers, parameters);
        assert.equal(count, tensors);
      } finally {
        model.dispose();
      }
    });
  }
});

test("a preset can be changed in parts, and is not changed itself", () => {
  const changed = preset("vit-b-16", { jointWidth: 256, vision: { imageSize: 288, patchSize: 32 }, text: { width: 256 } });
  assert.equal(changed.jointWidth, 256);
  assert.deepEqual(changed.vision, { ...presets["vit-b-16"].vision, imageSize: 288, patchSize: 32 });
  assert.deepEqual(changed.text, { ...presets["vit-b-16"].text, width: 256 });
  assert.equal(presets["vit-b-16"].vision.imageSize, 224);
});

test("an unknown name is told with the known ones, the nearest first", () => {
  for (const name of ["vit-b-61", "toString", ""]) {
    assert.throws(
      () => preset(name),
      (error: Error & { mend?: string }) => error.name === "UsageError" && /vit-b-16/.test(error.mend!) && /tiny/.test(error.mend!),
    );
  }
  assert.throws(
    () => preset("vit-b-61"),
    (error: Error & { mend?: string }) => error.mend!.startsWith("Models: vit-b-16"),
  );
});
