/**
 * What `laclip doctor` finds out about this machine: each part looks at one thing and says what to mend.
 *
 * A part that is missing is a finding, never a failure of the doctor.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { arch, availableParallelism, totalmem } from "node:os";
import { type Backend, distributedBackends } from "../distributed/index.ts";
import { type ImageEngine, imageEngine } from "../images/index.ts";
import { type LlamaCppTrial, gpuComplaint, nvidiaGpu, tryLlamaCpp } from "../rewriting/index.ts";
import { LaclipError, gibibytes } from "../support/index.ts";
import { type DType, ops, randn, scope, torchInfo } from "../torch/index.ts";
import { oldestNode } from "./version.ts";

/** Free disk below which checkpoints and data soon fail to be written, in bytes. */
const leastDisk = 2 * 2 ** 30;
/** Edge of the square matrices that are multiplied to measure speed. */
const gemmSize = 1024;
/** Seconds spent measuring each kind of product. */
const gemmSeconds = 0.5;

export interface Problem {
  what: string;
  mend: string;
}

/** Everything that was found; a part is null where there is none. Field names are stable within a version. */
export interface Diagnosis {
  version: 1;
  /** True when nothing has to be mended. */
  ok: boolean;
  node: { version: string; arch: string };
  libtorch: { version: string; kind: string; path: string; addon: string; cuda: boolean; onednn: boolean } | null;
  /** Library that multiplies float32 matrices on the CPU: "OpenBLAS", "MKL", "reference", ..., and its file where it is one of its own. */
  blas: { name: string; file: string | null } | null;
  threads: { used: number | null; processors: number };
  /** Speed of a 1024 x 1024 matrix product, in 10^9 floating-point operations a second. */
  gemm: { device: string; float32: number; bfloat16: number }[];
  /** NVIDIA GPUs of the machine, as the driver names them. */
  gpus: string[];
  /** Ways in which processes can train together: "gloo" between CPUs, "nccl" between GPUs; null where the addon does not load. */
  ranks: Record<Backend, boolean> | null;
  sharp: { version: string; libvips: string } | null;
  /** The addon for images: its path, the libjpeg-turbo it decodes with, and what is missing; each is null where it is not so. */
  images: ImageEngine;
  /**
   * The embedded language-model engine; `gpu` is "cuda", "vulkan", "metal" or null, `devices` the names of the GPUs it sees, `failure` what
   * kept it from computing there.
   */
  llamaCpp: LlamaCppTrial | null;
  disk: { folder: string; freeBytes: number; totalBytes: number };
  memoryBytes: number;
  /** What is as it should be but good to know. */
  notes: string[];
  problems: Problem[];
}

export async function diagnose(folder = process.cwd()): Promise<Diagnosis> {
  const problems: Problem[] = [];
  const node = inspectNode(problems);
  const gpus = nvidiaGpus();
  const engine = inspectEngine(gpus, problems);
  const sharp = await inspectSharp(problems);
  const images = imageEngine();
  const llamaCpp = (await tryLlamaCpp("auto")) ?? null;
  const disk = await inspectDisk(folder, problems);
  const notes = engine.gemm
    .filter(({ float32, bfloat16 }) => bfloat16 < float32)
    .map(({ device }) => `bfloat16 is slower than float32 on this ${device}: train with --set training.precision=fp32.`);
  if (images.missing !== null) {
    notes.push(`Images are read slower than they could be, since ${images.missing}.`);
  }
  // It is optional, since rewriting also works through a server: what it lacks is no problem of the machine.
  const complaint = llamaCpp && gpuComplaint(llamaCpp, nvidiaGpu());
  if (complaint) notes.push(`${complaint.what} ${complaint.mend}`);
  else if (llamaCpp?.failure != null) notes.push(`llama.cpp does not compute here: ${llamaCpp.failure}`);
  return {
    version: 1,
    ok: problems.length === 0,
    node,
    ...engine,
    gpus,
    sharp,
    images,
    llamaCpp,
    disk,
    memoryBytes: totalmem(),
    notes,
    problems,
  };
}

function inspectNode(problems: Problem[]): Diagnosis["node"] {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = oldestNode;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    problems.push({
      what: `Node is ${process.versions.node}, expected ${oldestNode.join(".")} or newer.`,
      mend: "Install a current Node: https://nodejs.org/en/download",
    });
  }
  return { version: process.versions.node, arch: arch() };
}

type Engine = Pick<Diagnosis, "libtorch" | "blas" | "threads" | "gemm" | "ranks">;

