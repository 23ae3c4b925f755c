/**
 * The training step here and in eager PyTorch, in turn in one go: README.md beside this file has the method.
 *
 *   node dist/bench/training-step/compare.js --python python3 --precision fp32 --rounds 3 [--model vit-b-16|vit-b-32|vit-s-16]
 *
 * PYTHON must have the same version of PyTorch as the libtorch that the addon was built against. Prints Markdown.
 */
import { execFileSync } from "node:child_process";
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    model: { type: "string", default: "vit-b-16" },
    precision: { type: "string", default: "fp32" },
    rounds: { type: "string", default: "3" },
    steps: { type: "string", default: "5" },
    warmup: { type: "string", default: "2" },
    threads: { type: "string", default: "2" },
  },
});

interface Outcome {
  torch: string;
  seconds: number[];
  median: number;
  peakMemoryMiB: number;
}

const common = [
  "--model",
  values.model,
  "--precision",
  values.precision,
  "--steps",
  values.steps,
  "--warmup",
  values.warmup,
  "--threads",
  values.threads,
];
const beside = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const run = (program: string, args: readonly string[]): Outcome =>
  JSON.parse(execFileSync(program, args, { encoding: "utf8" }).trim().split("\n").at(-1)!) as Outcome;
/** The middle value, or the mean of the two in the middle. */
const median = (numbers: readonly number[]): number => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

const load = loadavg()[0]!;
const programs = {
  laclip: () => run(process.execPath, [beside("./step.js"), ...common]),
  "PyTorch eager": () => run(values.python, [beside("../../../bench/training-step/peer.py"), ...common]),
};
const outcomes = Object.fromEntries(Object.keys(programs).map((name) => [name, [] as Outcome[]]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, start] of Object.entries(programs)) {
    outcomes[name]!.push(start());
    process.stderr.write(`round ${round + 1}: ${name} ${outcomes[name]!.at(-1)!.median.toFixed(2)} s\n`);
  }
}

const peer = median(outcomes["PyTorch eager"]!.flatMap(({ seconds }) => seconds));
const rows = Object.entries(outcomes).map(([name, runs]) => {
  const all = median(runs.flatMap(({ seconds }) => seconds));
  const medians = runs.map((outcome) => outcome.median);
  const spread = `${Math.min(...medians).toFixed(2)}-${Math.max(...medians).toFixed(2)}`;
  return `| ${name} | ${runs[0]!.torch} | ${all.toFixed(2)} | ${spread} | ${(all / peer).toFixed(2)} | ${Math.max(...runs.map((outcome) => outcome.peakMemoryMiB))} |`;
});
process.stdout.write(
  [
    `${values.model}, batch 16, ${values.precision}, ${values.threads} threads, ${values.rounds} rounds in turn; load average before: ${load.toFixed(2)}`,
    "",
    "| | libtorch | s a step (median) | medians of the rounds | ratio | peak MiB |",
    "|---|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n"),
);
