/**
 * Rewriting on a GPU, in the order of importance until the time is used up: writes `rewriting.json` and `rewriting.md` anew after each
 * measurement.
 *
 *   node bench/gpu/rewriting.mjs --device cuda --budget 420 --models /dev/shm --out gpu-results
 *
 * First llama.cpp is tried on the GPU with a tiny model; where it can't compute there, nothing is measured. `--small` runs every part with
 * tiny models, to see on a processor that all of it works.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "cuda" },
    budget: { type: "string", default: "420" },
    /** When the budget began to run, seconds since 1970. */
    since: { type: "string" },
    out: { type: "string", default: process.env["OUT"] ?? "gpu-results" },
    /** Folder for the models, which take 4 to 14 GB, one at a time. */
    models: { type: "string", default: "build/gpu" },
    small: { type: "boolean", default: false },
  },
});
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const out = path.resolve(values.out);
const { small, device } = values;
const end = (values.since === undefined ? Date.now() : Number(values.since) * 1000) + Number(values.budget) * 1000;
const left = () => (end - Date.now()) / 1000;
const program = path.join(root, "dist/bench/gpu/rewriting.js");
/** The paper's rate on an A100 (LLaMA-7B, ungrouped). */
const paper = 15;
const seconds = small ? "2" : "10";
/** What a measurement takes beside these seconds: start, loading, the first and the last round. */
const around = small ? 20 : 20;

/** @typedef {{ weights: string, args: string[], env?: Record<string, string> }} Run */
/** @typedef {Run & { outcome?: Record<string, any>, failed?: string, note?: string, gpu?: { busy: number, gib: number, watts: number } }} Result */

/** @param {string} weights @param {number} sequences @param {string[]} more @returns {Run} */
const run = (weights, sequences, ...more) => ({
  weights,
  args: ["--sequences", String(small ? Math.ceil(sequences / 16) : sequences), ...more],
});
const allThreads = { UV_THREADPOOL_SIZE: String(availableParallelism()) };

/** @type {Run[]} */
const runs = [
  // As the program does it by itself, and without sharing beginnings.
  { weights: "q8_0", args: [] },
  run("q8_0", 64, "--ungrouped"),
  { ...run("q8_0", 64), env: allThreads },
  { ...run("q8_0", 64, "--ungrouped"), env: allThreads },
  { ...run("q8_0", 128), env: allThreads },
  { ...run("q8_0", 32), env: allThreads },
  { ...run("q8_0", 64, "--batch", "2048"), env: allThreads },
  { ...run("q8_0", 64, "--batch", "512"), env: allThreads },
  // The precision of the paper's model.
  { ...run("f16", 64), env: allThreads },
  { ...run("f16", 64, "--ungrouped"), env: allThreads },
  { ...run("q4_0", 64), env: allThreads },
  { ...run("q4_0", 64, "--ungrouped"), env: allThreads },
  { ...run("q8_0", 16), env: allThreads },
  { ...run("q8_0", 192), env: allThreads },
];

/** @type {Result[]} */
const results = [];
mkdirSync(out, { recursive: true });
const spare = path.join(root, "build/gpu");
for (const folder of [values.models, spare]) mkdirSync(folder, { recursive: true });
const { bavail, bsize } = statfsSync(values.models);
// Memory that looks like a disk may be too small for a model.
const models = small || bavail * bsize > 15e9 ? values.models : spare;
if (models !== values.models)
  process.stderr.write(`${values.models} has only ${((bavail * bsize) / 1e9).toFixed(0)} GB left: models lie in ${spare}\n`);

const { tryLlamaCpp, gpuComplaint, nvidiaGpu } = await import(path.join(root, "dist/src/rewriting/engines/llama-cpp-trial.js"));
const trial = await tryLlamaCpp(device === "cpu" ? false : "auto");
const complaint = trial === undefined ? { what: "llama.cpp does not start here.", mend: "" } : gpuComplaint(trial, nvidiaGpu());
const computes = trial !== undefined && trial.failure === null && (device === "cpu" || trial.gpu === "cuda");
process.stderr.write(`llama.cpp: ${JSON.stringify(trial)}, ${left().toFixed(0)} s left\n`);
keep();

/** @type {string | undefined} */
let model;
/** Weights of which no model could be made. @type {Set<string>} */
const unmade = new Set();
if (computes) {
  for (const one of runs) {
    if (left() < Number(seconds) + around) results.push({ ...one, note: "left out: no time left for it" });
    else if (!make(one.weights)) results.push({ ...one, failed: "its model could not be made" });
    else results.push(await measure(one));
    const last = results.at(-1);
    const found = last?.failed ?? last?.note ?? `${last?.outcome?.captionsPerSecond.toFixed(1)} captions/s`;
    process.stderr.write(`${one.weights} ${one.args.join(" ")}: ${found} (${left().toFixed(0)} s left)\n`);
    keep();
  }
  if (model !== undefined) rmSync(model, { force: true });
} else {
  process.stderr.write(`${complaint?.what ?? "llama.cpp computes on no CUDA device here."} ${complaint?.mend ?? ""}\n`);
}
process.stdout.write(`${table()}\n`);
if (!results.some(({ outcome }) => outcome) || results.some(({ failed }) => failed !== undefined)) process.exitCode = 1;

