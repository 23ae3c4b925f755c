/**
 * Models of LaCLIP, SLIP, open_clip and OpenAI, as their own code saves them, read here: the same features.
 * The fixtures are described in make-fixtures.py beside this file.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type ModelForm, type Unseen, readModel, writeModel } from "../../../src/exchange/index.ts";
import { Clip, type ModelContents, imagenetPreprocessing, openaiPreprocessing } from "../../../src/models/index.ts";
import { loadTensors, tensorsOf } from "../../../src/nn/index.ts";
import { UsageError } from "../../../src/support/index.ts";
import { type Tensor, noGrad, scope } from "../../../src/torch/index.ts";

const fixtures = fileURLToPath(new URL("../../../../test/parity/exchange/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "laclip-exchange-"));
const expected = loadTensors(join(fixtures, "features.safetensors")).tensors;
after(() => rmSync(folder, { recursive: true }));

/** Largest difference, relative to the largest expected value. */
function distance(actual: Tensor, to: Tensor): number {
  assert.deepEqual(actual.shape, to.shape);
  return scope(() => actual.sub(to).abs().max().item() / to.abs().max().item());
}

/** How far the features of a model are from those that its own project computed. */
function farFrom(name: string, { config, weights }: ModelContents): number {
  const model = new Clip(config);
  const tensors = tensorsOf(weights, name);
  try {
    model.loadStateDict(tensors, name);
    return noGrad(() =>
      scope(() =>
        Math.max(
          distance(model.encodeImages(expected.get("images")!), expected.get(`${name}.image_features`)!),
          distance(model.encodeTexts(expected.get("tokens")!), expected.get(`${name}.text_features`)!),
        ),
      ),
    );
  } finally {
    model.dispose();
    for (const tensor of tensors.values()) tensor.dispose();
  }
}

interface Case {
  /** File or folder of the fixtures. */
  path: string;
  unseen?: Unseen;
  /** Whose features they are. */
  features: string;
  /** Largest difference, of float32 or of half precision. */
  within: number;
  heads: [number, number];
  preprocessing: object;
}

const cases: Record<string, Case> = {
  "LaCLIP's checkpoint": {
    path: "laclip.pt",
    unseen: { heads: { image: 2, text: 4 } },
    features: "laclip",
    within: 1e-5,
    heads: [2, 4],
    preprocessing: imagenetPreprocessing,
  },
  "SLIP's checkpoint": {
    path: "slip.pt",
    unseen: { heads: { image: 2, text: 4 } },
    features: "slip",
    within: 1e-5,
    heads: [2, 4],
    preprocessing: imagenetPreprocessing,
  },
  "a checkpoint of open_clip's training": {
    path: "open-clip.pt",
    unseen: { heads: { image: 2, text: 4 }, activation: "quick-gelu" },
    features: "open-clip-native",
    within: 1e-5,
    heads: [2, 4],
    preprocessing: openaiPreprocessing,
  },
  "OpenAI's program, in half precision": {
    path: "openai.pt",
    unseen: { heads: { image: 2, text: 4 } },
    features: "open-clip-native",
    within: 2e-3,
    heads: [2, 4],
    preprocessing: openaiPreprocessing,
  },
  "open_clip's folder": {
    path: "open-clip-native",
    features: "open-clip-native",
    within: 1e-5,
    heads: [2, 4],
    preprocessing: openaiPreprocessing,
  },
  "open_clip's folder with timm's tower": {
    path: "open-clip-timm",
    features: "open-clip-timm",
    within: 1e-5,
    heads: [2, 4],
    preprocessing: imagenetPreprocessing,
  },
};

for (const [what, { path, unseen, features, within, heads, preprocessing }] of Object.entries(cases)) {
  describe(what, () => {
    test("gives the features that its own project computed", async () => {
      const model = await readModel(join(fixtures, path), unseen);
      const far = farFrom(features, model);
      assert.ok(far < within, `${far}`);
      assert.deepEqual([model.config.vision.heads, model.config.text.heads], heads);
      assert.deepEqual(model.preprocessing, preprocessing);
    });

    for (const form of ["laclip", "open-clip"] as const satisfies readonly ModelForm[]) {
      test(`written for ${form} and read again, it is the same model to the bit`, async () => {
        const model = await readModel(join(fixtures, path), unseen);
        const out = join(folder, `${path}-${form}`);
        await writeModel(out, form, model);
        const again = await readModel(out);
        assert.equal(again.form, form);
        assert.deepEqual(again.preprocessing, model.preprocessing);
        // The head of SimCLR's loss has no place at open_clip.
        const kept = [...model.weights].filter(([name]) => form === "laclip" || !name.startsWith("image_mlp."));
        assert.deepEqual(new Map(again.weights), new Map(kept));
        assert.ok(farFrom(features, again) < within);
      });
    }
  });
}

test("a folder for open_clip has the names, shapes and description that open_clip itself gives the model", async () => {
  for (const name of ["open-clip-native", "open-clip-timm"]) {
    const out = join(folder, `same-${name}`);
    await writeModel(out, "open-clip", await readModel(join(fixtures, name)));
    const description = (of: string): unknown =>
      (JSON.parse(readFileSync(join(of, "open_clip_config.json"), "utf8")) as { model_cfg: unknown }).model_cfg;
    assert.deepEqual(description(out), description(join(fixtures, name)));
    const shapes = (of: string): [string, number[]][] => {
      const { tensors } = loadTensors(join(of, "open_clip_model.safetensors"));
      return Array.from(tensors, ([key, tensor]): [string, number[]] => [key, tensor.shape]).sort(([a], [b]) => (a < b ? -1 : 1));
    };
    assert.deepEqual(shapes(out), shapes(join(fixtures, name)));
  }
});

test("what weights don't show is asked for, and never guessed", async () => {
  const read = (name: string, unseen?: Unseen): Promise<unknown> => readModel(join(fixtures, name), unseen);
  await assert.rejects(read("open-clip.pt", { heads: { image: 2, text: 4 } }), (error: UsageError) =>
    /--activation/.test(String(error.mend)),
  );
  await assert.rejects(read("open-clip.pt", { activation: "gelu" }), (error: UsageError) => /--heads IMAGE,TEXT/.test(String(error.mend)));
  await assert.rejects(read("open-clip-native", { activation: "gelu" }), /a folder says itself/);
});
