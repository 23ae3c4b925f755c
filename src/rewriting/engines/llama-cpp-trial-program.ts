/**
 * The program of llama-cpp-trial.ts: starts llama.cpp, says what it computes on, computes with a tiny model, and says that it could.
 *
 *   node llama-cpp-trial-program.js auto|cuda|vulkan|metal|false MODEL
 *
 * MODEL is written first. It is made of what a real one is made of: weights of eight bits, heads of 64 numbers.
 */
import { getLlama, getModuleVersion } from "node-llama-cpp";
import { writeGguf } from "../../formats/index.ts";
import type { GpuKind, TrialLine } from "./llama-cpp-trial.ts";
import { tinyLlama } from "./random-llama.ts";

const [asked = "auto", path = ""] = process.argv.slice(2);
const say = (line: TrialLine): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const llama = await getLlama({
  build: "never",
  skipDownload: true,
  progressLogs: false,
  gpu: asked === "false" ? false : (asked as "auto" | GpuKind),
});
const gpu = llama.supportsGpuOffloading && llama.gpu !== false ? llama.gpu : null;
say({ version: await getModuleVersion(), gpu, devices: gpu === null ? [] : await llama.getGpuDeviceNames() });

const shape = { width: 256, feedForward: 512, layers: 1, heads: 4 };
const model = await llama.loadModel({
  modelPath: writeGguf(path, { ...tinyLlama({ shape, spread: 0.1 }), store: "q8_0" }),
  gpuLayers: gpu === null ? 0 : "max",
});
const context = await model.createContext({ contextSize: 256, sequences: 1, flashAttention: gpu === null ? false : "auto" });
const sequence = context.getSequence();
const tokens = model.tokenize("a red bus waits under a tree near the river while two dogs sleep");
await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(0, -1));
const output = await sequence.controlledEvaluate([[tokens.at(-1)!, { generateNext: { totalLogitWeight: true } }]]);
if (!Number.isFinite(output[0]?.next?.totalLogitWeight)) throw new Error("failed: what was computed are no finite numbers");
say({ computes: true });
await llama.dispose();
