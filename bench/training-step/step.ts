/**
 * One training step of a LaCLIP model in this project: the counterpart of peer.py, same sizes, same captions, same output.
 *
 *   node dist/bench/training-step/step.js --model vit-b-16 --precision fp32 --warmup 2 --steps 5
 */
import { parseArgs } from "node:util";
import { Clip, imagenetPreprocessing, preset } from "../../src/models/index.ts";
import { ClipLoss } from "../../src/objectives/index.ts";
import { AdamW } from "../../src/optim/index.ts";
import { Random } from "../../src/support/index.ts";
import { endOfText, startOfText } from "../../src/text/index.ts";
import { setThreads, threads, torchInfo } from "../../src/torch/index.ts";
import { type Precision, decayGroups, trainStep } from "../../src/training/index.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "vit-b-16" },
    precision: { type: "string", default: "fp32" },
    steps: { type: "string", default: "5" },
    warmup: { type: "string", default: "2" },
    threads: { type: "string" },
  },
});

/** As in peer.py: 8 to 22 tokens with start and end, mean 14. */
const lengths = [8, 9, 10, 11, 12, 12, 13, 13, 14, 14, 15, 16, 17, 18, 20, 22];
const size = 224;
if (values.threads !== undefined) setThreads(Number(values.threads));

const random = Random.of("training-step");
const images = Uint8Array.from({ length: lengths.length * size * size * 3 }, () => random.integer(256));
const tokenLength = Math.max(...lengths);
const tokens = new Int32Array(lengths.length * tokenLength);
lengths.forEach((length, row) => {
  const text = Array.from({ length }, (_, i) => (i === 0 ? startOfText : i === length - 1 ? endOfText : random.integer(49_000)));
  tokens.set(text, row * tokenLength);
});

const model = new Clip(preset(values.model), { seed: 1 });
const optimizer = new AdamW(decayGroups(model, 0.5), { betas: [0.9, 0.98], eps: 1e-8 });
const context = {
  model,
  preprocessing: imagenetPreprocessing,
  objective: new ClipLoss(),
  optimizer,
  precision: values.precision as Precision,
  device: "cpu",
};
const seconds: number[] = [];
const losses: number[] = [];
for (let step = 0; step < Number(values.warmup) + Number(values.steps); step++) {
  const started = performance.now();
  const { loss } = trainStep(context, { images, tokens, batchSize: lengths.length, tokenLength }, 1e-4);
  losses.push(loss);
  if (step >= Number(values.warmup)) seconds.push((performance.now() - started) / 1000);
}
process.stdout.write(
  `${JSON.stringify({
    torch: torchInfo().version,
    precision: values.precision,
    threads: threads(),
    parameters: model.parameterCount,
    seconds,
    median: seconds.toSorted((a, b) => a - b)[Math.floor(seconds.length / 2)],
    losses,
    peakMemoryMiB: Math.round(process.resourceUsage().maxRSS / 1024),
  })}\n`,
);
