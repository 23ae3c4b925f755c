/**
 * Steps of LaCLIP in this project on a device, from bytes in host memory to changed weights: the counterpart of reference.py, same sizes, same
 * captions, same output.
 *
 *   node dist/bench/gpu/step.js --device cuda --preset vit-b-16 --batch 256 --precision bf16 --steps 20
 *
 * Prints one JSON object; with `"error"` where the device's memory does not suffice.
 */
import { parseArgs } from "node:util";
import type { Batch } from "../../src/data/index.ts";
import { Clip, imagenetPreprocessing, preset } from "../../src/models/index.ts";
import { makeObjective } from "../../src/objectives/index.ts";
import { AdamW } from "../../src/optim/index.ts";
import { NativeError, Random } from "../../src/support/index.ts";
import { endOfText, startOfText } from "../../src/text/index.ts";
import { deviceMemory, deviceName, findDevice, hasOperator, setTf32, synchronize, torchInfo } from "../../src/torch/index.ts";
import { BatchFeed, LossScaler, type Precision, Speedometer, type StepInput, decayGroups, trainStep } from "../../src/training/index.ts";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "auto" },
    preset: { type: "string", default: "vit-b-16" },
    method: { type: "string", default: "laclip" },
    texts: { type: "string", default: "1" },
    batch: { type: "string", default: "256" },
    micro: { type: "string" },
    precision: { type: "string", default: "bf16" },
    recompute: { type: "boolean", default: false },
    steps: { type: "string", default: "20" },
    warmup: { type: "string", default: "5" },
  },
});

/** With start and end: 8 to 22 tokens, mean 14; as in reference.py. */
const lengths = [8, 9, 10, 11, 12, 12, 13, 13, 14, 14, 15, 16, 17, 18, 20, 22];

const device = findDevice(values.device);
setTf32(true);
const [batchSize, texts, steps, warmup] = [values.batch, values.texts, values.steps, values.warmup].map(Number) as [
  number,
  number,
  number,
  number,
];
const precision = values.precision as Precision;
const slip = values.method === "slip";
const shape = { ...preset(values.preset), ...(slip ? { viewHead: { hidden: 4096, width: 256 } } : {}) };
const { imageSize } = shape.vision;

/** A few batches of random pixels and captions, which come again and again. */
const batches: StepInput[] = Array.from({ length: 3 }, (_, number) => {
  const random = Random.of("gpu", number);
  const noise = Uint8Array.from({ length: 1 << 20 }, () => random.integer(256));
  const pixels = (count: number): Uint8Array => {
    const all = new Uint8Array(count * imageSize * imageSize * 3);
    for (let at = 0; at < all.length; at += noise.length) all.set(noise.subarray(0, Math.min(noise.length, all.length - at)), at);
    return all;
  };
  const tokenLength = Math.max(...lengths);
  const tokens = new Int32Array(batchSize * texts * tokenLength);
  for (let row = 0; row < batchSize * texts; row++) {
    const length = lengths[row % lengths.length]!;
    const vocabulary = shape.text.vocabularySize;
    const [start, end] = vocabulary > endOfText ? [startOfText, endOfText] : [vocabulary - 2, vocabulary - 1];
    tokens.set(
      Array.from({ length }, (_word, i) => (i === 0 ? start : i === length - 1 ? end : random.integer(vocabulary - 2))),
      row * tokenLength,
    );
  }
  return {
    images: pixels(batchSize),
    tokens,
    batchSize,
    tokenLength,
    textsPerImage: texts,
    ...(slip ? { views: pixels(2 * batchSize) } : {}),
  };
});

const model = new Clip(shape, { seed: 1 }).moveTo(device);
model.recomputesBlocks = values.recompute;
const optimizer = new AdamW(decayGroups(model, 0.5), { betas: [0.9, 0.98], eps: 1e-8 });
const objective = makeObjective(
  slip
    ? { name: "slip", scale: 1, temperature: 0.1 }
    : values.method === "laclip-mt"
      ? { name: "multi-text", denominator: "slot" }
      : { name: "clip" },
);
const context = {
  model,
  preprocessing: imagenetPreprocessing,
  objective,
  optimizer,
  precision,
  device,
  scaler: precision === "fp16" ? new LossScaler() : undefined,
  ...(values.micro === undefined ? {} : { microBatch: Number(values.micro) }),
};

/** The batches of all steps, as a loader gives them. */
const source = {
  async *[Symbol.asyncIterator]() {
    for (let step = 0; step < warmup + steps; step++) yield await Promise.resolve(step as unknown as Batch);
  },
  close: async () => await Promise.resolve(),
};
const feed = new BatchFeed(source, { device, toInput: (step) => batches[(step as unknown as number) % batches.length]! });
const speedometer = new Speedometer({ model, device, precision });
const seconds: number[] = [];
const losses: number[] = [];
const common = {
  program: "laclip",
  torch: torchInfo().version,
  node: process.versions.node,
  gpu: deviceName(device) ?? device,
  ...values,
  sdpa: hasOperator("aten::scaled_dot_product_attention"),
  parameters: model.parameterCount,
};
try {
  let started = performance.now();
  for (let fed = await feed.next(); typeof fed !== "string"; fed = await feed.next()) {
    const { loss } = trainStep({ ...context, meanwhile: () => feed.bringNext() }, fed.input, 1e-4, true);
    feed.release(fed);
    if (losses.push(loss) >= warmup + steps) synchronize(device);
    const now = performance.now();
    if (losses.length > warmup) {
      seconds.push((now - started) / 1000);
      speedometer.add(fed.input);
    }
    started = now;
  }
  const median = seconds.toSorted((a, b) => a - b)[seconds.length >> 1]!;
  print({
    ...common,
    seconds,
    median,
    imagesPerSecond: batchSize / median,
    ...speedometer.take(median),
    losses,
    memory: deviceMemory(device) ?? null,
  });
} catch (error) {
  if (!(error instanceof NativeError) || !/out of memory/i.test(error.message)) throw error;
  print({ ...common, error: error.message.split("\n")[0] });
} finally {
  await feed.close();
}

function print(found: object): void {
  process.stdout.write(`${JSON.stringify(found)}\n`);
}