/** Has the model of these weights, and no other, since they fill a disk. @param {string} weights */
function make(weights) {
  const path_ = path.join(models, `random-llama-${small ? "small" : "7b"}.${weights}.gguf`);
  if (model === path_) return true;
  if (unmade.has(weights)) return false;
  if (model !== undefined) rmSync(model, { force: true });
  model = undefined;
  const answer = spawnSync(process.execPath, [program, "--model", path_, "--make", weights, ...(small ? ["--small"] : [])], {
    encoding: "utf8",
  });
  process.stderr.write(`model ${weights}: ${answer.status === 0 ? answer.stdout : answer.stderr}`);
  if (answer.status !== 0) {
    unmade.add(weights);
    return false;
  }
  model = path_;
  return true;
}

/** @param {Run} one @returns {Promise<Result>} */
async function measure(one) {
  const args = [program, "--model", String(model), "--device", device, "--seconds", seconds, ...(small ? ["--small"] : []), ...one.args];
  // One that hangs must not take the time of those behind it.
  const limit = Math.min(left(), 3 * (Number(seconds) + around));
  const watch = watchGpu();
  const answer = await new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...one.env },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: limit * 1000,
      killSignal: "SIGKILL",
    });
    const [output, complaints] = [/** @type {string[]} */ ([]), /** @type {string[]} */ ([])];
    child.stdout.setEncoding("utf8").on("data", (text) => output.push(text));
    child.stderr.setEncoding("utf8").on("data", (text) => complaints.push(text));
    child.on("close", (status, signal) => resolve({ status, signal, stdout: output.join(""), stderr: complaints.join("") }));
  });
  const gpu = watch();
  process.stderr.write(answer.stderr);
  if (answer.status === 0) return { ...one, outcome: JSON.parse(answer.stdout.trim().split("\n").at(-1)), ...(gpu && { gpu }) };
  const line =
    answer.stderr.split("\n").find((/** @type {string} */ text) => /error/i.test(text)) ?? answer.stderr.trim().split("\n").at(-1);
  const why = answer.signal === "SIGKILL" ? `killed, after ${limit.toFixed(0)} s at most` : line?.trim();
  return { ...one, failed: why || `exit code ${answer.status}` };
}

/** What the GPU does, twice a second, by nvidia-smi where that is there; the busier half, which leaves out start and loading. */
function watchGpu() {
  const query = ["--query-gpu=utilization.gpu,memory.used,power.draw", "--format=csv,noheader,nounits", "-lms", "500"];
  const child = spawn("nvidia-smi", query, { stdio: ["ignore", "pipe", "ignore"] });
  const [lines, failed] = [/** @type {number[][]} */ ([]), { is: false }];
  child.on("error", () => (failed.is = true));
  child.stdout?.setEncoding("utf8").on("data", (text) =>
    lines.push(
      ...text
        .trim()
        .split("\n")
        .map((/** @type {string} */ line) => line.split(",").map(Number)),
    ),
  );
  return () => {
    child.kill();
    if (failed.is || lines.length === 0) return undefined;
    const half = lines.toSorted((a, b) => b[0] - a[0]).slice(0, Math.ceil(lines.length / 2));
    const mean = (/** @type {number} */ i) => half.reduce((sum, line) => sum + line[i], 0) / half.length;
    return { busy: mean(0), gib: Math.max(...lines.map((line) => line[1])) / 1024, watts: mean(2) };
  };
}

function keep() {
  writeFileSync(path.join(out, "rewriting.json"), `${JSON.stringify({ trial, results }, null, 1)}\n`);
  writeFileSync(path.join(out, "rewriting.md"), `${table()}\n`);
}

function table() {
  const lines = [
    `Device: ${trial?.devices?.join(", ") || "the processor"}; node-llama-cpp ${trial?.version}, ${trial?.gpu ?? "no GPU"}${trial?.failure ? `, FAILED: ${trial.failure}` : ""}`,
    "",
    "| weights | at once | beginnings | batch | threads | captions/s | of the paper's 15 | of ungrouped | new tokens/s | tokens: prompt, new | computing | GPU busy | GiB | note |",
    "|---|--:|---|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|---|",
  ];
  for (const result of results) lines.push(`| ${cells(result).join(" | ")} |`);
  return lines.join("\n");
}

/** @param {Result} result */
function cells({ weights, args, outcome, failed, note, gpu }) {
  const remark = [failed && `FAILED: ${failed}`, note].filter(Boolean).join("; ").replaceAll("|", "/").replaceAll("\n", " ");
  const batch = args.includes("--batch") ? args[args.indexOf("--batch") + 1] : "default";
  if (outcome === undefined) return [weights, args.join(" "), "", batch, "", "", "", "", "", "", "", "", "", remark];
  const same = (/** @type {Result} */ other) =>
    other.weights === weights &&
    other.outcome?.grouped === false &&
    other.outcome.sequences === outcome.sequences &&
    other.outcome.drawingThreads === outcome.drawingThreads;
  const whole = results.find((other) => same(other))?.outcome;
  const rate = outcome.captionsPerSecond;
  return [
    weights,
    `${outcome.sequences}${args.includes("--sequences") ? "" : " (default)"}`,
    outcome.grouped ? "shared" : "each whole",
    batch,
    outcome.drawingThreads,
    rate.toFixed(1),
    // The paper's model is of this size, and the small one is not.
    small ? "" : (rate / paper).toFixed(1),
    whole && outcome.grouped ? (rate / whole.captionsPerSecond).toFixed(2) : "",
    (rate * outcome.newTokens).toFixed(0),
    `${outcome.promptTokens.toFixed(0)}, ${outcome.newTokens.toFixed(0)}`,
    `${(100 * outcome.computing).toFixed(0)} %`,
    gpu ? `${gpu.busy.toFixed(0)} %` : "",
    gpu ? gpu.gib.toFixed(1) : "",
    remark,
  ];
}
