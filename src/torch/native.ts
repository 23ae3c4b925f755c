/**
 * The wall: the one place that names functions of the addon (native/src), and finds and loads it.
 *
 * The set-up (scripts/setup.mjs) builds the addon against the libtorch of this machine and leaves its path in
 * `build/native/current.json`. Loading it takes half a second and happens at the first use of a tensor, so that programs which only
 * rewrite or tokenize never pay for it.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { NativeError, UsageError, readJson } from "../support/index.ts";

/** A tensor of the addon: slot and generation in one number; checked at every call. */
export type NativeHandle = number;

/** The addon's functions, as native/src/addon.cc registers them. All throw an Error with code LACLIP_NATIVE. */
export interface Native {
  findOperator(name: string, overload: string): number;
  call(operator: number, ...args: readonly unknown[]): unknown;
  schemas(): string[];
  fromBytes(array: ArrayBufferView, shape: readonly number[], dtype: string, device: string, ahead: boolean): NativeHandle;
  toBytes(handle: NativeHandle): ArrayBuffer;
  copyBytes(handle: NativeHandle, array: ArrayBufferView): void;
  shape(handle: NativeHandle): number[];
  dtype(handle: NativeHandle): string;
  device(handle: NativeHandle): string;
  item(handle: NativeHandle): number | boolean;
  release(handle: NativeHandle): void;
  releaseMany(handles: Float64Array, count: number): void;
  account(handle: NativeHandle): void;
  isSame(a: NativeHandle, b: NativeHandle): boolean;
  setRequiresGrad(handle: NativeHandle, on: boolean): void;
  requiresGrad(handle: NativeHandle): boolean;
  gradient(handle: NativeHandle): NativeHandle | undefined;
  setGradient(handle: NativeHandle, gradient: NativeHandle | undefined): void;
  backward(outputs: readonly NativeHandle[], gradients: readonly NativeHandle[] | undefined): void;
  recompute(
    result: NativeHandle,
    inputs: readonly NativeHandle[],
    parameters: readonly NativeHandle[],
    body: (inputs: readonly NativeHandle[]) => void,
    random: NativeHandle,
  ): NativeHandle;
  handOver(result: NativeHandle): void;
  setGradMode(on: boolean): void;
  gradMode(): boolean;
  setAutocast(device: string, dtype: string | undefined): void;
  clearAutocastCache(): void;
  adamwStep(
    weights: readonly NativeHandle[],
    firstMoments: readonly NativeHandle[],
    secondMoments: readonly NativeHandle[],
    step: number,
    lr: number,
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: number,
  ): void;
  adamwStepOnDevice(
    weights: readonly NativeHandle[],
    firstMoments: readonly NativeHandle[],
    secondMoments: readonly NativeHandle[],
    numbers: readonly NativeHandle[],
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: number,
  ): void;
  setThreads(count: number): void;
  threads(): number;
  manualSeed(seed: number): void;
  randomState(device: string): NativeHandle;
  setRandomState(handle: NativeHandle, device: string): void;
  setTf32(on: boolean): void;
  tf32(): boolean;
  libraryInfo(): { version: string; configuration: string; parallel: string; cuda: boolean; cudaDevices: number; mkldnn: boolean };
  gpuProblem(): string | undefined;
  deviceProperties(device: string): { name: string; capability: string; memory: number; processors: number };
  useDevice(device: string): void;
  synchronize(device: string): void;
  startWaitCount(device: string): void;
  endWaitCount(): number;
  startProfile(device: string): void;
  endProfile(): { names: string[]; events: Float64Array };
  openGraph(device: string): number;
  endGraph(graph: number): void;
  replayGraph(graph: number): void;
  closeGraph(graph: number): void;
  deviceMemory(device: string): { allocated: number; peak: number; reserved: number; free: number; total: number };
  resetPeakMemory(device: string): void;
  releaseMemory(device: string): void;
  moveTensor(handle: NativeHandle, device: string): void;
  setDeterministic(on: boolean): void;
  standInDevice(): string;
  kernelProblem(device: string): string | undefined;
  keepKernels(folder: string): void;
  kernelCompilations(): number;
  compileKernels(
    library: string,
    architecture: string,
    file: string,
    names: readonly string[],
    values: readonly number[],
    folder: string,
  ): ArrayBuffer;
  keepCode(folder: string, key: string, made: string, refused: "none" | "kept" | "all"): string;
  standInMemory(bytes: number): void;
  standInWorksAside(): number;
  memoryInfo(): { live: number; accountedBytes: number };
  startMemoryMeasure(): void;
  endMemoryMeasure(): { bytes: number; peak: number };
  distributedBackends(): { gloo: boolean; nccl: boolean };
  openGroup(
    backend: string,
    storeKind: string,
    where: string,
    port: number,
    serves: boolean,
    attempt: string,
    rank: number,
    ranks: number,
    meetingMilliseconds: number,
    milliseconds: number,
  ): number;
  closeGroup(group: number): void;
  groupStartSum(group: number, handle: NativeHandle): number;
  groupStartBroadcast(group: number, handle: NativeHandle, root: number): number;
  workWait(work: number): void;
  groupGatherWithGradient(group: number, handle: NativeHandle): NativeHandle;
  fingerprint(handles: readonly NativeHandle[]): string;
  openReducer(group: number, parameters: readonly NativeHandle[], bucketBytes: number): number;
  armReducer(reducer: number): void;
  finishReducer(reducer: number): number;
  closeReducer(reducer: number): void;
}

