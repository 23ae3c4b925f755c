/**
 * What a large batch costs in memory and time when it passes through the model in micro-batches.
 *
 *   node dist/bench/cached-gradients.bench.js [--batch 1024] [--micro 64] [--rounds 3]
 *
 * Trains the demo's model in processes of their own, in turn: plain steps of the micro-batch's size, steps of the large batch in
 * micro-batches, plain steps of the large batch. Prints Markdown: peak memory of the process above what it held before its first step,
 * and the time per sample, both as medians over the rounds.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Clip, imagenetPreprocessing, preset } from "../src/models/index.ts";
import { ClipLoss } from "../src/objectives/index.ts";
import { AdamW } from "../src/optim/index.ts";
import { decayGroups, trainStep } from "../src/training/index.ts";

interface Cost {
  /** Bytes. */
  memory: number;
  /** Milliseconds a sample. */
  time: number;
}

const { values } = parseArgs({
  options: {
    batch: { type: "string", default: "1024" },
    micro: { type: "string", default: "64" },
    rounds: { type: "string", default: "3" },
    child: { type: "string" },
  },
});
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

function measure(batchSize: number, microBatch: number): Cost {
  const model = new Clip(preset("tiny"), { seed: 1 });
  const size = model.config.vision.imageSize;
  const context = {
    model,
    preprocessing: imagenetPreprocessing,
    objective: new ClipLoss(),
    optimizer: new AdamW(decayGroups(model, 0.2), { betas: [0.9, 0.98], eps: 1e-8 }),
    precision: "fp32" as const,
    device: "cpu",
    microBatch,
  };
  const tokenLength = 16;
  const tokens = Int32Array.from({ length: batchSize * tokenLength }, (_, i) =>
    i % tokenLength === tokenLength - 1 ? 49407 : 5 + (i % 97),
  );
  const images = Uint8Array.from({ length: batchSize * size * size * 3 }, (_, i) => (i * 2654435761) % 251);
  const before = process.memoryUsage.rss();
  const samples = Math.max(batchSize, 1024);
  const run = (): void => {
    for (let done = 0; done < samples; done += batchSize) trainStep(context, { images, tokens, batchSize, tokenLength }, 1e-4);
  };
  run();
  const times = [0, 1, 2].map(() => {
    const started = performance.now();
    run();
    return (performance.now() - started) / samples;
  });
  return { memory: process.resourceUsage().maxRSS * 1024 - before, time: median(times) };
}

const [batch, micro] = [Number(values.batch), Number(values.micro)];
const ways = {
  [`plain steps of ${micro}`]: [micro, micro],
  [`steps of ${batch} in micro-batches of ${micro}`]: [batch, micro],
  [`plain steps of ${batch}`]: [batch, batch],
} as const;

if (values.child !== undefined) {
  const [batchSize, microBatch] = ways[values.child]!;
  process.stdout.write(JSON.stringify(measure(batchSize, microBatch)));
} else {
  const here = fileURLToPath(import.meta.url);
  const names = Object.keys(ways);
  const found = new Map(names.map((name) => [name, [] as Cost[]]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of names) {
      const args = [here, "--child", name, "--batch", String(batch), "--micro", String(micro)];
      found.get(name)!.push(JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as Cost);
    }
  }
  const cost = (name: string): Cost => {
    const all = found.get(name)!;
    return { memory: median(all.map(({ memory }) => memory)), time: median(all.map(({ time }) => time)) };
  };
  const first = cost(names[0]!);
  const rows = names.map((name) => {
    const { memory, time } = cost(name);
    return `| ${name} | ${(memory / 1e6).toFixed(0)} | ${(memory / first.memory).toFixed(2)} | ${time.toFixed(2)} | ${(time / first.time).toFixed(2)} |`;
  });
  console.log(`| way | MB above start | ratio | ms a sample | ratio |\n|---|--:|--:|--:|--:|\n${rows.join("\n")}`);
}
