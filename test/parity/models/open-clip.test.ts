/**
 * The models in open_clip's form against open_clip itself: features, loss, gradients, fewer patches, positions of other image sizes.
 * Fixtures and what they mean: README.md beside this file.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { after, describe, test } from "node:test";
import { Clip, type ClipConfig, positionsName, resizePositions } from "../../../src/models/index.ts";
import { loadTensors } from "../../../src/nn/index.ts";
import { ClipLoss } from "../../../src/objectives/index.ts";
import { Tensor, noGrad, scope } from "../../../src/torch/index.ts";
import { decayGroups } from "../../../src/training/index.ts";

const folder = fileURLToPath(new URL("../../../../test/parity/models/", import.meta.url));
const read = (name: string): Map<string, Tensor> => loadTensors(`${folder}${name}.safetensors`).tensors;
const facts = JSON.parse(readFileSync(`${folder}open-clip.json`, "utf8")) as {
  config: Record<string, number>;
  losses: Record<"gelu" | "quick-gelu", number>;
  sizes: number[];
};
const weights = read("open-clip-weights");
const results = read("open-clip-results");
const batches = read("batches");

function shape(activation: "gelu" | "quick-gelu"): ClipConfig {
  const of = (name: string): number => facts.config[name]!;
  return {
    jointWidth: of("jointWidth"),
    vision: {
      form: "open-clip",
      imageSize: of("imageSize"),
      patchSize: of("patchSize"),
      width: of("visionWidth"),
      depth: of("visionDepth"),
      heads: of("visionHeads"),
      qkNorm: false,
      activation,
    },
    text: {
      contextLength: of("contextLength"),
      vocabularySize: of("vocabularySize"),
      width: of("textWidth"),
      depth: of("textLayers"),
      heads: of("textHeads"),
      activation,
    },
  };
}

/** Largest difference, relative to the largest expected value. */
function distance(actual: Tensor, expected: Tensor): number {
  assert.deepEqual(actual.shape, expected.shape);
  return scope(() => actual.detach().sub(expected).abs().max().item() / Math.max(expected.abs().max().item(), 1e-12));
}

for (const activation of ["gelu", "quick-gelu"] as const) {
  describe(`parity with open_clip, ${activation}`, () => {
    const model = new Clip(shape(activation), { seed: 1 });
    model.loadStateDict(weights, "open-clip-weights.safetensors");
    after(() => model.dispose());
    const [images, tokens] = [batches.get("images")!, batches.get("tokens")!];

    test("features, of all patches and of some", () => {
      scope(() =>
        noGrad(() => {
          assert.ok(distance(model.encodeImages(images), results.get(`${activation}.image_features`)!) < 1e-5);
          assert.ok(distance(model.encodeTexts(tokens), results.get(`${activation}.text_features`)!) < 1e-5);
          const some = model.encodeImages(images, results.get("patches"));
          assert.ok(distance(some, results.get(`${activation}.image_features_of_patches`)!) < 1e-5);
        }),
      );
    });

    for (const recomputes of [false, true]) {
      test(`loss and the gradient of every parameter within 1e-4${recomputes ? ", blocks computed again" : ""}`, () => {
        model.recomputesBlocks = recomputes;
        scope(() => {
          const features = { imageFeatures: model.encodeImages(images), textFeatures: model.encodeTexts(tokens) };
          const { loss } = new ClipLoss().forward({ ...features, logitScale: model.logitScale.exp() });
          assert.ok(Math.abs(loss.item() / facts.losses[activation] - 1) < 1e-5, `${loss.item()}`);
          loss.backward();
          for (const [name, parameter] of model.namedParameters()) {
            const expected = results.get(`${activation}.gradient.${name}`);
            assert.ok(expected && parameter.grad, name);
            const error = distance(parameter.grad, expected);
            assert.ok(error < 1e-4, `gradient of ${name} is ${error} away`);
          }
          model.zeroGrad();
        });
      });
    }
  });
}

test("what is not decayed is what open_clip does not decay: norms, biases, the scale and the class token", () => {
  const model = new Clip(shape("gelu"), { seed: 1 });
  const [decayed, free] = decayGroups(model, 0.2).map(({ parameters }) => [...parameters.keys()]);
  assert.ok(free!.includes("visual.class_embedding") && free!.includes("visual.ln_pre.weight") && free!.includes("logit_scale"));
  for (const name of ["visual.proj", "visual.positional_embedding", "visual.conv1.weight", "token_embedding.weight"]) {
    assert.ok(decayed!.includes(name), name);
  }
  model.dispose();
});

describe("positions of another image size", () => {
  const { patchSize } = shape("gelu").vision;
  for (const size of facts.sizes) {
    test(`${size} pixels: as open_clip and timm resize them`, () => {
      scope(() => {
        const own = weights.get(positionsName(shape("gelu").vision))!;
        assert.ok(distance(resizePositions(own, size / patchSize), results.get(`positions.${size}`)!) < 1e-6);
        const published = read("weights").get("visual.pos_embed")!;
        assert.ok(distance(resizePositions(published, size / patchSize), results.get(`laclip_positions.${size}`)!) < 1e-6);
      });
    });
  }
});
