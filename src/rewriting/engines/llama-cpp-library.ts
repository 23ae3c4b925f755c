/**
 * node-llama-cpp itself: loading the package, which is optional, starting llama.cpp, and model files by address.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { ChatWrapper, Llama, LlamaModel, LlamaOptions } from "node-llama-cpp";
import type { GgufHeader } from "../../formats/index.ts";
import { EndpointError, UsageError, formatBytes, log } from "../../support/index.ts";
import { gpuComplaint, nvidiaGpu, tryLlamaCpp } from "./llama-cpp-trial.ts";
import type { GpuKind } from "./llama-cpp-trial.ts";

/** The package. */
export type Library = typeof import("node-llama-cpp");

/** @throws UsageError when the package is not installed */
export async function importLibrary(): Promise<Library> {
  try {
    return await import("node-llama-cpp");
  } catch (error) {
    throw new UsageError("node-llama-cpp is not installed; it is needed to run a GGUF model in this process.", {
      mend: "Install it with `npm install node-llama-cpp`, or name a server: --llm http://host:port/v1.",
      cause: error,
    });
  }
}

/**
 * llama.cpp on a GPU where there is one that it computes on, else on the processor; what keeps it from a GPU that is there is said.
 * @param said receives what llama.cpp has to say about errors
 * @throws UsageError when it can't run here
 */
export async function startLlama(library: Library, gpu: boolean, said: string[]): Promise<Llama> {
  const options = {
    build: "never",
    skipDownload: true,
    progressLogs: false,
    logLevel: library.LlamaLogLevel.error,
    logger: (_: string, message: string) => {
      log.debug(`llama.cpp: ${message.trim()}`);
      if (message.trim() !== "") said.push(message.trim());
    },
  } as const;
  try {
    return (gpu ? await onGpu(library, options) : undefined) ?? (await library.getLlama({ ...options, gpu: false }));
  } catch (error) {
    throw new UsageError(`llama.cpp can't be started on this machine: ${(error as Error).message}`, {
      mend: "Name a server instead: --llm http://host:port/v1.",
      cause: error,
    });
  }
}

/** llama.cpp on the first kind of GPU that it computes on. */
async function onGpu(library: Library, options: LlamaOptions): Promise<Llama | undefined> {
  const exclude: GpuKind[] = [];
  for (;;) {
    const llama = await library.getLlama({ ...options, gpu: { type: "auto", exclude } });
    // A graphics driver without a device behind it counts as no GPU.
    const kind = llama.gpu !== false && llama.supportsGpuOffloading ? llama.gpu : null;
    if (kind === null) {
      if (exclude.length === 0) complain(gpuComplaint({ gpu: null, devices: [], failure: null }, nvidiaGpu()));
      if (llama.gpu === false) return llama;
      await llama.dispose();
      return undefined;
    }
    const trial = await tryLlamaCpp(kind);
    if (trial?.failure === null) return llama;
    await llama.dispose();
    complain(gpuComplaint(trial ?? { gpu: kind, devices: [], failure: "it does not start" }, nvidiaGpu()));
    exclude.push(kind);
  }
}

function complain(complaint: { what: string; mend: string } | undefined): void {
  if (complaint) log.warn(`${complaint.what} ${complaint.mend}`);
}

/**
 * A model's own way to write conversations.
 * @throws UsageError when its template can't be used
 */
export function chatWrapper(library: Library, model: LlamaModel): ChatWrapper {
  try {
    // Another model's template in its place would go unnoticed.
    return library.resolveChatWrapper(model, { warningLogs: false, fallbackToOtherWrappersOnJinjaError: false });
  } catch (error) {
    throw new UsageError(`The chat template of this model can't be used: ${(error as Error).message.split("\n")[0]}`, {
      mend: "Use another model file, or a --prompt that is no conversation.",
      cause: error,
    });
  }
}

/**
 * The file of a model, downloaded once where it is an address.
 * @param model path, or `hf:owner/repository/file.gguf`
 * @param modelsFolder where downloads are kept. Default: `LACLIP_MODELS`, else `~/.cache/laclip/models`
 * @throws EndpointError when it can't be downloaded
 */
export async function modelFile(model: string, modelsFolder: string | undefined, signal: AbortSignal | undefined): Promise<string> {
  if (!/^hf:/i.test(model)) return model;
  const { resolveModelFile } = await importLibrary();
  const directory = modelsFolder ?? process.env["LACLIP_MODELS"] ?? join(homedir(), ".cache", "laclip", "models");
  log.info(`looking for ${model} (kept in ${directory})`);
  let shown = 0;
  try {
    return await resolveModelFile(model, {
      directory,
      cli: false,
      ...(signal === undefined ? {} : { signal }),
      onProgress: ({ totalSize, downloadedSize }) => {
        const percent = Math.floor((downloadedSize / Math.max(1, totalSize)) * 100);
        if (percent >= shown + 10) log.info(`downloading ${model}: ${(shown = percent)} % of ${formatBytes(totalSize)}`);
      },
    });
  } catch (error) {
    throw new EndpointError(`${model}: this model can't be downloaded: ${(error as Error).message}`, {
      mend: "Check the address (hf:owner/repository/file.gguf or hf:owner/repository:Q4_K_M) and the network, or give the path of a GGUF file.",
      cause: error,
    });
  }
}

/**
 * A hash of a model: all that names and describes it, its size, and samples of its weights. Reading every byte of a model of many
 * gigabytes would take longer than rewriting a small data set.
 */
export function hashOfModel({ path, dataOffset, fileBytes }: GgufHeader): string {
  const hash = createHash("sha256").update(String(fileBytes));
  const file = openSync(path, "r");
  try {
    const block = Buffer.alloc(1 << 16);
    const read = (position: number, length: number): void => {
      const got = readSync(file, block, 0, length, position);
      hash.update(block.subarray(0, got));
    };
    for (let at = 0; at < dataOffset; at += block.length) read(at, Math.min(block.length, dataOffset - at));
    for (let i = 0; i < 64; i++) read(dataOffset + Math.floor(((fileBytes - dataOffset - 4096) * i) / 63), 4096);
  } finally {
    closeSync(file);
  }
  return hash.digest("hex");
}
