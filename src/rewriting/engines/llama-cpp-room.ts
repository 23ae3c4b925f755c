/**
 * A GGUF model in memory with a context for every caption that is to be written at once: on the GPU as far as its memory goes.
 */
import { availableParallelism } from "node:os";
import type { Llama, LlamaContext, LlamaModel, LlamaModelOptions } from "node-llama-cpp";
import type { GgufHeader } from "../../formats/index.ts";
import { UsageError, gibibytes, log } from "../../support/index.ts";
import { asManyAsFit, batchOnGpu, contextBytes, mostSequences, sequencesOnGpu, sequencesOnProcessor } from "./llama-cpp-memory.ts";

/** What is asked for; each default is that of LlamaCppOptions. */
export interface RoomOptions {
  readonly sequences?: number;
  readonly contextSize?: number;
  readonly batchSize?: number;
  readonly flashAttention?: boolean;
  readonly threads: number;
  /** Whether a failure means that memory was short. */
  readonly shortOfMemory: (error: unknown) => boolean;
  readonly signal: AbortSignal | undefined;
}

/** The model and its contexts. */
export interface Room {
  readonly model: LlamaModel;
  /** Has one sequence more than are to be written. */
  readonly context: LlamaContext;
  readonly sequences: number;
}

/**
 * Loads the model, makes contexts for as many captions as were asked for or else fit, and says what it computes on.
 * @throws UsageError for more captions at once than llama.cpp can
 */
export async function loadAndMakeRoom(llama: Llama, header: GgufHeader, options: RoomOptions): Promise<Room> {
  const { sequences: asked, threads, shortOfMemory, signal } = options;
  if (asked !== undefined && asked > mostSequences) {
    throw new UsageError(`--concurrency ${asked}: a GGUF model writes at most ${mostSequences} captions at once.`);
  }
  const gpu = llama.supportsGpuOffloading;
  const contextSize = Math.min(options.contextSize ?? 512, trainedFor(header));
  const { free = 0, total = 0 } = gpu ? await llama.getVramState() : {};
  const weightBytes = header.fileBytes - header.dataOffset;
  const wanted =
    asked ??
    (gpu
      ? sequencesOnGpu({ freeBytes: free, weightBytes, contextBytes: contextBytes(header, contextSize) })
      : sequencesOnProcessor(header, contextSize));
  const load = async (more: Partial<LlamaModelOptions>): Promise<LlamaModel> =>
    await llama.loadModel({ modelPath: header.path, ...(signal === undefined ? {} : { loadSignal: signal }), ...more });
  // All contexts together are as large as one for this many tokens.
  const model = await load(gpu ? { gpuLayers: { fitContext: { contextSize: contextSize * (wanted + 1) } } } : {}).catch(
    async (error: unknown) => {
      if (!gpu || !shortOfMemory(error)) throw error;
      return await load({ gpuLayers: 0 });
    },
  );
  const { created: context, sequences } = await asManyAsFit(
    wanted,
    async (count) =>
      await model.createContext({
        sequences: count + 1,
        contextSize,
        threads: { ideal: threads, min: 1 },
        flashAttention: options.flashAttention ?? (gpu ? "auto" : false),
        ...(options.batchSize === undefined && !gpu ? {} : { batchSize: options.batchSize ?? batchOnGpu(count) }),
      }),
    shortOfMemory,
  );
  const devices = gpu ? await llama.getGpuDeviceNames() : [];
  const layers = { onGpu: model.gpuLayers, all: model.fileInsights.totalLayers };
  log.info(describeRoom({ gpu: gpu ? String(llama.gpu) : null, devices, free, total, layers, threads, sequences, contextSize }));
  for (const warning of shortcomings({ devices, layers, sequences, wanted, gpu })) log.warn(warning);
  const hint = gpu ? drawingHint(Number(process.env["UV_THREADPOOL_SIZE"] ?? 4), availableParallelism(), sequences) : undefined;
  if (hint !== undefined) log.info(hint);
  return { model, context, sequences };
}

/**
 * What to do where the processor would let a GPU wait: after each step a token is drawn for every caption, by the threads of Node's pool,
 * whose number is fixed when a process starts.
 */
export function drawingHint(threads: number, cores: number, sequences: number): string | undefined {
  if (threads >= Math.min(cores, sequences)) return undefined;
  return `Tokens are drawn on the processor, by ${threads} threads; UV_THREADPOOL_SIZE=${Math.min(cores, sequences)} in the environment makes use of its ${cores} cores.`;
}

/** Tokens that the model was trained with, beyond which it writes nonsense. */
function trainedFor({ metadata }: GgufHeader): number {
  const length = Number(metadata.get(`${String(metadata.get("general.architecture"))}.context_length`));
  return length > 0 ? length : Infinity;
}

/** In a line, what a model computes on and how many captions it writes at once. */
export function describeRoom(room: {
  gpu: string | null;
  devices: readonly string[];
  /** Bytes of the GPUs' memory, before the model was loaded. */
  free: number;
  total: number;
  layers: { onGpu: number; all: number };
  threads: number;
  sequences: number;
  contextSize: number;
}): string {
  const { gpu, devices, free, total, layers, threads, sequences, contextSize } = room;
  const captions = `${sequences === 1 ? "one caption" : `${sequences} captions`} at once, ${contextSize} tokens each`;
  const cpu = `the processor, ${threads === 1 ? "one thread" : `${threads} threads`}`;
  if (gpu === null) return `llama.cpp: ${cpu}; ${captions}`;
  return `llama.cpp: ${devices.join(", ") || "a GPU"} (${gpu}, ${gibibytes(free)} of ${gibibytes(total)} GiB were free), ${layers.onGpu} of ${layers.all} layers; ${captions}`;
}

/** What makes it slower than it could be. */
export function shortcomings(room: {
  gpu: boolean;
  devices: readonly string[];
  layers: { onGpu: number; all: number };
  sequences: number;
  /** Captions at once that were asked for, or that should have fitted. */
  wanted: number;
}): string[] {
  const { gpu, devices, layers, sequences, wanted } = room;
  const found: string[] = [];
  if (gpu && layers.onGpu < layers.all) {
    found.push(
      `The GPU's memory holds ${layers.onGpu} of the model's ${layers.all} layers; the processor computes the others, which takes much longer. A smaller file of this model (Q8_0, Q4_K_M) may fit.`,
    );
  }
  if (sequences < wanted) {
    found.push(`There is memory for ${sequences} captions at once, not for ${wanted}; the work goes on with ${sequences}.`);
  }
  if (gpu && devices.length > 1) {
    found.push(
      `The model is spread over ${devices.length} GPUs, which take turns. Where it fits into one, it is faster to start a process for each, with CUDA_VISIBLE_DEVICES and --shard.`,
    );
  }
  return found;
}
