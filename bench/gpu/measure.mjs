/**
 * Measures in the order of importance until the time is used up, each program in turn, and writes what it has after each: `results.json`, and
 * a table on standard output at the end.
 *
 *   node bench/gpu/measure.mjs --device cuda --budget 480 --out results
 *
 * `--small` measures a tiny model in a few seconds, to see that all of it runs, also on a processor.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "cuda" },
    python: { type: "string", default: "python3" },
    budget: { type: "string", default: "480" },
    out: { type: "string", default: "gpu-results" },
    small: { type: "boolean", default: false },
  },
});
const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, "../..");
const end = Date.now() + Number(values.budget) * 1000;
const left = () => Math.round((end - Date.now()) / 1000);

const steps = values.small ? ["--steps", "3", "--warmup", "2"] : ["--steps", "20", "--warmup", "6"];
/** @param {string[]} args */
const ours = (...args) => ({
  program: "laclip",
  command: process.execPath,
  args: [path.join(root, "dist/bench/gpu/step.js"), "--device", values.device, ...steps, ...args],
});
/** @param {string} way @param {string[]} args */
const theirs = (way, ...args) => ({
  program: `PyTorch, ${way}`,
  command: values.python,
  args: [path.join(here, "reference.py"), "--way", way, "--device", values.device, ...steps, ...args],
});

const tests = ["torch/device", "torch/tensor", "optim/adamw", "training/batch-feed"].map((name) => `dist/src/${name}.test.js`);
const correctness = {
  name: "tests on this device",
  runs: [
    {
      program: "tests",
      command: process.execPath,
      args: [
        "--test",
        "--test-reporter=spec",
        ...tests,
        "dist/test/gpu/steps.test.js",
        "dist/test/gpu/runs.test.js",
        "dist/test/gpu/evaluation.test.js",
      ],
    },
  ],
};
/** @param {string} preset @param {string} batch @param {{ best?: boolean, more?: string[] }} [options] */
const against = (preset, batch, { best = true, more = [] } = {}) => ({
  name: `${preset}, batch ${batch}${more.length > 0 ? `, ${more.join(" ")}` : ""}`,
  runs: [
    ours("--preset", preset, "--batch", batch, ...more),
    theirs("repository", "--preset", preset, "--batch", batch),
    ...(best ? [theirs("best", "--preset", preset, "--batch", batch)] : []),
  ],
});
/** @param {string} name @param {string[][]} variants */
const own = (name, ...variants) => ({ name, runs: variants.map((args) => ours(...args)) });

const b16 = ["--preset", "vit-b-16"];
const plan = values.small
  ? [
      {
        name: "small",
        runs: [
          ours("--preset", "nano", "--batch", "8", "--precision", "fp32"),
          theirs("repository", "--preset", "small", "--batch", "8"),
          theirs("best", "--preset", "small", "--batch", "8", "--compile", "none"),
        ],
      },
      own(
        "methods",
        ...[["clip"], ["laclip"], ["laclip-mt", "--texts", "2"], ["slip"]].map(([method, ...more]) => [
          "--preset",
          "nano",
          "--batch",
          "8",
          "--precision",
          "fp32",
          "--method",
          method,
          ...more,
        ]),
      ),
    ]
  : [
      correctness,
      against("vit-b-16", "256"),
      against("vit-b-16", "1024"),
      own(
        "CLIP and LaCLIP",
        [...b16, "--batch", "512", "--method", "clip"],
        [...b16, "--batch", "512", "--method", "laclip"],
        [...b16, "--batch", "512", "--method", "clip"],
        [...b16, "--batch", "512", "--method", "laclip"],
      ),
      own("batch 8,192", [...b16, "--batch", "8192", "--micro", "1024", "--steps", "3", "--warmup", "1"]),
      own("precision", [...b16, "--batch", "256", "--precision", "fp16"], [...b16, "--batch", "256", "--precision", "fp32"]),
      own("LaCLIP-MT", ...["1", "2", "4"].map((texts) => [...b16, "--batch", "512", "--method", "laclip-mt", "--texts", texts])),
      own("SLIP", [...b16, "--batch", "256", "--method", "slip"]),
      against("vit-b-32", "1024"),
      against("vit-s-16", "1024"),
      against("vit-l-16", "256"),
      own("blocks computed again", [...b16, "--batch", "2048", "--recompute"]),
    ];

