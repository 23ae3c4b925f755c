/**
 * Where tensors live, by the names that people give: the processor, or one of the NVIDIA GPUs that libtorch can compute on.
 *
 * Only this room knows kinds of devices. What lies above passes names on, and asks here for what a device has.
 */
import { NativeError, UsageError } from "../support/index.ts";
import { guard, native } from "./native.ts";

/** What `findDevice` takes, in words for help texts. */
export const deviceNames = "auto, cpu, cuda, or cuda:1 for the second GPU";

/** Which process asks for a device. */
export interface DeviceSearch {
  /** Number of this process among those on its machine, from 0: each takes a GPU of its own. Default 0. */
  localRank?: number | undefined;
  /** Whether other processes of its machine train with this one: a name with a number would then give all of them one GPU. Default false. */
  together?: boolean | undefined;
  /** What the name came from, for messages. Default "device". */
  from?: string | undefined;
}

/**
 * The device of a name: "cpu", or "cuda:0" and so on. From then on, work of this thread that names none of the GPUs goes to that one.
 * @param name "auto" is a GPU where there is one, else the processor. Default "auto"
 * @throws UsageError for what is no name of a device, and for a GPU that is not there
 */
export function findDevice(name = "auto", { localRank = 0, together = false, from = "device" }: DeviceSearch = {}): string {
  const [, kind, number] = /^(auto|cpu|cuda)(?::(\d+))?$/.exec(name) ?? [];
  if (kind === undefined || (number !== undefined && kind !== "cuda")) {
    throw new UsageError(`${from} ${name}: there is no such device.`, { mend: `Expected ${deviceNames}.` });
  }
  if (together && number !== undefined) {
    throw new UsageError(`${from} ${name}: would give every process the same GPU.`, {
      mend: "Without a number each takes the GPU of its own number; CUDA_VISIBLE_DEVICES says which GPUs are counted.",
    });
  }
  if (kind === "cpu") return "cpu";
  const { cuda, cudaDevices: count } = native().libraryInfo();
  if (count === 0) {
    if (kind === "auto") return "cpu";
    throw new UsageError(`${from} ${name}: there is no GPU to compute on: ${native().gpuProblem() ?? "libtorch sees none"}.`, {
      mend: cuda
        ? "Check the driver (`nvidia-smi`) and CUDA_VISIBLE_DEVICES; `--device cpu` computes on the processor."
        : "For a GPU, build against a PyTorch wheel with CUDA: name its folder in LACLIP_LIBTORCH and run `npm run setup`. `--device cpu` computes on the processor.",
    });
  }
  // A scheduler may show each process its own GPU alone, whatever their number on the machine.
  const index = number === undefined ? (count === 1 ? 0 : localRank) : Number(number);
  if (index >= count) {
    const whose = number === undefined ? `process ${localRank} of this machine has none` : `they are counted from 0`;
    throw new UsageError(`${from} ${name}: there ${count === 1 ? "is 1 GPU" : `are ${count} GPUs`}, and ${whose}.`, {
      mend: "Start at most as many processes as there are GPUs; CUDA_VISIBLE_DEVICES says which of them are seen.",
    });
  }
  const found = `cuda:${index}`;
  guard(() => native().useDevice(found));
  return found;
}

/** True where a device works by itself, beside the program that gives it work. */
export function worksAside(device: string): boolean {
  return device !== "cpu";
}

/** Returns when a device has done all that it was given; at once for the processor. */
export function synchronize(device: string): void {
  guard(() => native().synchronize(device));
}

/**
 * Runs `body` and counts how often this program had to wait in it for what a device computes: by reading a number, or by an operator whose
 * result is as large as the values say. Each time the device runs dry. Not to be nested.
 * @returns `waits`, 0 for the processor
 */
export function countWaits<T>(device: string, body: () => T): { result: T; waits: number } {
  guard(() => native().startWaitCount(device));
  let waits = 0;
  let result: T;
  try {
    result = body();
  } finally {
    waits = native().endWaitCount();
  }
  return { result, waits };
}

/** "NVIDIA H200"; undefined for the processor. */
export function deviceName(device: string): string | undefined {
  return isCuda(device) ? guard(() => native().deviceProperties(device).name) : undefined;
}

/** Bytes of a device's own memory. */
export interface DeviceMemory {
  /** In tensors now. */
  allocated: number;
  /** In tensors at most, since `resetPeakMemory`. */
  peak: number;
  /** Held for tensors, whether there are such now or not. */
  reserved: number;
  /** In nobody's hands. */
  free: number;
  /** In all. */
  total: number;
}

/** The memory of a GPU; undefined for the processor. */
export function deviceMemory(device: string): DeviceMemory | undefined {
  if (!worksAside(device)) return undefined;
  const found = guard(() => native().deviceMemory(device));
  // The device that stands in for a GPU has an end only where a test sets one.
  return found.total === 0 ? undefined : found;
}

/** Lets the peak of `deviceMemory` begin anew. */
export function resetPeakMemory(device: string): void {
  if (worksAside(device)) guard(() => native().resetPeakMemory(device));
}

/** Gives back what is held for tensors and in none: what comes next may need it in other pieces. */
export function releaseMemory(device: string): void {
  if (worksAside(device)) guard(() => native().releaseMemory(device));
}

/** Whether an error says that memory did not suffice, that of a GPU or that of the machine. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof NativeError && /out of memory|CUBLAS_STATUS_ALLOC_FAILED|can't allocate memory/i.test(error.message);
}

/**
 * Whether operators must compute the same bits every time, for the whole process. On a GPU that takes other kernels, some of them slower,
 * and an operator without such a kernel fails. The processor's are the same every time anyway. Best set before the first work on a GPU.
 */
export function setDeterministic(on: boolean): void {
  guard(() => native().setDeterministic(on));
}

function isCuda(device: string): boolean {
  return device.startsWith("cuda");
}
