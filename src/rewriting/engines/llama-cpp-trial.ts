/**
 * Whether llama.cpp computes on this machine's GPU, found out by computing with a tiny model in a process of its own.
 *
 * That it was started says little: on a GPU that its code was not made for, it ends the whole process at the first thing it computes. Its
 * package brings code for some GPUs; for the others, among them A100 and H100, the driver has to compile it, which older drivers can't.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { log } from "../../support/index.ts";

/** What llama.cpp can compute on beside the processor. */
export type GpuKind = "cuda" | "vulkan" | "metal";

/** What came of it. */
export interface LlamaCppTrial {
  /** Version of node-llama-cpp. */
  readonly version: string;
  /** null for the processor. */
  readonly gpu: GpuKind | null;
  /** Names of the GPUs that it sees. */
  readonly devices: readonly string[];
  /** Why it can't compute, null where it can. */
  readonly failure: string | null;
}

/** What the program of the trial says in each of its lines. */
export type TrialLine = Omit<LlamaCppTrial, "failure"> | { readonly computes: true };

/** Seconds after which a trial has hung; compiling for a GPU, which is done once, may take minutes. */
const patience = 300;
/** Seconds after which a person is told why they wait. */
const quiet = 5;

/**
 * Computes with a tiny model on the GPU that llama.cpp chooses, or on the one named, or on the processor.
 * @param program what is run, for tests
 * @returns undefined where llama.cpp does not start at all: it is not installed, or can't be loaded
 */
export async function tryLlamaCpp(
  gpu: "auto" | GpuKind | false,
  program = fileURLToPath(new URL(`./llama-cpp-trial-program${extname(import.meta.url)}`, import.meta.url)),
): Promise<LlamaCppTrial | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "laclip-gpu-trial-"));
  const waiting = setTimeout(() => {
    if (gpu !== false) log.info("llama.cpp is being tried; where it has to be compiled for a GPU, the first time takes some minutes");
  }, 1000 * quiet);
  try {
    const { output, complaints, ended } = await run(program, [String(gpu), join(folder, "trial.gguf")]);
    let found: Omit<LlamaCppTrial, "failure"> | undefined;
    for (const line of output.split("\n").filter((text) => text.startsWith("{"))) {
      const said = JSON.parse(line) as TrialLine;
      if ("version" in said) found = said;
      else if (found && ended === "exit code 0") return { ...found, failure: null };
    }
    return found && { ...found, failure: reason(complaints) ?? ended };
  } finally {
    clearTimeout(waiting);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function run(program: string, args: readonly string[]): Promise<{ output: string; complaints: string; ended: string }> {
  return await new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 1000 * patience,
      killSignal: "SIGKILL",
    });
    const [output, complaints]: [string[], string[]] = [[], []];
    child.stdout.setEncoding("utf8").on("data", (text: string) => output.push(text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => complaints.push(text));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const ended =
        signal === "SIGKILL" ? `it did not end in ${patience} s` : signal === null ? `exit code ${code}` : `it was ended by ${signal}`;
      resolve({ output: output.join(""), complaints: complaints.join(""), ended });
    });
  });
}

/** The first line that says what is wrong, without the place in a source file before it. */
function reason(complaints: string): string | undefined {
  const line = complaints.split("\n").find((text) => /error|unsupported|failed/i.test(text));
  return line?.replace(/^\S+:\d+: /, "").trim();
}

/** An NVIDIA GPU that Linux knows of. */
export interface NvidiaGpu {
  /** Version of its driver, such as "580.159.04"; undefined where it does not say. */
  readonly driver: string | undefined;
}

/** The machine's NVIDIA GPU, whether llama.cpp can use it or not. */
export function nvidiaGpu(): NvidiaGpu | undefined {
  const text = (read: () => string): string => {
    try {
      return read();
    } catch {
      return "";
    }
  };
  if (!/^nvidia\d+$/m.test(text(() => readdirSync("/dev").join("\n")))) return undefined;
  return { driver: text(() => readFileSync("/sys/module/nvidia/version", "utf8")).trim() || undefined };
}

/** What keeps llama.cpp from a GPU, and what to do about it; undefined where nothing does, or no GPU that it might use is there. */
export function gpuComplaint(
  { gpu, devices, failure }: Omit<LlamaCppTrial, "version">,
  nvidia: NvidiaGpu | undefined,
): { what: string; mend: string } | undefined {
  if (gpu === null) {
    if (nvidia === undefined) return undefined;
    return {
      what: "There is an NVIDIA GPU, but llama.cpp does not find libcudart and libcublas of CUDA 13, or can't load them, and so can't use it.",
      mend: "Install them (NVIDIA's packages cuda-cudart-13-0 and libcublas-13-0), or name the folder that has them in LD_LIBRARY_PATH; in PyTorch's wheels for CUDA 13 it is nvidia/cu13/lib.",
    };
  }
  if (failure === null) return undefined;
  const driver = nvidia?.driver === undefined ? "" : `, driver ${nvidia.driver}`;
  const what = `llama.cpp can't compute on the GPU (${devices.join(", ") || "unknown"}, ${gpu}${driver}): ${failure}.`;
  if (gpu !== "cuda") return { what, mend: "Update the driver." };
  return {
    what,
    mend: "The code that node-llama-cpp brings is for GPUs of compute capability 8.6, 8.9 and 12; others, such as A100 and H100, need a driver for CUDA 13.1 or newer (`nvidia-smi` says which it is for), or a build for this GPU: `npx node-llama-cpp source download --gpu cuda`, which takes CUDA's compiler.",
  };
}
