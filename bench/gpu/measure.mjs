/**
 * Runs the parts of the benchmark in the order of importance until the time is used up, programs in turn, and writes what it has after each:
 * `results.json`, `table.md`, and what the tests printed.
 *
 *   node bench/gpu/measure.mjs --device cuda --budget 480 --out gpu-results
 *
 * Each part has a share of the time; what does not fit is left out, and said. `--small` runs every part with tiny models, to see on a
 * processor that all of it works. `--only WORD` runs the parts whose name holds it, and may come several times. `--parts` says which parts
 * there are, in their order, with their shares, and what all of these are together.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { table } from "./table.mjs";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "cuda" },
    python: { type: "string", default: "python3" },
    budget: { type: "string", default: "480" },
    /** When the budget began to run, seconds since 1970. */
    since: { type: "string" },
    out: { type: "string", default: process.env["OUT"] ?? "gpu-results" },
    small: { type: "boolean", default: false },
    /** Runs only the parts whose name holds one of these. */
    only: { type: "string", multiple: true, default: [] },
    /** Prints the parts, and runs none. */
    parts: { type: "boolean", default: false },
  },
});
const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, "../..");
const out = path.resolve(values.out);
const { small, only } = values;
const end = (values.since === undefined ? Date.now() : Number(values.since) * 1000) + Number(values.budget) * 1000;
const left = () => (end - Date.now()) / 1000;

/**
 * One program of a part.
 * @typedef {{ program: string, command: string, args: string[], otherwise?: string[], attempt?: boolean }} Run
 * `otherwise`: arguments with which it is tried again when it fails or takes too long; `attempt`: that it does is a finding like others, and
 * the call has not failed
 */

const precision = values.device === "cpu" ? "fp32" : "bf16";
const steps = small ? ["--steps", "3", "--warmup", "2"] : ["--steps", "20", "--warmup", "6"];
/** @param {string} preset */
const ownName = (preset) => (small ? "nano" : preset);
/** @param {string} batch */
const sized = (batch) => (small ? String(Math.max(8, Math.round(Number(batch) / 128))) : batch);

/** @param {string} preset @param {string} batch @param {string[]} more @returns {Run} */
const ours = (preset, batch, ...more) => ({
  program: "laclip",
  command: process.execPath,
  args: [
    path.join(root, "dist/bench/gpu/step.js"),
    "--device",
    values.device,
    "--preset",
    ownName(preset),
    "--batch",
    sized(batch),
    "--precision",
    precision,
    ...steps,
    ...more,
  ],
});
/** Keeps PyTorch from compiling. */
const eager = ["--compile-mode", "none"];
/** @param {"repository" | "best"} way @param {string} preset @param {string} batch @returns {Run} */
function theirs(way, preset, batch) {
  const args = [path.join(here, "reference.py"), "--way", way, "--device", values.device];
  args.push("--preset", small ? "small" : preset, "--batch", sized(batch), ...steps);
  const program = `PyTorch, ${way}`;
  if (way === "repository") return { program, command: values.python, args };
  // Compiling can fail, or take longer than there is time for.
  return {
    program,
    command: values.python,
    args: [...args, ...(small ? eager : [])],
    otherwise: [...args, ...eager],
  };
}
/** The best way with CUDA's graphs, which record the launches of a step; what it is eagerly, another part says. @returns {Run} */
function theirsRecorded() {
  const { otherwise: _, ...run } = theirs("best", "vit-b-16", "256");
  return { ...run, args: [...run.args, ...(small ? [] : ["--compile-mode", "reduce-overhead"])], attempt: true };
}
/** @param {"table" | "tars"} from @param {string} batch @returns {Run} */
const fed = (from, batch) => ({
  program: "laclip train",
  command: process.execPath,
  args: [
    path.join(root, "dist/bench/gpu/feed.js"),
    "--device",
    values.device,
    "--preset",
    ownName("vit-b-16"),
    "--precision",
    precision,
    "--from",
    from,
    "--batch",
    sized(batch),
    ...(small ? ["--steps", "10", "--warmup", "5", "--pictures", "64", "--different", "8"] : []),
  ],
});
/** @param {string[]} files @returns {Run} */
const tests = (...files) => ({
  program: "tests",
  command: process.execPath,
  args: ["--test", "--test-reporter=tap", "--test-concurrency=4", ...files.map((file) => path.join("dist", `${file}.test.js`))],
});
/** @param {string} preset @param {string} batch @param {string[]} more of ours */
const threeWays = (preset, batch, ...more) => [
  ours(preset, batch, ...more),
  theirs("repository", preset, batch),
  theirs("best", preset, batch),
];

