/** The library as a whole: version, threads, seeds, memory. */
import { readFileSync } from "node:fs";
import { type BuildRecord, buildRecord, guard, native } from "./native.ts";
import { Tensor } from "./tensor.ts";

export interface TorchInfo {
  /** Version of libtorch that the addon was built against. */
  version: string;
  /** libtorch's own description: compiler, BLAS, CPU capability, build flags. */
  configuration: string;
  /** Its threading layer and limits. */
  parallel: string;
  cuda: boolean;
  cudaDevices: number;
  /** oneDNN is there (fast bfloat16 on CPU). */
  mkldnn: boolean;
  /** Threads within an operator. */
  threads: number;
  build: BuildRecord;
}

export function torchInfo(): TorchInfo {
  return { ...native().libraryInfo(), threads: native().threads(), build: buildRecord() };
}

/** Threads within an operator, for this JavaScript thread (1 to 4096). */
export function setThreads(count: number): void {
  guard(() => native().setThreads(count));
}

export function threads(): number {
  return native().threads();
}

/** Seeds the library's random generators on all devices; the CPU's uses the lower 32 bits. They are shared by all JavaScript threads. */
export function manualSeed(seed: number): void {
  guard(() => native().manualSeed(seed));
}

/** State of the CPU generator, uint8 `[bytes]`; `setRandomState` continues from it. */
export function randomState(): Tensor {
  return new Tensor(native().randomState());
}

export function setRandomState(state: Tensor): void {
  guard(() => native().setRandomState(state.handle));
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
  let info: string;
  try {
    info = readFileSync("/proc/cpuinfo", "utf8");
  } catch {
    return false; // not Linux: no way to tell, and float32 is never a trap
  }
  return /^(?:flags|Features)\s*:.*\b(?:avx512_bf16|amx_bf16|bf16)\b/m.test(info);
}
