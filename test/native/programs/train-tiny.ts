/**
 * Trains the tiny model on invented pairs and prints what the tests look at, as JSON.
 *
 *   node train-tiny.js memory tight|turns STEPS    resident memory, live tensors and loss after each step
 *   node train-tiny.js hash STEPS SEED...          SHA-256 of all weights after the steps, for a run with each seed
 */
import { createHash } from "node:crypto";
import { Clip, imagenetPreprocessing, preset } from "../../../src/models/index.ts";
import { ClipLoss } from "../../../src/objectives/index.ts";
import { AdamW } from "../../../src/optim/index.ts";
import { Random } from "../../../src/support/index.ts";
import { memoryInfo } from "../../../src/torch/index.ts";
import { type StepContext, type StepInput, decayGroups, trainStep } from "../../../src/training/index.ts";

const batchSize = 8;
const { contextLength, vocabularySize } = preset("tiny").text;

/** A batch that depends on the step alone; captions end at different places. */
function batch(step: number): StepInput {
  const random = Random.of("batch", step);
  const size = preset("tiny").vision.imageSize;
  const images = Uint8Array.from({ length: batchSize * size * size * 3 }, () => random.integer(256));
  const tokenLength = Math.min(contextLength, 8 + random.integer(15));
  const tokens = new Int32Array(batchSize * tokenLength);
  for (let row = 0; row < batchSize; row++) {
    const length = 3 + random.integer(tokenLength - 2);
    for (let i = 0; i < length; i++)
      tokens[row * tokenLength + i] = i === length - 1 ? vocabularySize - 1 : random.integer(vocabularySize - 2);
  }
  return { images, tokens, batchSize, tokenLength };
}

function start(seed: number): StepContext {
  const model = new Clip(preset("tiny"), { seed });
  const optimizer = new AdamW(decayGroups(model, 0.1), { betas: [0.9, 0.98], eps: 1e-8 });
  return { model, optimizer, objective: new ClipLoss(), preprocessing: imagenetPreprocessing, precision: "fp32", device: "cpu" };
}

function hash(seed: number, steps: number): string {
  const context = start(seed);
  for (let step = 0; step < steps; step++) trainStep(context, batch(step), 1e-3, { measureGradient: true });
  const sum = createHash("sha256");
  for (const [name, parameter] of context.model.namedParameters()) sum.update(name).update(new Uint8Array(parameter.toTypedArray().buffer));
  context.optimizer.dispose();
  context.model.dispose();
  return sum.digest("hex");
}

const [what, ...args] = process.argv.slice(2);
if (what === "hash") {
  const [steps, ...seeds] = args.map(Number) as [number, ...number[]];
  process.stdout.write(JSON.stringify(seeds.map((seed) => hash(seed, steps))));
} else {
  const [way, steps] = args;
  const context = start(1);
  const rows: { resident: number; live: number; loss: number }[] = [];
  for (let step = 0; step < Number(steps); step++) {
    const { loss } = trainStep(context, batch(step), 1e-3);
    rows.push({ resident: process.memoryUsage.rss(), live: memoryInfo().live, loss });
    if (way === "turns") await new Promise((resolve) => setImmediate(resolve));
  }
  process.stdout.write(JSON.stringify(rows));
}