/** @param {string} preset */
const recordedOrNot = (preset) => ({
  name: `${preset}, batch 256, recorded or not`,
  share: 60,
  runs: [[], ["--graphs"], [], ["--graphs"]].map((more) => ours(preset, "256", ...more)),
});

// Few steps, since every kernel of them is looked at; with graphs too, of steps that begin late enough for their shapes to have been recorded.
/** @param {string} name @param {string} preset @param {string[]} more */
const profiled = (name, preset, ...more) => ({
  name: `${name}, batch 256, where the time goes`,
  share: 40,
  runs: [[], ["--graphs"]].map((way) =>
    ours(preset, "256", ...more, ...way, "--profile", "--warmup", small ? "4" : "16", "--steps", small ? "2" : "5"),
  ),
});

/** @type {{ name: string, share: number, runs: Run[] }[]} */
const parts = [
  {
    name: "correctness",
    share: 140,
    runs: [
      tests(
        "test/gpu/kernels",
        "test/gpu/steps",
        "test/gpu/packed-attention",
        "test/gpu/graphs",
        "test/gpu/parity",
        "test/gpu/profile",
        "src/torch/device",
        "src/optim/adamw",
        "src/training/batch-feed",
        "src/training/view-colours",
      ),
    ],
  },
  // Ours again at the end, to see what the machine itself varies.
  { name: "B/16, batch 256", share: 150, runs: [...threeWays("vit-b-16", "256"), ours("vit-b-16", "256")] },
  {
    name: "B/16, our kernels and plain operators, batch 256",
    share: 50,
    runs: [0, 1].flatMap(() => [ours("vit-b-16", "256", "--plain"), ours("vit-b-16", "256")]),
  },
  {
    name: "kernels, one by one",
    share: 20,
    runs: [
      {
        program: "kernels",
        command: process.execPath,
        args: [
          path.join(root, "dist/bench/gpu/kernels.js"),
          "--device",
          values.device,
          ...(small ? ["--batch", "2", "--repeat", "1"] : []),
        ],
      },
    ],
  },
  profiled("B/16", "vit-b-16"),
  {
    name: "B/16, CLIP and LaCLIP, batch 512",
    share: 50,
    runs: ["clip", "laclip", "clip", "laclip"].map((method) => ours("vit-b-16", "512", "--method", method)),
  },
  {
    name: "B/16, batch 8,192",
    share: 60,
    runs: [ours("vit-b-16", "8192", "--micro", sized("1024"), "--steps", "3", "--warmup", "1")],
  },
  // At 256 a step is the shortest, and at 1,024 it waits for the most.
  { name: "B/16, pictures from tars", share: 90, runs: [fed("tars", "256"), fed("tars", "1024")] },
  // In turn, twice: what a graph saves is the time in which the GPU waits for the program.
  recordedOrNot("vit-s-16"),
  profiled("S/16", "vit-s-16"),
  { name: "B/16, batch 1,024", share: 110, runs: threeWays("vit-b-16", "1024") },
  { name: "whole runs and evaluation", share: 100, runs: [tests("test/gpu/runs", "test/gpu/evaluation", "test/gpu/kept-kernels")] },
  {
    name: "B/16, LaCLIP-MT, batch 512",
    share: 45,
    runs: ["1", "2", "4"].map((texts) => ours("vit-b-16", "512", "--method", "laclip-mt", "--texts", texts)),
  },
  {
    name: "B/16, SLIP, batch 256",
    share: 40,
    runs: ["loader", "device"].map((views) => ours("vit-b-16", "256", "--method", "slip", "--views", views)),
  },
  profiled("B/16 SLIP", "vit-b-16", "--method", "slip", "--views", "device"),
  recordedOrNot("vit-b-16"),
  recordedOrNot("vit-b-32"),
  { name: "B/16, pictures from a table", share: 60, runs: [fed("table", "256"), fed("table", "1024")] },
  { name: "B/32, batch 1,024", share: 100, runs: threeWays("vit-b-32", "1024") },
  { name: "S/16, batch 1,024", share: 100, runs: threeWays("vit-s-16", "1024") },
  { name: "L/16, batch 256", share: 120, runs: threeWays("vit-l-16", "256") },
  {
    name: "B/16, other precisions, batch 256",
    share: 55,
    runs: [["fp16"], ["fp32"], ["fp32", "--tf32"]].map((precise) => ours("vit-b-16", "256", "--precision", ...precise)),
  },
  { name: "B/16, blocks computed again, batch 2,048", share: 25, runs: [ours("vit-b-16", "2048", "--recompute")] },
  // Compiling comes last in its part, and ends with the share of it.
  { name: "B/16, PyTorch with CUDA graphs, batch 256", share: 110, runs: [ours("vit-b-16", "256"), theirsRecorded()] },
  { name: "S/16, batch 256", share: 100, runs: threeWays("vit-s-16", "256") },
  { name: "B/32, batch 256", share: 100, runs: threeWays("vit-b-32", "256") },
  { name: "L/16, batch 128", share: 120, runs: threeWays("vit-l-16", "128") },
  // Where the whole batch does not fit, ours takes micro-batches, and PyTorch's rows say that memory has ended.
  { name: "L/16, batch 512", share: 140, runs: threeWays("vit-l-16", "512", "--micro", "auto") },
  // float16 is no precision of a processor.
].map((part) => (values.device === "cpu" ? { ...part, runs: part.runs.filter(({ args }) => !args.includes("fp16")) } : part));

