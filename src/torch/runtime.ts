/** The library as a whole: version, threads, seeds, memory. */
import { readFileSync } from "node:fs";
import { NativeError } from "../support/index.ts";
import { autocast } from "./autograd.ts";
import { scope } from "./handle.ts";
import { type BuildRecord, buildRecord, guard, native } from "./native.ts";
import { Tensor, ones } from "./tensor.ts";

/** What the library is and how it was built. */
export interface TorchInfo {
  /** Version of libtorch that the addon was built against. */
  version: string;
  /** libtorch's own description: compiler, BLAS, CPU capability, build flags. */
  configuration: string;
  /** Its threading layer and limits. */
  parallel: string;
  /** Built with CUDA, whether there is a GPU or not. */
  cuda: boolean;
  cudaDevices: number;
  /** oneDNN is there (fast bfloat16 on CPU). */
  mkldnn: boolean;
  /** Threads within an operator. */
  threads: number;
  build: BuildRecord;
}

/** What the library is and how it was built. @throws NativeError when the addon is missing */
export function torchInfo(): TorchInfo {
  return { ...native().libraryInfo(), threads: native().threads(), build: buildRecord() };
}

/** Threads within an operator, for this JavaScript thread (1 to 4096). */
export function setThreads(count: number): void {
  guard(() => native().setThreads(count));
}

/** Threads within an operator, for this JavaScript thread. */
export function threads(): number {
  return native().threads();
}

/**
 * Whether an NVIDIA GPU may compute products of float32 in TF32, with 10 instead of 23 bits of mantissa: much faster, and exact enough for
 * most training. For the whole process; processors don't care.
 */
export function setTf32(on: boolean): void {
  native().setTf32(on);
}

/** Whether that is allowed now. */
export function tf32(): boolean {
  return native().tf32();
}

/** Seeds the library's random generators on all devices; the CPU's uses the lower 32 bits. They are shared by all JavaScript threads. */
export function manualSeed(seed: number): void {
  guard(() => native().manualSeed(seed));
}

/** State of a device's generator, uint8 `[bytes]` on the CPU; `setRandomState` continues from it. */
export function randomState(device = "cpu"): Tensor {
  return new Tensor(guard(() => native().randomState(device)));
}

/** Takes a generator of the library back to a state of `randomState`. @throws NativeError for anything else */
export function setRandomState(state: Tensor, device = "cpu"): void {
  guard(() => native().setRandomState(state.handle, device));
}

/** Tensors alive in this JavaScript thread, and bytes of those that only the garbage collector will free. */
export function memoryInfo(): { live: number; accountedBytes: number } {
  return native().memoryInfo();
}

/**
 * Runs `body` and counts the memory of the tensors that it makes on this thread, also of those that only a graph holds.
 * @returns `kept`, bytes that were made in it and are still there at its end; `peak`, the most at a time. What was there before counts not
 * @throws NativeError when it is called inside itself
 */
export function measureMemory<T>(body: () => T): { result: T; kept: number; peak: number } {
  guard(() => native().startMemoryMeasure());
  let found: { bytes: number; peak: number } | undefined;
  let result: T;
  try {
    result = body();
  } finally {
    found = native().endMemoryMeasure();
  }
  return { result, kept: found.bytes, peak: found.peak };
}

/**
 * Whether matrix products in bfloat16 are computed by the processor itself. Without such instructions (AVX512-BF16, AMX, Arm BF16) a
 * CPU emulates them, hundreds of times slower than float32.
 */
export function hasFastBfloat16(device = "cpu"): boolean {
  if (device.startsWith("cuda")) return true;
  return processorHas(/\b(?:avx512_bf16|amx_bf16|bf16)\b/);
}

/** False where there is no way to tell, which is everywhere but on Linux: float32 is never a trap. */
function processorHas(feature: RegExp): boolean {
  try {
    const lines = readFileSync("/proc/cpuinfo", "utf8").split("\n");
    return lines.some((line) => /^(?:flags|Features)\s*:/.test(line) && feature.test(line));
  } catch {
    return false;
  }
}

/**
 * Whether a device computes matrix products in float16: NVIDIA GPUs do. A processor does where it has instructions for it and libtorch
 * uses them; all others refuse, or emulate it at a hundredth of the speed of float32.
 */
export function hasFastFloat16(device = "cpu"): boolean {
  if (device.startsWith("cuda")) return true;
  if (!processorHas(/\b(?:avx512_fp16|amx_fp16|asimdhp)\b/)) return false;
  try {
    return autocast("cpu", "float16", () =>
      scope(() => {
        const x = ones([2, 2]).setRequiresGrad();
        const product = x.matmul(x);
        product.to("float32").sum().backward();
        return product.dtype === "float16";
      }),
    );
  } catch (error) {
    if (!(error instanceof NativeError)) throw error;
    return false; // libtorch before 2.4
  }
}
