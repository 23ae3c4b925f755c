/**
 * What a training step costs in memory and time with blocks that are computed again, with half of the patches, with a frozen image tower.
 *
 *   node dist/bench/lighter-steps.bench.js [--model vit-s-16] [--batch 16] [--rounds 5]
 *
 * Takes steps of each kind in turn and prints Markdown: the most bytes of tensors that a step has at a time, beside weights and moments (as
 * libtorch's allocator counts them, so that other programs don't change it), what micro-batches are chosen by (step-memory.ts), and the time of a step, the median over the rounds.
 */
import { parseArgs } from "node:util";
import { Clip, type Frozen, freeze, imagenetPreprocessing, preset } from "../src/models/index.ts";
import { ClipLoss } from "../src/objectives/index.ts";
import { AdamW } from "../src/optim/index.ts";
import { Random } from "../src/support/index.ts";
import { measureMemory } from "../src/torch/index.ts";
import { StepMemory, choosePatches, decayGroups, sizesOf, trainStep } from "../src/training/index.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "vit-s-16" },
    batch: { type: "string", default: "16" },
    rounds: { type: "string", default: "5" },
  },
});
const batchSize = Number(values.batch);
const tokenLength = 16;
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

interface Way {
  recomputes?: boolean;
  share?: number;
  frozen?: Frozen;
}
const ways: Record<string, Way> = {
  plain: {},
  "blocks computed again": { recomputes: true },
  "half of the patches": { share: 0.5 },
  "half of the patches, blocks computed again": { recomputes: true, share: 0.5 },
  "image tower frozen": { frozen: "image" },
};

const model = new Clip(preset(values.model), { seed: 1 });
const { imageSize, patchSize } = model.config.vision;
const random = Random.of("lighter-steps");
const images = Uint8Array.from({ length: batchSize * imageSize * imageSize * 3 }, () => random.integer(256));
const tokens = Int32Array.from({ length: batchSize * tokenLength }, (_, i) =>
  i % tokenLength === tokenLength - 1 ? 49_407 : random.integer(49_000),
);
const ids = Array.from({ length: batchSize }, (_, i) => String(i));

function step({ recomputes = false, share = 0, frozen = {} }: Way): { bytes: number; estimate: number; seconds: number } {
  freeze(model, frozen);
  model.recomputesBlocks = recomputes;
  const optimizer = new AdamW(decayGroups(model, 0.5), { betas: [0.9, 0.98], eps: 1e-8 });
  const context = {
    model,
    preprocessing: imagenetPreprocessing,
    objective: new ClipLoss(),
    optimizer,
    precision: "fp32",
    device: "cpu",
  } as const;
  const patches = (imageSize / patchSize) ** 2;
  const chosen = share === 0 ? {} : { patches: choosePatches({ seed: 1, step: 0, ids, patches, share, views: 0 }) };
  const input = { images, tokens, batchSize, tokenLength, ...chosen };
  const estimate = new StepMemory(context).peak(sizesOf(input), { microBatch: batchSize, recomputeBlocks: recomputes });
  const started = performance.now();
  const { peak } = measureMemory(() => trainStep(context, input, 1e-5));
  const seconds = (performance.now() - started) / 1000;
  optimizer.dispose();
  return { bytes: peak, estimate, seconds };
}

for (const way of Object.values(ways)) step(way); // the first steps after a start take longer
const found = new Map(Object.keys(ways).map((name) => [name, [] as ReturnType<typeof step>[]]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, way] of Object.entries(ways)) found.get(name)!.push(step(way));
}
const [plain] = [...found.values()].map((steps) => ({ bytes: steps[0]!.bytes, seconds: median(steps.map(({ seconds }) => seconds)) }));
console.log(`${values.model}, batch ${batchSize}\n\n| step | MB | estimated | ratio | s | ratio |\n|---|--:|--:|--:|--:|--:|`);
for (const [name, steps] of found) {
  const [bytes, seconds] = [steps[0]!.bytes, median(steps.map((one) => one.seconds))];
  console.log(
    `| ${name} | ${(bytes / 1e6).toFixed(0)} | ${(steps[0]!.estimate / 1e6).toFixed(0)} | ${(bytes / plain!.bytes).toFixed(2)} | ${seconds.toFixed(2)} | ${(seconds / plain!.seconds).toFixed(2)} |`,
  );
}
