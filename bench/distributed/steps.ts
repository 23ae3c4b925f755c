/**
 * Training steps of one rank, on batches in memory: what compare.ts starts once or twice.
 *
 *   node dist/bench/distributed/steps.js --preset tiny --batch 256 --steps 10
 *
 * Prints JSON: seconds of each step, bytes of gradients exchanged a step, bytes of the parameters.
 */
import { parseArgs } from "node:util";
import { GradientReducer, ProcessGroup } from "../../src/distributed/index.ts";
import { Clip, imagenetPreprocessing, preset } from "../../src/models/index.ts";
import { ClipLoss } from "../../src/objectives/index.ts";
import { AdamW } from "../../src/optim/index.ts";
import { Random } from "../../src/support/index.ts";
import { endOfText, startOfText } from "../../src/text/index.ts";
import { asNumbers, noGrad, threads, torchInfo } from "../../src/torch/index.ts";
import { type StepContext, type StepRanks, decayGroups, trainStep } from "../../src/training/index.ts";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "tiny" },
    /** Of all ranks together. */
    batch: { type: "string", default: "256" },
    steps: { type: "string", default: "10" },
    warmup: { type: "string", default: "3" },
    /** "overlapped" with the backward pass, or "after" it. */
    reduce: { type: "string", default: "overlapped" },
  },
});

const group = ProcessGroup.find();
const batchSize = Number(values.batch) / (group?.ranks ?? 1);
const tokenLength = 22;
const shape = preset(values.preset);
const random = Random.of("distributed", group?.rank ?? 0);
const images = Uint8Array.from({ length: batchSize * shape.vision.imageSize ** 2 * 3 }, () => random.integer(256));
const tokens = new Int32Array(batchSize * tokenLength);
for (let row = 0; row < batchSize; row++) {
  // 8 to 22 tokens, as short captions have.
  const length = 8 + random.integer(15);
  const text = Array.from({ length }, (_, i) => (i === 0 ? startOfText : i === length - 1 ? endOfText : random.integer(49_000)));
  tokens.set(text, row * tokenLength);
}

const model = new Clip(shape, { seed: 1 });
const optimizer = new AdamW(decayGroups(model, 0.5), { betas: [0.9, 0.98], eps: 1e-8 });
const reducer = group && new GradientReducer(group, model.parameters());
const overlapped = values.reduce === "overlapped";
const ranks: StepRanks | undefined = reducer && {
  arm: () => (overlapped ? reducer.arm() : undefined),
  finish() {
    if (!overlapped) reducer.arm();
    reducer.finish();
  },
  means: (values) => noGrad(() => group.mean_(asNumbers(values))),
};
const context: StepContext = {
  model,
  preprocessing: imagenetPreprocessing,
  objective: new ClipLoss({}, group),
  optimizer,
  precision: "fp32",
  device: "cpu",
  ...(ranks && { ranks }),
};
const seconds: number[] = [];
for (let step = 0; step < Number(values.warmup) + Number(values.steps); step++) {
  const started = performance.now();
  trainStep(context, { images, tokens, batchSize, tokenLength }, 1e-4);
  if (step >= Number(values.warmup)) seconds.push((performance.now() - started) / 1000);
}
const parameterBytes = [...model.parameters()].reduce((bytes, { size }) => bytes + 4 * size, 0);
const report = { torch: torchInfo().version, threads: threads(), seconds, reducedBytes: reducer?.bytes ?? 0, parameterBytes };
if (group?.first ?? true) process.stdout.write(`${JSON.stringify(report)}\n`);
