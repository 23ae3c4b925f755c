/**
 * What a checkpoint costs the training loop: the pause for copying, against the time of a step.
 *
 *   node dist/bench/checkpoint.bench.js [--model vit-b-16] [--batch 16] [--rounds 3]
 *
 * In turn: steps alone; the pause (finite check, copies, hand-over to the writing thread); a step beside the writing; the rest of the
 * writing. Writes below the folder for temporary files, or --folder. Prints Markdown; medians over the rounds.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Clip, imagenetPreprocessing, preset } from "../src/models/index.ts";
import { ClipLoss } from "../src/objectives/index.ts";
import { AdamW } from "../src/optim/index.ts";
import { Random } from "../src/support/index.ts";
import { CheckpointWriter, canBeSaved, copyCheckpoint, decayGroups, trainStep } from "../src/training/index.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "vit-b-16" },
    batch: { type: "string", default: "16" },
    rounds: { type: "string", default: "3" },
    folder: { type: "string", default: tmpdir() },
  },
});
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

const batchSize = Number(values.batch);
const model = new Clip(preset(values.model), { seed: 1 });
const size = model.config.vision.imageSize;
const tokenLength = 16;
const random = Random.of("checkpoint-bench");
const input = {
  batchSize,
  tokenLength,
  images: Uint8Array.from({ length: batchSize * size * size * 3 }, () => random.integer(256)),
  tokens: Int32Array.from({ length: batchSize * tokenLength }, (_, i) =>
    i % tokenLength === tokenLength - 1 ? 49407 : 5 + random.integer(49_000),
  ),
};
const optimizer = new AdamW(decayGroups(model, 0.5), { betas: [0.9, 0.98], eps: 1e-8 });
const parts = { model, preprocessing: imagenetPreprocessing, optimizer };
const context = { ...parts, objective: new ClipLoss(), precision: "fp32" as const, device: "cpu" };

const root = mkdtempSync(join(values.folder, "laclip-checkpoint-"));
const writer = new CheckpointWriter();
const found = { alone: [] as number[], pause: [] as number[], beside: [] as number[], writing: [] as number[] };

/** Seconds that `body` takes. */
function timed(body: () => void): number {
  const started = performance.now();
  body();
  return (performance.now() - started) / 1000;
}
const step = (): void => void trainStep(context, input, 1e-4, { measureGradient: true });

try {
  timed(step);
  for (let round = 0; round < Number(values.rounds); round++) {
    found.alone.push(timed(step), timed(step));
    let written: Promise<void> | undefined;
    const started = performance.now();
    const pause = timed(() => {
      if (!canBeSaved(parts)) throw new Error("the weights are not finite");
      const state = { step: round + 1, updates: optimizer.steps };
      written = writer.write(copyCheckpoint(root, { ...parts, state }));
    });
    await new Promise((resolve) => setImmediate(resolve)); // the job goes to the thread
    found.pause.push(pause);
    found.beside.push(timed(step));
    await written;
    found.writing.push((performance.now() - started) / 1000);
    rmSync(root, { recursive: true });
  }
} finally {
  await writer.close();
  rmSync(root, { recursive: true, force: true });
}

const bytes = 3 * 4 * model.parameterCount;
const row = [values.model, values.batch, (bytes / 2 ** 20).toFixed(0), ...Object.values(found).map((times) => median(times).toFixed(3))];
process.stdout.write(`| model | batch | MiB | s a step alone | s of pause | s a step beside the writing | s until it is written |
|---|--:|--:|--:|--:|--:|--:|
| ${row.join(" | ")} |
`);
