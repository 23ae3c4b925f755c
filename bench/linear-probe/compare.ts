/**
 * Seconds of one fit of the linear probe against scikit-learn's L-BFGS, on the same features and cores, and how far each gets.
 *
 *   node dist/bench/linear-probe/compare.js [--python python3] [--rows 50000] [--width 768] [--classes 100] [--strength 1]
 *                                           [--rounds 2] [--threads 2] [--tolerance 1e-7] [--peer-tolerance 1e-4]
 *
 * Each fit is a process of its own, in turn; reading the features does not count. scikit-learn gets them as float32 and as float64, and the
 * faster counts. The objective is computed here, in float64, from the weights that each side leaves. Without --python there is no peer.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readNpy, writeNpy } from "../../src/formats/index.ts";
import { Tensor, manualSeed, ops, randn, scope, setThreads } from "../../src/torch/index.ts";

const { values } = parseArgs({
  options: {
    python: { type: "string" },
    rows: { type: "string", default: "50000" },
    width: { type: "string", default: "768" },
    classes: { type: "string", default: "100" },
    strength: { type: "string", default: "1" },
    rounds: { type: "string", default: "2" },
    threads: { type: "string", default: "2" },
    tolerance: { type: "string", default: "1e-7" },
    "peer-tolerance": { type: "string", default: "1e-4" },
  },
});
const [rows, width, classes, strength, rounds, threads] = [
  values.rows,
  values.width,
  values.classes,
  values.strength,
  values.rounds,
  values.threads,
].map(Number) as [number, number, number, number, number, number];

interface Measured {
  seconds: number;
  processor: number;
  iterations: number;
  version?: string;
}

setThreads(threads);
const folder = mkdtempSync(join(tmpdir(), "laclip-probe-bench-"));
try {
  makeFeatures();
  const sides: [name: string, fit: () => Measured][] = [
    ["laclip", () => run(process.execPath, [here("fit.js"), folder, values.strength, values.threads, values.tolerance])],
  ];
  for (const dtype of values.python === undefined ? [] : ["float32", "float64"]) {
    const args = [source("peer.py"), folder, values.strength, dtype, values["peer-tolerance"]];
    sides.push([`scikit-learn, ${dtype}`, () => run(values.python!, args)]);
  }
  const results = new Map(sides.map(([name]) => [name, { times: [] as Measured[], objective: NaN, predictions: [] as number[] }]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, fit] of sides) {
      const own = results.get(name)!;
      own.times.push(fit());
      Object.assign(own, score());
    }
  }
  const best = Math.min(...[...results.values()].map(({ objective }) => objective));
  const ours = results.get("laclip")!;
  const median = (times: readonly number[]): number => times.toSorted((a, b) => a - b)[times.length >> 1]!;
  for (const [name, { times, objective, predictions }] of results) {
    const same = predictions.filter((label, row) => label === ours.predictions[row]).length / rows;
    const [seconds, processor] = [median(times.map((one) => one.seconds)), median(times.map((one) => one.processor))];
    process.stdout.write(
      `${name.padEnd(22)} ${seconds.toFixed(2)} s (${processor.toFixed(2)} s of the processors), ${times[0]!.iterations} iterations, ` +
        `objective ${objective.toFixed(4)} (${((objective - best) / best).toExponential(1)} above the lowest), ` +
        `${(100 * same).toFixed(2)} % of the predictions as ours\n`,
    );
  }
  const peers = [...results].filter(([name]) => name !== "laclip").map(([, { times }]) => times);
  if (peers.length > 0) {
    const ratio = (of: (one: Measured) => number): string =>
      (median(ours.times.map(of)) / Math.min(...peers.map((times) => median(times.map(of))))).toFixed(3);
    process.stdout.write(
      `time against the faster peer: ${ratio(({ seconds }) => seconds)}; of the processors: ${ratio(({ processor }) => processor)}\n`,
    );
  }
} finally {
  rmSync(folder, { recursive: true });
}

/** Classes that overlap, in directions whose deviations fall like a power, away from zero: as the features of image towers are. */
function makeFeatures(): void {
  manualSeed(1);
  scope(() => {
    const spread = ops.arangeStart(1, width + 1, "float32").pow(-0.7);
    const centres = randn([classes, width]).mul(spread).mul(1.5);
    const [turn] = ops.linalgQr(randn([width, width]));
    const labels = Int32Array.from({ length: rows }, (_, i) => i % classes);
    const own = centres.indexSelect(0, Tensor.from(labels, [rows]).to("int64"));
    const features = own
      .add(randn([rows, width]).mul(spread).mul(4.5))
      .matmul(turn)
      .add(randn([width]).mul(0.5));
    writeNpy(join(folder, "features.npy"), { dtype: "float32", shape: [rows, width], data: features.toFloat32Array() });
    writeNpy(join(folder, "labels.npy"), { dtype: "int32", shape: [rows], data: labels });
  });
}

/** Objective and predictions of the weights that the last fit has left. */
function score(): { objective: number; predictions: number[] } {
  const tensor = (name: string): Tensor => {
    const { data, shape } = readNpy(join(folder, name));
    return Tensor.from(data, shape);
  };
  return scope(() => {
    const [weights, bias] = [tensor("weights.npy"), tensor("bias.npy")];
    const features = tensor("features.npy");
    const labels = tensor("labels.npy").to("int64");
    let objective = (0.5 / strength) * weights.mul(weights).sum().item();
    const predictions: number[] = [];
    for (let at = 0; at < rows; at += 4096) {
      scope(() => {
        const end = Math.min(rows, at + 4096);
        const logits = ops.addmm(bias, features.slice(0, at, end).to("float64"), weights.t());
        objective -= ops
          .gather(logits.logSoftmax(1), 1, labels.slice(0, at, end).unsqueeze(1))
          .sum()
          .item();
        predictions.push(...logits.argmax(1).toArray());
      });
    }
    return { objective, predictions };
  });
}

function run(program: string, args: readonly string[]): Measured {
  const counts = Object.fromEntries(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"].map((name) => [name, values.threads]));
  const printed = execFileSync(program, args, {
    env: { ...process.env, ...counts },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  return JSON.parse(printed.trim().split("\n").at(-1)!) as Measured;
}

function here(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

function source(name: string): string {
  return fileURLToPath(new URL(`../../../bench/linear-probe/${name}`, import.meta.url));
}