/** What the set-up wrote about the addon it built. */
export interface BuildRecord {
  /** Absolute path of the addon. */
  addon: string;
  /** Where libtorch was found ("system", "pip", ...), its folder and version. */
  libtorch: { kind: string; path: string; version: string };
}

/** The folder that holds package.json, from a file in src/torch or dist/src/torch. */
function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) folder = dirname(folder);
  return folder;
}

/**
 * The record of the addon that was built on this machine.
 * @throws NativeError when there is none: the message says how to build it.
 */
export function buildRecord(): BuildRecord {
  const path = join(packageFolder(), "build", "native", "current.json");
  if (!existsSync(path)) {
    throw new NativeError("The tensor library is not set up: no addon has been built on this machine.", {
      mend: `Run \`npm run setup\` in ${packageFolder()}: it finds or installs libtorch and builds the addon.`,
    });
  }
  const record = readJson(path, "build record") as BuildRecord;
  return { ...record, addon: resolve(dirname(path), record.addon) };
}

let loaded: Native | undefined;

/** The addon, loaded at the first call. */
export function native(): Native {
  loaded ??= load();
  return loaded;
}

function load(): Native {
  const record = buildRecord();
  // OpenMP threads spin while they wait for each other, 300,000 rounds by default. Alone on the machine that gains a few per cent; where
  // another program wants the cores it made a training step nine times slower, against 1.8 times with this (bench/spinning.md).
  if (process.env["OMP_WAIT_POLICY"] === undefined) process.env["GOMP_SPINCOUNT"] ??= "5000";
  let addon: Native;
  try {
    addon = createRequire(import.meta.url)(record.addon) as Native;
  } catch (error) {
    throw new NativeError(`The addon ${record.addon} could not be loaded: ${(error as Error).message}`, {
      mend: "Has libtorch moved or been updated since? Run `npm run setup` again: it rebuilds what no longer fits.",
      cause: error,
    });
  }
  addon.setThreads(defaultThreads());
  addon.keepKernels(kernelFolder());
  return addon;
}

/** Where compiled kernels are kept: LACLIP_KERNEL_CACHE, else `laclip/kernels` in the user's cache; "" where the user has none. */
export function kernelFolder(): string {
  try {
    const { LACLIP_KERNEL_CACHE: named, XDG_CACHE_HOME: cache } = process.env;
    if (named) return resolve(named);
    // The standard wants a relative path to be ignored.
    const caches = cache && isAbsolute(cache) ? cache : join(homedir(), ".cache");
    return isAbsolute(caches) ? join(caches, "laclip", "kernels") : "";
  } catch {
    // A user without an entry in the system's list has no home folder. Kernels are compiled in every process then.
    return "";
  }
}

/** LACLIP_THREADS, else OMP_NUM_THREADS, else the number of processors this process may use. libtorch's own default can be 1. */
export function defaultThreads(): number {
  for (const name of ["LACLIP_THREADS", "OMP_NUM_THREADS"]) {
    const value = process.env[name];
    if (value === undefined || value === "") continue;
    const count = Number(value.split(",")[0]);
    if (!Number.isInteger(count) || count < 1)
      throw new UsageError(`${name}: expected a whole number of threads, 1 or more, got "${value}".`);
    return count;
  }
  return availableParallelism();
}

/** Runs a call into the addon and turns its errors into NativeError. */
export function guard<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw asNativeError(error);
  }
}

/** An addon error as NativeError; anything else as it is. `detail` is added to the message. */
export function asNativeError(error: unknown, detail = ""): unknown {
  if (error instanceof Error && (error as { code?: string }).code === "LACLIP_NATIVE") {
    return new NativeError(`${error.message}${detail}`, { cause: error });
  }
  return error;
}
