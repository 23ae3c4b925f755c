/** The estimate of a step's memory against what steps take, as libtorch's allocators count it. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Clip, type ClipConfig, freeze, imagenetPreprocessing } from "../../src/models/index.ts";
import { makeObjective } from "../../src/objectives/index.ts";
import { AdamW } from "../../src/optim/index.ts";
import { Random } from "../../src/support/index.ts";
import { deviceMemory, measureMemory, native, resetPeakMemory } from "../../src/torch/index.ts";
import { type Precision, type StepInput, StepMemory, choosePatches, decayGroups, sizesOf, trainStep } from "../../src/training/index.ts";
import { standIn, unless } from "./devices.ts";

// Memory of the stand-in is counted where it has an end.
before(() => native().standInMemory(1e12));
after(() => native().standInMemory(0));

interface Case {
  vision?: Partial<ClipConfig["vision"]>;
  text?: Partial<ClipConfig["text"]>;
  batch?: number;
  /** Tokens of texts: from, to. */
  tokens?: readonly [number, number];
  texts?: number;
  views?: boolean;
  patchShare?: number;
  frozen?: Parameters<typeof freeze>[1];
  precision?: Precision;
  micro?: number;
  recompute?: boolean;
}

/** [peak, estimate] in bytes of a step, beside weights, moments and batch. */
function measured(device: string, of: Case): [number, number] {
  const { batch = 12, tokens: [from, to] = [5, 20], texts = 1, views = false, patchShare = 0, precision = "fp32" } = of;
  const vocabularySize = 3000;
  const config: ClipConfig = {
    jointWidth: 64,
    vision: { imageSize: 64, patchSize: 8, width: 96, depth: 4, heads: 4, qkNorm: true, ...of.vision },
    text: { contextLength: 77, vocabularySize, width: 64, depth: 3, heads: 4, ...of.text },
    ...(views ? { viewHead: { hidden: 128, width: 32 } } : {}),
  };
  const { imageSize, patchSize } = config.vision;
  const model = new Clip(config, { seed: 1 }).moveTo(device);
  if (of.frozen !== undefined) freeze(model, of.frozen);
  model.recomputesBlocks = of.recompute ?? false;
  const optimizer = new AdamW(decayGroups(model, 0.1), { betas: [0.9, 0.98], eps: 1e-8 });
  const random = Random.of("step-memory");
  const pixels = (count: number): Uint8Array => new Uint8Array(count * imageSize ** 2 * 3).map((_, i) => (i * 37) % 251);
  const tokens = new Int32Array(batch * texts * to);
  for (let row = 0; row < batch * texts; row++) {
    const end = row === 0 ? to - 1 : from - 1 + random.integer(to - from + 1);
    for (let i = 0; i < end; i++) tokens[row * to + i] = 1 + random.integer(2000);
    tokens[row * to + end] = vocabularySize - 1;
  }
  const patches = (imageSize / patchSize) ** 2;
  const ids = Array.from({ length: batch }, (_, i) => String(i));
  const input: StepInput = {
    images: pixels(batch),
    tokens,
    batchSize: batch,
    tokenLength: to,
    textsPerImage: texts,
    ...(views ? { views: pixels(2 * batch) } : {}),
    ...(patchShare === 0 ? {} : { patches: choosePatches({ seed: 1, step: 0, ids, patches, share: patchShare, views: views ? 2 : 0 }) }),
  };
  const objective = makeObjective(
    views ? { name: "slip", scale: 1, temperature: 0.1 } : texts > 1 ? { name: "multi-text", denominator: "slot" } : { name: "clip" },
  );
  const split = { microBatch: of.micro ?? batch, recomputeBlocks: of.recompute ?? false };
  const context = { model, preprocessing: imagenetPreprocessing, objective, optimizer, precision, device, microBatch: of.micro };
  try {
    const estimate = new StepMemory({ model, device, precision }).peak(sizesOf(input), split);
    const before = deviceMemory(device)?.allocated ?? 0;
    resetPeakMemory(device);
    const { peak } = measureMemory(() => trainStep(context, input, 1e-4, { measureGradient: true }));
    return [device === "cpu" ? peak : deviceMemory(device)!.peak - before, estimate];
  } finally {
    optimizer.dispose();
    model.dispose();
  }
}

const cases: Record<string, Case> = {
  plain: {},
  "a wider tower": { vision: { width: 192, heads: 3 }, batch: 8 },
  "more tokens": { vision: { patchSize: 4, depth: 3 }, batch: 4 },
  "without norms of queries": { vision: { qkNorm: false } },
  "open_clip's form": { vision: { form: "open-clip", qkNorm: false, activation: "quick-gelu" } },
  "long texts": { tokens: [60, 77], vision: { depth: 1 }, text: { depth: 6 } },
  "texts of all lengths": { tokens: [5, 77], vision: { depth: 1 }, text: { depth: 6 } },
  "three texts": { texts: 3 },
  "more views": { views: true, batch: 6 },
  "half of the patches": { patchShare: 0.5 },
  "half of the image tower frozen": { frozen: { image: 2 } },
  "image tower frozen": { frozen: "image", tokens: [10, 40] },
  "text tower frozen": { frozen: "text" },
  "micro-batches": { micro: 4 },
  "micro-batches of texts of all lengths": { micro: 4, tokens: [5, 77], text: { depth: 6 } },
  "micro-batches, image tower frozen": { micro: 4, frozen: "image", tokens: [10, 40] },
  "micro-batches, text tower frozen": { micro: 4, frozen: "text" },
  "micro-batches, most of it in the text tower": { micro: 4, tokens: [60, 77], vision: { depth: 1 }, text: { depth: 6 } },
  "blocks computed again": { recompute: true },
  both: { recompute: true, micro: 4 },
  "under autocast": { precision: "bf16", batch: 4, vision: { imageSize: 48 } },
  "under autocast, texts of all lengths": { precision: "bf16", batch: 4, tokens: [5, 77], vision: { depth: 1, imageSize: 32 } },
  "a large batch of little": { batch: 400, vision: { imageSize: 16, width: 32, depth: 1, qkNorm: false }, text: { width: 32, depth: 1 } },
};

/** A missing tensor of a block, or one too many, would be outside of it. */
function assertNear([peak, estimate]: readonly [number, number]): void {
  const ratio = estimate / peak;
  assert.ok(
    ratio > 0.91 && ratio < 1.15,
    `${(peak / 1e6).toFixed(1)} MB, estimated ${(estimate / 1e6).toFixed(1)} MB: ${ratio.toFixed(3)}`,
  );
}

describe("a step takes what was estimated", () => {
  for (const [name, of] of Object.entries(cases)) {
    test(name, () => assertNear(measured("cpu", of)));
    // Other kernels keep more or less of a block there; how often a step goes through them is the same.
    const same = of.recompute === true || of.precision === "bf16" || of.micro !== undefined || of.frozen !== undefined;
    if (!same) test(`${name}, ${standIn.name}`, unless(standIn), () => assertNear(measured(standIn.device, of)));
  }
});