mkdirSync(values.out, { recursive: true });
/** @type {{ name: string, program: string, seconds: number, outcome?: Record<string, any>, failed?: string }[]} */
const results = [];
for (const { name, runs } of plan) {
  for (const { program, command, args } of runs) {
    if (left() < 15) {
      results.push({ name, program, seconds: 0, failed: "no time left" });
      continue;
    }
    const started = Date.now();
    const answer = spawnSync(command, args, { cwd: root, encoding: "utf8", timeout: Math.min(left(), 240) * 1000, maxBuffer: 1 << 28 });
    const seconds = (Date.now() - started) / 1000;
    const output = answer.stdout ?? "";
    if (program === "tests") {
      writeFileSync(path.join(values.out, "tests.txt"), `${output}\n${answer.stderr ?? ""}`);
      const counts = Object.fromEntries(
        [...output.matchAll(/^ℹ (pass|fail|skipped) (\d+)$/gm)].map(([, what, count]) => [what, Number(count)]),
      );
      results.push({ name, program, seconds, outcome: counts, ...(answer.status === 0 ? {} : { failed: "see tests.txt" }) });
    } else if (answer.status === 0) {
      results.push({ name, program, seconds, outcome: JSON.parse(output.trim().split("\n").at(-1) ?? "{}") });
    } else {
      results.push({
        name,
        program,
        seconds,
        failed: (answer.error?.message ?? answer.stderr ?? "").trim().split("\n").slice(-4).join(" / ") || `exit code ${answer.status}`,
      });
    }
    writeFileSync(path.join(values.out, "results.json"), `${JSON.stringify(results, null, 1)}\n`);
    const last = results.at(-1);
    process.stderr.write(
      `${name}: ${program}: ${last?.failed ?? last?.outcome?.imagesPerSecond?.toFixed(1) ?? JSON.stringify(last?.outcome)} (${seconds.toFixed(0)} s, ${left()} left)\n`,
    );
  }
}

/** @param {number | undefined} value @param {number} digits */
const shown = (value, digits) => (value === undefined || value === null ? "" : value.toFixed(digits));
const lines = ["| what | program | setting | images/s | s a step | TFLOP/s | MFU | GiB | note |", "|---|---|---|--:|--:|--:|--:|--:|---|"];
for (const { name, program, outcome = {}, failed } of results) {
  if (program === "tests") {
    lines.push(
      `| ${name} | | | | | | | | ${outcome.pass ?? 0} passed, ${outcome.fail ?? 0} failed, ${outcome.skipped ?? 0} skipped${failed ? `: ${failed}` : ""} |`,
    );
    continue;
  }
  const setting = [
    outcome.precision,
    outcome.method,
    outcome.texts && outcome.texts !== "1" ? `K ${outcome.texts}` : "",
    outcome.micro ? `micro ${outcome.micro}` : "",
  ]
    .filter(Boolean)
    .join(", ");
  lines.push(
    `| ${name} | ${program} | ${setting} | ${shown(outcome.imagesPerSecond, 1)} | ${shown(outcome.median, 4)} | ${shown(outcome["train/tflops"], 1)} | ${outcome["train/mfu"] === undefined ? "" : `${(100 * outcome["train/mfu"]).toFixed(1)} %`} | ${outcome.memory ? (outcome.memory.peak / 2 ** 30).toFixed(1) : ""} | ${failed ?? outcome.error ?? ""} |`,
  );
}
writeFileSync(path.join(values.out, "table.md"), `${lines.join("\n")}\n`);
process.stdout.write(`${lines.join("\n")}\n`);
if (results.some(({ failed, program }) => failed !== undefined && (values.small || program === "tests"))) process.exitCode = 1;