if (values.parts) {
  for (const { name, share } of parts) process.stdout.write(`${String(share).padStart(4)} s  ${name}\n`);
  process.stdout.write(`${parts.reduce((sum, { share }) => sum + share, 0)} s in all\n`);
  process.exit();
}

/** Least seconds worth starting a program for. */
const least = small ? 5 : 12;

/**
 * What PyTorch compiles for the first model takes longer than its part has: it begins beside the tests, and what it has compiled stays in
 * a folder (run.sh), where the run that is measured finds it.
 * @returns waits for it, but not for long, and ends it: nothing may run beside what is measured
 */
function compileAhead() {
  const { command, args } = theirs("best", "vit-b-16", "256");
  const all = ["-s", "KILL", "200", command, ...args, "--warmup", "1", "--steps", "1"];
  const program = spawn("timeout", all, { cwd: root, stdio: "ignore", detached: true });
  const ended = new Promise((resolve) => program.on("exit", resolve).on("error", resolve));
  return async () => {
    await Promise.race([ended, sleep(Math.min(40, left()) * 1000, undefined, { ref: false })]);
    // The whole group, since compilers are processes of their own.
    if (program.pid !== undefined) spawnSync("kill", ["-KILL", "--", `-${program.pid}`]);
  };
}

/** @type {import("./table.mjs").Result[]} */
const results = [];
mkdirSync(out, { recursive: true });
for (const { name, share, runs } of parts) {
  if (only.length > 0 && !only.some((word) => name.includes(word))) continue;
  const until = Math.min(end, Date.now() + share * (small ? 10 : 1) * 1000);
  const compiled = name === "correctness" && only.length === 0 ? compileAhead() : undefined;
  for (const [i, run] of runs.entries()) {
    const seconds = (until - Date.now()) / 1000;
    // One that hangs must not take the time of those behind it.
    const own = Math.max(3 * least, seconds - (runs.length - 1 - i) * least);
    const result = seconds < least ? leftOut(name, run) : measure(name, run, Math.min(own, left()));
    results.push(result);
    writeFileSync(path.join(out, "results.json"), `${JSON.stringify(results, null, 1)}\n`);
    writeFileSync(path.join(out, "table.md"), `${table(results)}\n`);
    const { outcome, failed, note } = result;
    const found =
      failed ??
      note ??
      outcome?.error ??
      (outcome?.imagesPerSecond === undefined ? JSON.stringify(outcome) : `${outcome.imagesPerSecond.toFixed(1)} images/s`);
    process.stderr.write(`${name}: ${run.program}: ${found} (${result.seconds.toFixed(0)} s, ${left().toFixed(0)} s left)\n`);
  }
  await compiled?.();
}
process.stdout.write(`${table(results)}\n`);
if (results.some(({ failed }) => failed !== undefined)) process.exitCode = 1;

