/**
 * How a training step bears another program on the same cores, by how long OpenMP's threads spin while they wait.
 *
 *   node dist/bench/spinning.bench.js [--rounds 3]
 *
 * For each spin count, a process of its own trains the demo's model for a few steps, alone and beside as many endless loops as there
 * are cores (they end with the measurement). Prints Markdown.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { emojiClip } from "../src/recipes/index.ts";
import { Clip, imagenetPreprocessing, preset } from "../src/models/index.ts";
import { ClipLoss } from "../src/objectives/index.ts";
import { AdamW } from "../src/optim/index.ts";
import { decayGroups, trainStep } from "../src/training/index.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "3" }, child: { type: "boolean", default: false } } });
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

/** Milliseconds of a training step of the demo's model, the median of five after three to warm up. */
function measure(): number {
  const { batchSize } = emojiClip.training;
  const model = new Clip(preset(emojiClip.model.preset), { seed: 1 });
  const size = model.config.vision.imageSize;
  const context = {
    model,
    preprocessing: imagenetPreprocessing,
    objective: new ClipLoss(),
    optimizer: new AdamW(decayGroups(model, 0.2), { betas: [0.9, 0.98], eps: 1e-8 }),
    precision: "fp32" as const,
    device: "cpu",
  };
  const tokenLength = 9;
  const tokens = Int32Array.from({ length: batchSize * tokenLength }, (_, i) =>
    i % tokenLength === tokenLength - 1 ? 49407 : 5 + (i % 97),
  );
  const images = Uint8Array.from({ length: batchSize * size * size * 3 }, (_, i) => (i * 2654435761) % 251);
  const times: number[] = [];
  for (let step = 0; step < 8; step++) {
    const started = performance.now();
    trainStep(context, { images, tokens, batchSize, tokenLength }, 1e-3);
    if (step >= 3) times.push(performance.now() - started);
  }
  return median(times);
}

const here = fileURLToPath(import.meta.url);
const child = (spin: string): number =>
  Number(execFileSync(process.execPath, [here, "--child"], { encoding: "utf8", env: { ...process.env, GOMP_SPINCOUNT: spin } }));

if (values.child) {
  process.stdout.write(String(measure()));
} else {
  const counts = ["300000", "30000", "5000", "0"];
  const times = new Map(counts.map((count) => [count, { alone: [] as number[], beside: [] as number[] }]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [count, found] of times) {
      found.alone.push(child(count));
      const loops: ChildProcess[] = Array.from({ length: availableParallelism() }, () =>
        spawn(process.execPath, ["-e", "const end = Date.now() + 120000; while (Date.now() < end);"]),
      );
      try {
        found.beside.push(child(count));
      } finally {
        for (const loop of loops) loop.kill("SIGKILL");
      }
    }
  }
  const rows = [...times].map(([count, { alone, beside }]) => {
    const [one, other] = [median(alone), median(beside)];
    return `| ${count}${count === "300000" ? " (OpenMP's default)" : count === "5000" ? " (ours)" : ""} | ${one.toFixed(0)} | ${other.toFixed(0)} | ${(other / one).toFixed(1)} |`;
  });
  process.stdout.write(`| GOMP_SPINCOUNT | ms a step alone | beside busy loops | ratio |\n|---|---|---|---|\n${rows.join("\n")}\n`);
}
