/**
 * Steps of LaCLIP in this project on a device, from bytes in host memory to changed weights: the counterpart of reference.py, same sizes, same
 * captions, same output.
 *
 *   node dist/bench/gpu/step.js --device cuda --preset vit-b-16 --batch 256 --precision bf16 --steps 20
 *
 * Prints one JSON object; with `"error"` where the device's memory does not suffice.
 */
import { parseArgs } from "node:util";
import { type Batch, type Caption, chooseCaptions } from "../../src/data/index.ts";
import { drawChanges, emptyColourLists, setColourList } from "../../src/images/index.ts";
import { Clip, imagenetPreprocessing, preset } from "../../src/models/index.ts";
import { makeObjective } from "../../src/objectives/index.ts";
import { AdamW } from "../../src/optim/index.ts";
import { NativeError, Random } from "../../src/support/index.ts";
import { ClipTokenizer, endOfText, startOfText } from "../../src/text/index.ts";
import {
  countWaits,
  deviceMemory,
  deviceName,
  findDevice,
  hasOperator,
  setTf32,
  startProfile,
  synchronize,
  torchInfo,
} from "../../src/torch/index.ts";
import {
  BatchFeed,
  LossScaler,
  type Precision,
  Speedometer,
  StepGraphs,
  type StepInput,
  StepMemory,
  type StepSplit,
  chooseSplit,
  decayGroups,
  graphObstacle,
  memoryForSteps,
  possibleSplits,
  profileTables,
  sizesOf,
  summarizeProfile,
  trainStep,
} from "../../src/training/index.ts";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "auto" },
    preset: { type: "string", default: "vit-b-16" },
    method: { type: "string", default: "laclip" },
    texts: { type: "string", default: "1" },
    /** Who changes the colours of SLIP's views: "loader", and they come with the pixels; or "device", and the step has to. */
    views: { type: "string", default: "loader" },
    batch: { type: "string", default: "256" },
    /** Images in the towers at once; "auto": what memory decides, blocks computed again included, as `laclip train` has it. */
    micro: { type: "string" },
    precision: { type: "string", default: "bf16" },
    recompute: { type: "boolean", default: false },
    /** Products of float32 in TF32, which libtorch and the recipes leave off. */
    tf32: { type: "boolean", default: false },
    /** Without kernels of our own. */
    plain: { type: "boolean", default: false },
    /** Say where the time of the steps goes; they take longer then. */
    profile: { type: "boolean", default: false },
    /** Record the step once and replay it. */
    graphs: { type: "boolean", default: false },
    steps: { type: "string", default: "20" },
    warmup: { type: "string", default: "5" },
  },
});

if (values.plain) process.env["LACLIP_KERNELS"] = "off";
const device = findDevice(values.device);
if (values.tf32) setTf32(true);
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

/** Words that the tokenizer knows as one piece each. */
const words = ["dog", "red", "house", "sea", "tree", "sun", "car", "a", "of", "with", "old", "blue", "cat", "man", "green", "bird"];
/** With start and end: 8 to 22 tokens, mean 14; as in reference.py. */
const lengths = [8, 9, 10, 11, 12, 12, 13, 13, 14, 14, 15, 16, 17, 18, 20, 22];
const tokenizer = ClipTokenizer.load();
const known = shape.text.vocabularySize > endOfText;

/** A caption for each image, and for all methods but CLIP and SLIP four rewrites of it; all together are of the same lengths. */
const samples = Array.from({ length: batchSize }, (_, row) => {
  const random = Random.of("captions", row);
  // The texts of an image differ in length, and so their sum from step to step: graphs see several shapes.
  const caption = (source: string, number: number): Caption => ({
    source,
    text: Array.from({ length: lengths[(row + 5 * number) % lengths.length]! - 2 }, () => words[random.integer(words.length)]).join(" "),
  });
  const rewrites = values.method === "clip" || slip ? [] : ["chatgpt", "bard", "mscoco", "human"];
  return { id: String(row), captions: ["original", ...rewrites].map(caption) };
});

/** Random pixels, which come again and again, and what is left to do to their colours. */
const pixelsOf = Array.from({ length: batchSize > 2048 ? 1 : 2 }, (_, number) => {
  const random = Random.of("pixels", number);
  const noise = Uint8Array.from({ length: 1 << 20 }, () => random.integer(256));
  const pixels = (count: number): Uint8Array => {
    const all = new Uint8Array(count * imageSize * imageSize * 3);
    for (let at = 0; at < all.length; at += noise.length) all.set(noise.subarray(0, Math.min(noise.length, all.length - at)), at);
    return all;
  };
  if (!slip) return { images: pixels(batchSize) };
  const viewColours = emptyColourLists(2 * batchSize);
  for (let view = 0; view < 2 * batchSize; view++) setColourList(viewColours, view, drawChanges(Random.of("colours", number, view)));
  return { images: pixels(batchSize), views: pixels(2 * batchSize), ...(values.views === "device" ? { viewColours } : {}) };
});

