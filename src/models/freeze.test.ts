/** What is frozen, of both forms: against open_clip's groups, and that nothing is computed for it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { measureMemory, randn, scope, tensor } from "../torch/index.ts";
import { Clip } from "./clip.ts";
import { type Frozen, freeze, frozenSchema, learns, towerOf } from "./freeze.ts";
import { preset } from "./presets.ts";

const sizes = { vision: { depth: 3, width: 16 }, text: { depth: 2 } };
const models = {
  laclip: () => new Clip({ ...preset("nano", sizes), viewHead: { hidden: 8, width: 4 } }),
  "open-clip": () => new Clip({ ...preset("open-clip-nano", sizes), logitBias: -10 }),
};

function learning(form: keyof typeof models, frozen: Frozen): string[] {
  const model = models[form]();
  freeze(model, frozen);
  const names = [...model.namedParameters()].flatMap(([name, { requiresGrad }]) => (requiresGrad ? [name] : []));
  model.dispose();
  return names;
}

/** Names without the layers inside of blocks. */
const parts = (names: readonly string[]): string[] => [...new Set(names.map((name) => name.replace(/(blocks\.\d+)\..*/, "$1")))].toSorted();

const length = (values: readonly number[]): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

describe("freeze", () => {
  test("every parameter is of a tower but scale, bias and head", () => {
    for (const make of Object.values(models)) {
      const model = make();
      const loose = [...model.namedParameters()].flatMap(([name]) => (towerOf(name) === undefined ? [name.split(".")[0]!] : []));
      assert.deepEqual([...new Set(loose)].toSorted(), model.viewHead ? ["image_mlp", "logit_scale"] : ["logit_bias", "logit_scale"]);
      model.dispose();
    }
  });

  test("a whole tower, with its projection", () => {
    for (const form of ["laclip", "open-clip"] as const) {
      assert.deepEqual([...new Set(learning(form, "image").map((name) => towerOf(name)))].toSorted(), ["text", undefined]);
      assert.deepEqual([...new Set(learning(form, { text: true }).map((name) => towerOf(name)))].toSorted(), ["image", undefined]);
    }
  });

  test("up to a block: open_clip's groups, of which the last block, the last norm and the projection stay", () => {
    const images = (names: readonly string[]): string[] => parts(names.filter((name) => towerOf(name) === "image"));
    assert.deepEqual(images(learning("open-clip", { image: 2 })), [
      "visual.ln_post.bias",
      "visual.ln_post.weight",
      "visual.proj",
      "visual.transformer.resblocks.2",
    ]);
    assert.deepEqual(images(learning("laclip", { image: 2 })), [
      "image_projection",
      "visual.blocks.2",
      "visual.norm.bias",
      "visual.norm.weight",
    ]);
    assert.deepEqual(images(learning("laclip", { image: 3 })), ["image_projection", "visual.norm.bias", "visual.norm.weight"]);
    assert.deepEqual(
      images(learning("open-clip", { image: 0 })).filter((name) => !name.includes("resblocks")),
      ["visual.ln_post.bias", "visual.ln_post.weight", "visual.proj"],
    );
    assert.deepEqual(parts(learning("laclip", { image: true, text: 1 }).filter((name) => towerOf(name) === "text")), [
      "ln_final.bias",
      "ln_final.weight",
      "text_projection",
      "transformer.resblocks.1",
    ]);
  });

  test("gradients are those of the whole model, for what learns; nothing is remembered of what does not", () => {
    for (const recomputes of [false, true]) {
      const model = models["open-clip"]();
      model.recomputesBlocks = recomputes;
      scope(() => {
        const images = randn([4, 3, 16, 16]);
        const rows = [3, 4, 5, 6].map((word) => [400, word, 407]);
        const texts = tensor(rows, { dtype: "int64" });
        const run = (): { kept: number; gradients: Map<string, number[]> } => {
          const { result, kept } = measureMemory(() =>
            scope(() => model.encodeImages(images).matmul(model.encodeTexts(texts).t()).exp().sum()),
          );
          result.backward();
          const gradients = new Map(
            [...model.namedParameters()].flatMap(([name, { grad }]) => (grad ? [[name, grad.toArray()] as const] : [])),
          );
          model.zeroGrad();
          return { kept, gradients };
        };
        const whole = run();
        for (const frozen of ["image", { image: 2 }, "text", { image: 2, text: 1 }] as const) {
          freeze(model, frozen);
          const { kept, gradients } = run();
          for (const [name, parameter] of model.namedParameters()) {
            const what = `${name}, frozen ${JSON.stringify(frozen)}`;
            const expected = parameter.requiresGrad ? whole.gradients.get(name) : undefined;
            const found = gradients.get(name);
            assert.equal(found?.length, expected?.length, what);
            const error = length((found ?? []).map((value, i) => value - expected![i]!));
            // Kernels that need not compute all gradients may round otherwise.
            assert.ok(error <= 1e-5 * length(expected ?? []), `${what}: ${error}`);
          }
          if (!recomputes) assert.ok(kept < whole.kept, `${kept} bytes, ${whole.kept} of the whole model`);
        }
        freeze(model, {});
        assert.equal(run().gradients.size, whole.gradients.size);
      });
      model.dispose();
    }
  });

  test("what can't be is refused, and a tower knows whether it learns", () => {
    const model = models.laclip();
    assert.throws(() => freeze(model, { image: 4 }), { name: "UsageError", message: /The image tower has 3 blocks/ });
    assert.throws(() => freeze(model, { image: true, text: true }), { name: "UsageError", message: /nothing is left to learn/ });
    freeze(model, { image: 3, text: true });
    assert.deepEqual([learns(model, "image"), learns(model, "text")], [true, false]);
    model.dispose();
    for (const wrong of ["visual", { image: -1 }, { image: false }, { audio: true }]) assert.ok(!frozenSchema.safeParse(wrong).success);
  });
});
