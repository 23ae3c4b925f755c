/**
 * Two ranks with one thread each against one rank with two threads, in turn in one go: README.md beside this file says more.
 *
 *   node dist/bench/distributed/compare.js --preset tiny --batch 256 --rounds 3
 *
 * Prints Markdown.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "tiny" },
    batch: { type: "string", default: "256" },
    steps: { type: "string", default: "10" },
    rounds: { type: "string", default: "3" },
  },
});

interface Outcome {
  torch: string;
  seconds: number[];
  reducedBytes: number;
  parameterBytes: number;
}

const program = fileURLToPath(new URL("./steps.js", import.meta.url));

/** Runs the steps by `ranks` processes of `threads` threads; what the first prints. */
async function run(ranks: number, threads: number, reduce: string): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "laclip-bench-"));
  const args = [program, "--preset", values.preset, "--batch", values.batch, "--steps", values.steps, "--reduce", reduce];
  try {
    const outputs = await Promise.all(
      Array.from({ length: ranks }, async (_, rank) => {
        const place = ranks === 1 ? {} : { RANK: String(rank), WORLD_SIZE: String(ranks), LACLIP_MEET: join(folder, "meet") };
        const child = spawn(process.execPath, args, {
          env: { ...process.env, LACLIP_THREADS: String(threads), ...place },
          stdio: ["ignore", "pipe", "inherit"],
        });
        let output = "";
        child.stdout.on("data", (chunk) => (output += chunk));
        const code = await new Promise((resolve) => child.on("close", resolve));
        if (code !== 0) throw new Error(`rank ${rank} ended with ${String(code)}`);
        return output;
      }),
    );
    return JSON.parse(outputs[0]!) as Outcome;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const median = (numbers: readonly number[]): number => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

const load = loadavg()[0]!;
const programs: Record<string, () => Promise<Outcome>> = {
  "one rank, two threads": async () => await run(1, 2, "overlapped"),
  "two ranks, one thread each": async () => await run(2, 1, "overlapped"),
  "the same, reduced after the backward pass": async () => await run(2, 1, "after"),
};
const outcomes = Object.fromEntries(Object.keys(programs).map((name) => [name, [] as Outcome[]]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, start] of Object.entries(programs)) {
    outcomes[name]!.push(await start());
    process.stderr.write(`round ${round + 1}: ${name} ${median(outcomes[name]!.at(-1)!.seconds).toFixed(3)} s\n`);
  }
}
const base = median(Object.values(outcomes)[0]!.flatMap(({ seconds }) => seconds));
const rows = Object.entries(outcomes).map(([name, runs]) => {
  const each = median(runs.flatMap(({ seconds }) => seconds));
  const medians = runs.map(({ seconds }) => median(seconds));
  const spread = `${Math.min(...medians).toFixed(3)}-${Math.max(...medians).toFixed(3)}`;
  const { reducedBytes, parameterBytes } = runs[0]!;
  return `| ${name} | ${each.toFixed(3)} | ${spread} | ${(base / each).toFixed(2)} | ${(reducedBytes / parameterBytes).toFixed(3)} |`;
});
process.stdout.write(
  [
    `${values.preset}, batch ${values.batch} in all, fp32, libtorch ${Object.values(outcomes)[0]![0]!.torch}, ${values.rounds} rounds in turn; load average before: ${load.toFixed(2)}`,
    "",
    "| | s a step (median) | medians of the rounds | samples a second, of the first | bytes reduced a step, of the parameters |",
    "|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n"),
);