/** What a step is given: the captions of its images are chosen and made tokens as in training, in every step anew. */
function stepInput(step: number): StepInput {
  const chosen = samples.flatMap((sample) => chooseCaptions(sample, { seed: 1, epoch: step, choose: "uniform", textsPerImage: texts }));
  const { ids, length } = tokenizer.tokenizeBatch(chosen.map(({ text }) => text));
  // A model of few words has its start and end below them.
  const few = shape.text.vocabularySize - 2;
  const tokens = known ? ids : ids.map((id) => (id >= startOfText ? few + id - startOfText : id % few));
  return { ...pixelsOf[step % pixelsOf.length]!, tokens, batchSize, tokenLength: length, textsPerImage: texts };
}

const model = new Clip(shape, { seed: 1 }).moveTo(device);
const optimizer = new AdamW(decayGroups(model, 0.5), { betas: [0.9, 0.98], eps: 1e-8 });
const stepMemory = new StepMemory({ model, device, precision });
const split =
  values.micro === "auto" ? fittingSplit() : { microBatch: Number(values.micro ?? batchSize), recomputeBlocks: values.recompute };
model.recomputesBlocks = split.recomputeBlocks;
const microBatch = split.microBatch < batchSize ? split.microBatch : undefined;
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
  ...(microBatch === undefined ? {} : { microBatch }),
};

const obstacle = values.graphs ? graphObstacle({ ...context, ranks: undefined, microBatch }) : undefined;
const graphs = values.graphs && obstacle === undefined ? new StepGraphs() : undefined;

/** The batches of all steps, as a loader gives them. */
const source = {
  async *[Symbol.asyncIterator]() {
    for (let step = 0; step < warmup + steps; step++) yield await Promise.resolve(step as unknown as Batch);
  },
  close: async () => await Promise.resolve(),
};
// Weights, moments, two batches and a step.
const estimate =
  (deviceMemory(device)?.allocated ?? 0) + 2 * (slip ? 3 : 1) * pixelsOf[0]!.images.length + stepMemory.peak(sizesOf(stepInput(0)), split);
const toInput = (step: Batch): StepInput => {
  const input = stepInput(step as unknown as number);
  return graphs?.prepare(input, model) ?? input;
};
const feed = new BatchFeed(source, { device, toInput });
const speedometer = new Speedometer({ model, device, precision });
const seconds: number[] = [];
/** Until the device has all that gives the gradients, recorded steps also the update: near the whole step, it waits for this program. */
const given: number[] = [];
const losses: number[] = [];
/** How often a step had to wait for the device: counted in the last step before those that are measured. */
let waits: number | undefined;
let endProfile: ReturnType<typeof startProfile> | undefined;
/** Seconds in which steps that are profiled waited for their batch. */
let waiting = 0;
const common = {
  program: "laclip",
  torch: torchInfo().version,
  node: process.versions.node,
  gpu: deviceName(device) ?? device,
  ...values,
  micro: microBatch?.toString(),
  recompute: split.recomputeBlocks,
  sdpa: hasOperator("aten::scaled_dot_product_attention"),
  parameters: model.parameterCount,
  estimate,
};
try {
  let started = performance.now();
  for (let fed = await feed.next(); typeof fed !== "string"; fed = await feed.next()) {
    if (losses.length >= warmup) waiting += (performance.now() - started) / 1000;
    const meanwhile = (): void => {
      given.push((performance.now() - started) / 1000);
      feed.bringNext();
    };
    const take = (): number => trainStep({ ...context, graphs, meanwhile }, fed.input, 1e-4, { measureGradient: true }).loss;
    let loss: number;
    if (losses.length === warmup - 1) ({ result: loss, waits } = countWaits(device, take));
    else loss = take();
    feed.release(fed);
    if (losses.push(loss) >= warmup + steps) synchronize(device);
    if (values.profile && losses.length === warmup) endProfile = startProfile(device);
    const now = performance.now();
    if (losses.length > warmup) {
      seconds.push((now - started) / 1000);
      speedometer.add(fed.input);
    }
    started = now;
  }
  const profile = endProfile && summarizeProfile(endProfile(), steps, waiting);
  const median = medianOf(seconds);
  print({
    ...common,
    seconds,
    median,
    given: medianOf(given.slice(warmup)),
    imagesPerSecond: batchSize / median,
    ...speedometer.take(median),
    losses,
    waits,
    recorded: graphs?.count ?? 0,
    replays: graphs?.replays ?? 0,
    ...(obstacle && { obstacle }),
    ...(profile && { profile, profileTables: profileTables(profile) }),
    memory: deviceMemory(device) ?? null,
  });
} catch (error) {
  if (!(error instanceof NativeError) || !/out of memory/i.test(error.message)) throw error;
  print({ ...common, error: error.message.split("\n")[0] });
} finally {
  graphs?.dispose();
  await feed.close();
}

/** The fastest way to split a step that fits by the estimate, where weights and moments are on the device already. */
function fittingSplit(): StepSplit {
  const input = stepInput(0);
  const splits = possibleSplits(batchSize, {}, device === "cpu" ? "processor" : "device");
  return chooseSplit(splits, (one) => stepMemory.peak(sizesOf(input), one), memoryForSteps({ model, device }, input)).split;
}

function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
}

function print(found: object): void {
  process.stdout.write(`${JSON.stringify(found)}\n`);
}