function inspectEngine(gpus: readonly string[], problems: Problem[]): Engine {
  const processors = availableParallelism();
  try {
    const { version, cuda, cudaDevices, mkldnn, threads, configuration, build } = torchInfo();
    const blas = loadedBlas(configuration);
    if (blas.name === "reference") {
      problems.push({
        what: `libtorch multiplies matrices with the reference BLAS (${blas.file}), 10 to 30 times slower than OpenBLAS.`,
        mend: "sudo apt-get install -y libopenblas0-openmp",
      });
    }
    if (gpus.length > 0 && cudaDevices === 0) {
      problems.push({
        what: `There is an NVIDIA GPU, but this libtorch ${cuda ? "does not reach it" : "was built without CUDA"}.`,
        mend: cuda
          ? "Check that the driver is new enough for the CUDA of this libtorch, and CUDA_VISIBLE_DEVICES."
          : "Install a PyTorch wheel with CUDA: `npm run setup -- --wheel`, or name one of yours in LACLIP_LIBTORCH.",
      });
    }
    const devices = ["cpu", ...(cudaDevices > 0 ? ["cuda"] : [])];
    return {
      libtorch: { version, kind: build.libtorch.kind, path: build.libtorch.path, addon: build.addon, cuda, onednn: mkldnn },
      blas,
      threads: { used: threads, processors },
      ranks: distributedBackends(),
      gemm: devices.map((device) => ({ device, float32: gemmSpeed("float32", device), bfloat16: gemmSpeed("bfloat16", device) })),
    };
  } catch (error) {
    if (!LaclipError.is(error)) throw error;
    problems.push({ what: error.message, mend: error.mend ?? "Run `npm run setup` again." });
    return { libtorch: null, blas: null, threads: { used: null, processors }, gemm: [], ranks: null };
  }
}

/** The BLAS that this process has loaded, since distributions choose it by a link that no build setting knows; else the one built in. */
function loadedBlas(configuration: string): { name: string; file: string | null } {
  const files = new Set(
    readFileSync("/proc/self/maps", "utf8")
      .split("\n")
      .map((line) => line.slice(line.indexOf("/"))),
  );
  const blas = [...files].filter((file) => /\/lib(\w*blas|blis|mkl_core)[^/]*\.so[^/]*$/.test(file));
  for (const [pattern, name] of [
    [/openblas/, "OpenBLAS"],
    [/mkl/, "MKL"],
    [/blis/, "BLIS"],
    [/atlas/, "ATLAS"],
  ] as const) {
    const file = blas.find((candidate) => pattern.test(candidate));
    if (file !== undefined) return { name, file };
  }
  const reference = blas.find((file) => /\/libblas\.so/.test(file));
  if (reference !== undefined) return { name: "reference", file: reference };
  if (/Math Kernel Library|BLAS_INFO=mkl/.test(configuration)) return { name: "MKL", file: null };
  return { name: /BLAS_INFO=(\w+)/.exec(configuration)?.[1] ?? "unknown", file: null };
}

/** 10^9 operations a second of a square matrix product; the best of what half a second allows, the first being slow. */
function gemmSpeed(dtype: DType, device: string): number {
  return scope(() => {
    const a = randn([gemmSize, gemmSize], { device }).to(dtype);
    const b = randn([gemmSize, gemmSize], { device }).to(dtype);
    const product = (): number => {
      const start = performance.now();
      // Reading one element waits for devices that work on their own.
      scope(() => ops.mm(a, b).select(0, 0).select(0, 0).to("float32").item());
      return performance.now() - start;
    };
    const end = performance.now() + gemmSeconds * 1000;
    let best = product();
    while (performance.now() < end) best = Math.min(best, product());
    return (2 * gemmSize ** 3) / (best * 1e6);
  });
}

function nvidiaGpus(): string[] {
  const answer = spawnSync("nvidia-smi", ["--query-gpu=name", "--format=csv,noheader"], { encoding: "utf8", timeout: 20_000 });
  if (answer.status !== 0) return [];
  return answer.stdout
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

async function inspectSharp(problems: Problem[]): Promise<Diagnosis["sharp"]> {
  try {
    const { default: sharp } = await import("sharp");
    return { version: sharp.versions.sharp ?? "unknown", libvips: sharp.versions.vips };
  } catch (error) {
    problems.push({
      what: `sharp, which decodes images, does not load: ${(error as Error).message.split("\n")[0]}`,
      mend: "Run `npm run setup`.",
    });
    return null;
  }
}

async function inspectDisk(folder: string, problems: Problem[]): Promise<Diagnosis["disk"]> {
  const { bavail, blocks, bsize } = await statfs(folder);
  const freeBytes = bavail * bsize;
  if (freeBytes < leastDisk) {
    problems.push({
      what: `The disk of ${folder} has ${gibibytes(freeBytes)} GiB left; checkpoints and data need more.`,
      mend: "Free some space, or work in a folder of another disk.",
    });
  }
  return { folder, freeBytes, totalBytes: blocks * bsize };
}
