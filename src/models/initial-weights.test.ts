/** A model that begins with another's weights: what is taken, what is resized, and everything that does not fit. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Tensor, memoryInfo, noGrad, randn, scope } from "../torch/index.ts";
import { Clip } from "./clip.ts";
import type { ClipConfig } from "./config.ts";
import { beginWith } from "./initial-weights.ts";
import { loadModel, saveModel } from "./model-folder.ts";
import { imagenetPreprocessing } from "./preprocessing.ts";
import { preset } from "./presets.ts";
import { resizePositions } from "./resize-positions.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-initial-"));
const config: ClipConfig = { ...preset("nano"), viewHead: { hidden: 8, width: 4 } };
const folder = join(root, "before");
let old: Clip;
before(() => {
  old = new Clip(config, { seed: 1 });
  noGrad(() => old.logitScale.fill_(3));
  saveModel(folder, { model: old, preprocessing: imagenetPreprocessing });
});
after(() => {
  old.dispose();
  rmSync(root, { recursive: true });
});

const values = (model: Clip): Map<string, number[]> =>
  new Map([...model.namedParameters()].map(([name, value]) => [name, value.toArray()]));
const largest = (difference: Tensor): number => difference.abs().max().item();

/** A model of another seed that has begun with the old one's weights. */
function begun(
  changed: ClipConfig,
  only?: "image" | "text",
): { found: Map<string, number[]>; drawn: Map<string, number[]>; fresh: string[]; resizedFrom: number | undefined } {
  const model = new Clip(changed, { seed: 2 });
  try {
    const drawn = values(model);
    return { drawn, ...beginWith(model, folder, { only }), found: values(model) };
  } finally {
    model.dispose();
  }
}

describe("a model that begins with another's weights", () => {
  test("has all of them where everything fits", () => {
    const { live } = memoryInfo();
    const { found, fresh, resizedFrom } = begun(config);
    assert.deepEqual(found, values(old));
    assert.deepEqual([fresh, resizedFrom], [[], undefined]);
    assert.equal(memoryInfo().live, live);
  });

  test("for another image size: only the positions are others, resized; as when a model is loaded for another size", () => {
    const { found, fresh, resizedFrom } = begun({ ...config, vision: { ...config.vision, imageSize: 40 } });
    assert.deepEqual([fresh, resizedFrom], [[], 16]);
    const loaded = loadModel(folder, { imageSize: 40 });
    assert.equal(loaded.model.config.vision.imageSize, 40);
    assert.deepEqual(found, values(loaded.model));
    const expected = values(old);
    const positions = old.stateDict().get("visual.pos_embed")!;
    scope(() => expected.set("visual.pos_embed", resizePositions(positions, 5).toArray()));
    assert.deepEqual(found, expected);
    scope(() => assert.deepEqual(noGrad(() => loaded.model.encodeImages(randn([2, 3, 40, 40]))).shape, [2, 16]));
    loaded.model.dispose();
    assert.throws(() => loadModel(folder, { imageSize: 41 }), { name: "UsageError", message: /multiple of patchSize/ });
  });

  test("a resized grid keeps the class token and, at the same size, everything; a picture that is no square has none", () => {
    scope(() => {
      const positions = randn([1, 17, 6]);
      assert.ok(largest(resizePositions(positions, 4).sub(positions)) < 1e-6);
      assert.equal(
        largest(
          resizePositions(positions, 9)
            .slice(1, 0, 1)
            .sub(positions.slice(1, 0, 1)),
        ),
        0,
      );
      assert.throws(() => resizePositions(randn([16, 6]), 4), { name: "ModelFormatError", message: /15 positions .* no square grid/ });
    });
  });

  test("one tower alone, beside another that has other sizes", () => {
    const { found, drawn, fresh } = begun({ ...config, text: { ...config.text, width: 24, depth: 2 } }, "image");
    const of = values(old);
    for (const [name, value] of found) {
      const taken = /^(visual\.|image_projection)/.test(name);
      assert.deepEqual(value, taken ? of.get(name) : drawn.get(name), name);
      assert.equal(fresh.includes(name), !taken, name);
    }
    assert.ok(begun(config, "text").fresh.every((name) => /^(visual|image|logit)/.test(name)));
  });

  test("head and bias are drawn anew where the other has none that fits", () => {
    const { found, drawn, fresh } = begun({ ...config, logitBias: -3, viewHead: { hidden: 6, width: 4 } });
    assert.ok(fresh.includes("logit_bias") && fresh.includes("image_mlp.layer1.weight"));
    assert.deepEqual(found.get("image_mlp.layer1.weight"), drawn.get("image_mlp.layer1.weight"));
    assert.deepEqual(found.get("logit_scale"), [3]);
    const { viewHead: _, ...without } = config;
    assert.deepEqual(begun(without).fresh, []);
  });

  test("what does not fit is told by name, and nothing is changed", () => {
    const wrong: [ClipConfig, RegExp][] = [
      [{ ...config, vision: { ...config.vision, depth: 2 } }, /vision\.depth: 1 there, 2 here/],
      [{ ...config, vision: { ...config.vision, heads: 4 } }, /vision\.heads: 2 there, 4 here/],
      [{ ...config, vision: { ...config.vision, patchSize: 4 } }, /vision\.patchSize: 8 there, 4 here/],
      [{ ...config, text: { ...config.text, activation: "gelu" } }, /text\.activation: quick-gelu there, gelu here/],
      [{ ...config, jointWidth: 8 }, /jointWidth: 16 there, 8 here/],
      [preset("open-clip-nano"), /vision\.form: laclip there, open-clip here/],
    ];
    for (const [changed, words] of wrong) {
      const model = new Clip(changed, { seed: 2 });
      const drawn = values(model);
      assert.throws(() => beginWith(model, folder), { name: "ModelFormatError", message: words });
      assert.deepEqual(values(model), drawn);
      model.dispose();
    }
    const model = new Clip(config);
    assert.throws(() => beginWith(model, root), { name: "DataError", message: /not a model folder/ });
    model.dispose();
  });
});
