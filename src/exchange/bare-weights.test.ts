/** What follows from names and shapes of weights, and what is asked for instead. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ClipConfig, weightShapes } from "../models/index.ts";
import { ModelFormatError, UsageError } from "../support/index.ts";
import { describeWeights } from "./bare-weights.ts";
import type { WeightsFile } from "./weights-file.ts";

/** A model of open_clip with one block a tower, and with zeros for weights. */
function openClip(width: number, more: Record<string, number[]> = {}, isScript = false): WeightsFile {
  const config: ClipConfig = {
    jointWidth: 8,
    vision: { form: "open-clip", imageSize: 28, patchSize: 14, width, depth: 1, heads: 1, qkNorm: false },
    text: { contextLength: 4, vocabularySize: 8, width: 256, depth: 1, heads: 4 },
  };
  const weights: WeightsFile["weights"] = new Map();
  for (const [name, shape] of [...weightShapes(config), ...Object.entries(more)]) {
    weights.set(name, { dtype: "F32", shape, data: new Uint8Array(4 * shape.reduce((product, size) => product * size, 1)) });
  }
  return { weights, isScript };
}

const gelu = { activation: "gelu" } as const;
const openaiOnly = { input_resolution: [], context_length: [], vocab_size: [] };

test("heads are known of widths that published models have; of others it is asked", () => {
  const heads = (width: number): number => describeWeights(openClip(width), gelu, "a.pt").config.vision.heads;
  assert.deepEqual([384, 768, 896, 1024, 1280].map(heads), [6, 12, 14, 16, 16]);
  for (const width of [128, 1408]) assert.throws(() => heads(width), /how many heads the image tower has can't be seen/);
  assert.equal(describeWeights(openClip(1408), { ...gelu, heads: { image: 16, text: 1 } }, "a.pt").config.vision.heads, 16);
  assert.throws(
    () => describeWeights(openClip(768), { ...gelu, heads: { image: 7, text: 1 } }, "a.pt"),
    (error) => error instanceof UsageError && error.message.includes("768 wide, which 7 heads don't divide"),
  );
});

test("of programs only OpenAI's are known to have QuickGELU, and none has a weight in its mask", () => {
  const masks = { attn_mask: [4, 4], "transformer.resblocks.0.attn_mask": [4, 4] };
  const { config, weights } = describeWeights(openClip(384, { ...openaiOnly, ...masks }, true), {}, "a.pt");
  assert.deepEqual([config.vision.activation, config.text.activation], ["quick-gelu", "quick-gelu"]);
  assert.deepEqual([...weights.keys()], [...weightShapes(config).keys()]);
  assert.throws(() => describeWeights(openClip(384, masks, true), {}, "a.pt"), /GELU or QuickGELU can't be seen/);
  assert.equal(describeWeights(openClip(384, masks, true), gelu, "a.pt").config.vision.activation, "gelu");
  assert.throws(() => describeWeights(openClip(384, masks), gelu, "a.pt"), /unknown: attn_mask/);
});

test("another vocabulary is refused, since captions would be read by CLIP's", () => {
  const worldwide = openClip(384);
  worldwide.weights.set("token_embedding.weight", { dtype: "F16", shape: [250_100, 256], data: new Uint8Array(2 * 250_100 * 256) });
  assert.throws(() => describeWeights(worldwide, gelu, "a.pt"), /250100 tokens, another vocabulary/);
});

test("blocks are counted from the first on, without one being left out", () => {
  for (const name of ["transformer.resblocks.999999999.ln_1.bias", "visual.transformer.resblocks.2.ln_1.bias"]) {
    assert.throws(() => describeWeights(openClip(384, { [name]: [384] }), gelu, "a.pt"), ModelFormatError, name);
  }
});
