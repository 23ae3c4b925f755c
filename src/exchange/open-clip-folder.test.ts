/** What descriptions of open_clip say of heads and blocks. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type StoredTensor, writeSafetensors } from "../formats/index.ts";
import { type ClipConfig, weightShapes } from "../models/index.ts";
import { readOpenClip } from "./open-clip-folder.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-open-clip-"));
after(() => rmSync(folder, { recursive: true }));

const config: ClipConfig = {
  jointWidth: 8,
  vision: { form: "open-clip", imageSize: 32, patchSize: 16, width: 160, depth: 1, heads: 2, qkNorm: false },
  text: { contextLength: 4, vocabularySize: 8, width: 16, depth: 1, heads: 2 },
};
const tensors = Array.from(weightShapes(config), ([name, shape]): [string, StoredTensor] => {
  const data = new Uint8Array(4 * shape.reduce((product, size) => product * size, 1));
  return [name, { dtype: "F32", shape, data }];
});
writeSafetensors(join(folder, "open_clip_model.safetensors"), tensors);

/** The model with its description changed. */
async function described(vision: object, text: object = {}): Promise<ClipConfig> {
  const model_cfg = {
    embed_dim: 8,
    vision_cfg: { image_size: 32, layers: 1, width: 160, patch_size: 16, ...vision },
    text_cfg: { context_length: 4, vocab_size: 8, width: 16, heads: 2, layers: 1, ...text },
  };
  writeFileSync(join(folder, "open_clip_config.json"), JSON.stringify({ model_cfg }));
  return (await readOpenClip(folder)).config;
}

test("heads are as many as open_clip counts: whole ones of at least the width of a head", async () => {
  for (const [width, heads] of [
    [80, 2],
    [64, 2],
    [32, 5],
  ] as const) {
    assert.equal((await described({ head_width: width })).vision.heads, heads);
  }
  assert.equal((await described({})).vision.heads, 2);
});

test("what would make no model is refused", async () => {
  await assert.rejects(described({ head_width: 50 }), /width must be a multiple of heads/);
  await assert.rejects(described({ head_width: 200 }), /vision\.heads/);
  await assert.rejects(described({}, { heads: 3 }), /width must be a multiple of heads/);
  await assert.rejects(described({ image_size: 40 }), /multiple of patchSize/);
  await assert.rejects(described({}, { layers: 1e9 }), /text\.depth/);
  await assert.rejects(described({ layers: [3, 4, 6, 3] }), /ResNets.*layers/s);
});
