/** What the fixtures of this folder hold, see README.md, and how far something is from them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ClipConfig } from "../../../src/models/index.ts";
import { loadTensors } from "../../../src/nn/index.ts";
import { type Tensor, scope } from "../../../src/torch/index.ts";

const folder = fileURLToPath(new URL("../../../../test/parity/models/", import.meta.url));
/** The tensors of a file of this folder. */
export const read = (name: string): Map<string, Tensor> => loadTensors(`${folder}${name}.safetensors`).tensors;
export const facts = JSON.parse(readFileSync(`${folder}fixtures.json`, "utf8")) as {
  config: Record<string, number>;
  batch: { loss: number; accuracyPercent: number };
  tenSteps: Record<string, number> & {
    rates: number[];
    losses: number[];
    logitScalesAfterStep: number[];
    decayed: string[];
    notDecayed: string[];
  };
  bf16: { loss: number };
};

const { config } = facts;
/** The model that the fixtures are of. */
export const shape: ClipConfig = {
  jointWidth: config["jointWidth"]!,
  vision: {
    imageSize: config["imageSize"]!,
    patchSize: config["patchSize"]!,
    width: config["visionWidth"]!,
    depth: config["visionDepth"]!,
    heads: config["visionHeads"]!,
    qkNorm: true,
  },
  text: {
    contextLength: config["contextLength"]!,
    vocabularySize: config["vocabularySize"]!,
    width: config["textWidth"]!,
    depth: config["textLayers"]!,
    heads: config["textHeads"]!,
  },
};

/** Gradients that are rounding only (README): softmax drops what is added to all keys alike. */
export const withoutEffect = /k_norm\.bias|in_proj_bias/;

/** Largest difference, relative to the largest expected value. */
export function distance(actual: Tensor, expected: Tensor): number {
  assert.deepEqual(actual.shape, expected.shape);
  return scope(() => {
    const difference = actual.detach().to("float32").sub(expected.to("float32")).abs().max().item();
    return difference / Math.max(expected.to("float32").abs().max().item(), 1e-12);
  });
}
