/**
 * Trains a small model on made-up pictures and texts with any objective, from weights that no library's random generator decides: what it
 * computes is the same on every machine, but for rounding.
 *
 *   node dist/test/integration/small-training.js > test/integration/loss-curves.json
 */
import { Clip, type ClipConfig, imagenetPreprocessing } from "../../src/models/index.ts";
import { type ObjectiveSettings, makeObjective } from "../../src/objectives/index.ts";
import { AdamW } from "../../src/optim/index.ts";
import { Random } from "../../src/support/index.ts";
import { noGrad } from "../../src/torch/index.ts";
import { type StepContext, type StepInput, decayGroups, trainStep } from "../../src/training/index.ts";

/** Every objective, with the number of texts it is tried with. */
export const objectives: Readonly<Record<string, { settings: ObjectiveSettings; texts: number }>> = {
  clip: { settings: { name: "clip" }, texts: 1 },
  "clip, duplicates masked": { settings: { name: "clip", maskDuplicates: true }, texts: 1 },
  "multi-text, slot": { settings: { name: "multi-text", denominator: "slot" }, texts: 3 },
  "multi-text, joint": { settings: { name: "multi-text", denominator: "joint" }, texts: 3 },
  slip: { settings: { name: "slip", scale: 1, temperature: 0.1 }, texts: 1 },
  sigmoid: { settings: { name: "sigmoid" }, texts: 1 },
  "sigmoid, several texts": { settings: { name: "sigmoid" }, texts: 3 },
  "soft-targets": { settings: { name: "soft-targets", share: 0.3, temperature: 0.2 }, texts: 1 },
};

const imageSize = 8;
const vocabulary = 40;
const tokenLength = 7;
/** Images of a step, no multiple of the micro-batches that tests cut it into. */
export const batchSize = 17;
const kinds = 12;

/** A small model, and all that a step needs beside it. @param device where it is. Default "cpu" */
export function smallContext({ settings }: { settings: ObjectiveSettings }, device = "cpu"): StepContext & { dispose: () => void } {
  const config: ClipConfig = {
    jointWidth: 12,
    vision: { imageSize, patchSize: 4, width: 16, depth: 1, heads: 2, qkNorm: true },
    text: { contextLength: tokenLength, vocabularySize: vocabulary, width: 16, depth: 1, heads: 2 },
    ...(settings.name === "sigmoid" ? { logitScale: 10, logitBias: -4 } : {}),
    ...(settings.name === "slip" ? { viewHead: { hidden: 24, width: 8 } } : {}),
  };
  const model = new Clip(config, { seed: 1 });
  for (const [name, parameter] of model.namedParameters()) {
    if (parameter.shape.length < 2) continue; // norms, biases and scale begin with constants; drawn biases must not
    const random = Random.of("weights", name);
    const spread = parameter.shape.at(-1)! ** -0.5;
    noGrad(() => parameter.copyFrom(Float32Array.from({ length: parameter.size }, () => (2 * random.uniform() - 1) * spread)));
  }
  for (const [name, parameter] of model.namedParameters()) {
    if (parameter.shape.length === 1 && name.endsWith("bias")) noGrad(() => parameter.fill_(0));
  }
  model.moveTo(device);
  const optimizer = new AdamW(decayGroups(model, 0.1), { betas: [0.9, 0.98], eps: 1e-8 });
  const dispose = (): void => {
    optimizer.dispose();
    model.dispose();
  };
  return {
    model,
    optimizer,
    objective: makeObjective(settings),
    preprocessing: imagenetPreprocessing,
    precision: "fp32",
    device,
    dispose,
  };
}

/** Pictures of some kinds with noise, and texts of their kind's words. */
export function smallBatch(step: number, texts: number): StepInput {
  const random = Random.of("batch", step);
  const pixels = imageSize * imageSize * 3;
  const members = Array.from({ length: batchSize }, () => random.integer(kinds));
  const picture = (kind: number): Uint8Array => {
    const own = Random.of("kind", kind);
    return Uint8Array.from({ length: pixels }, () => own.integer(156) + random.integer(100));
  };
  const pictures = (count: number): Uint8Array => {
    const all = new Uint8Array(count * batchSize * pixels);
    for (let i = 0; i < count * batchSize; i++) all.set(picture(members[i % batchSize]!), i * pixels);
    return all;
  };
  const tokens = new Int32Array(batchSize * texts * tokenLength);
  for (let row = 0; row < batchSize * texts; row++) {
    const words = 1 + random.integer(4);
    const kind = members[Math.floor(row / texts)]!;
    const ids = [vocabulary - 2, ...Array.from({ length: words }, (_, i) => 3 * kind + ((i + random.integer(2)) % 3)), vocabulary - 1];
    tokens.set(ids, row * tokenLength);
  }
  const keys = Array.from({ length: batchSize * texts }, (_, row) => BigInt(members[Math.floor(row / texts)]! * 4 + random.integer(2)));
  return {
    images: pictures(1),
    views: pictures(2),
    tokens,
    batchSize,
    tokenLength,
    textsPerImage: texts,
    textKeys: BigInt64Array.from(keys),
  };
}

/** Losses of `steps` steps. */
export function lossCurve(name: string, steps: number, microBatch?: number, device = "cpu"): number[] {
  const { settings, texts } = objectives[name]!;
  const context = { ...smallContext({ settings }, device), microBatch };
  try {
    return Array.from({ length: steps }, (_, step) => trainStep(context, smallBatch(step, texts), 5e-3).loss);
  } finally {
    context.dispose();
  }
}

if (process.argv[1] === import.meta.filename) {
  const curves = Object.keys(objectives).map((name) => [name, lossCurve(name, 20).map((loss) => Number(loss.toPrecision(6)))]);
  console.log(JSON.stringify(Object.fromEntries(curves), null, 2));
}