/** @param {string} name @param {Run} run @returns {import("./table.mjs").Result} */
function leftOut(name, { program }) {
  return { name, program, seconds: 0, note: "left out: no time left for it" };
}

/** @param {string} name @param {Run} run @param {number} limit seconds @returns {import("./table.mjs").Result} */
function measure(name, run, limit) {
  const { program, command, args, otherwise } = run;
  const started = Date.now();
  // Enough must be left to go another way.
  const first = otherwise === undefined ? limit : Math.max(least, limit - 2 * least);
  // It ends what the program has started too, which would go on beside the next one.
  const answer = spawnSync("timeout", ["-s", "KILL", String(Math.ceil(first)), command, ...args], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  const seconds = (Date.now() - started) / 1000;
  const output = answer.stdout ?? "";
  if (program === "tests") {
    writeFileSync(path.join(out, `${name.replaceAll(/\W+/g, "-")}.tap`), `${output}\n${answer.stderr ?? ""}`);
    const outcome = Object.fromEntries(
      [...output.matchAll(/^# (pass|fail|skipped) (\d+)$/gm)].map(([, what, count]) => [what, Number(count)]),
    );
    if (answer.status === 0 && !(outcome["pass"] > 0)) {
      const nothing = "nothing of it runs here";
      return { name, program, seconds, outcome, ...(values.device === "cpu" ? { note: nothing } : { failed: nothing }) };
    }
    return { name, program, seconds, outcome, ...(answer.status === 0 ? {} : { failed: why(answer, first) }) };
  }
  if (answer.status === 0) return { name, program, seconds, outcome: JSON.parse(output.trim().split("\n").at(-1) ?? "") };
  const failed = why(answer, first);
  const remaining = limit - seconds;
  if (run.attempt) return { name, program, seconds, note: `without a result: ${failed}` };
  if (otherwise === undefined || remaining < least) return { name, program, seconds, failed };
  const again = measure(name, { program, command, args: otherwise }, remaining);
  return { ...again, seconds: seconds + again.seconds, note: `not compiled: ${failed}` };
}

/** @param {import("node:child_process").SpawnSyncReturns<string>} answer @param {number} limit */
function why({ error, stdout, stderr, status, signal }, limit) {
  if (signal === "SIGKILL" || status === 137) return `killed, after ${limit.toFixed(0)} s at most`;
  const failures = [...(stdout ?? "").matchAll(/^\s*not ok \d+ - (.*)$/gm)].map(([, title]) => title);
  if (failures.length > 0) return failures.join("; ");
  return (error?.message ?? stderr ?? "").trim().split("\n").slice(-3).join(" / ") || `exit code ${status}`;
}
