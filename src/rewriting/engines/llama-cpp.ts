/**
 * A GGUF language model in this process, through node-llama-cpp (llama.cpp).
 *
 * Several captions are written at once, each in a sequence of its own. A sequence keeps the tokens of its last prompt, and the
 * scheduler hands over captions with the same examples one after another, so that mostly the caption itself is evaluated anew.
 * llama.cpp samples in another order than the paper (top-p before temperature) and so does not draw here: it gives the likeliest
 * tokens with their exact share of the whole vocabulary, and nucleus.ts draws.
 *
 * The package is optional and loaded with the first model. Two runs with the same seed, settings and machine write the same texts
 * up to rounding: which captions share a batch may change a last digit, and rarely a word.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
import { basename, join } from "node:path";
import type { Llama, LlamaContext, LlamaContextSequence, LlamaModel, Token } from "node-llama-cpp";
import { checkGguf } from "../../formats/index.ts";
import type { GgufHeader } from "../../formats/index.ts";
import { DataError, EndpointError, LaclipError, ModelFormatError, Random, UsageError, log } from "../../support/index.ts";
import { inParallel, paperSampling, ungrouped } from "../engine.ts";
import type { Completion, EngineDescription, Outcome, RewriteEngine, RewriteGroup, RewriteRequest, SamplingOptions } from "../engine.ts";
import { shorten } from "../prompt.ts";
import { sampleAll, sampleNucleus } from "./nucleus.ts";

/** Which model, and what it may use. */
export interface LlamaCppOptions {
  /** Path of a GGUF file, or an address `hf:owner/repository/file.gguf` that is downloaded once. */
  model: string;
  /** Captions written at once. Default: 32 on a GPU, else 4. */
  sequences?: number;
  /** Tokens of prompt and answer together. Default 512, or what the model was trained with if that is less. */
  contextSize?: number;
  /** Threads on the CPU. Default: 1 on machines with one or two cores, where more only get in each other's way; else all but one. */
  threads?: number;
  /** Whether to use a GPU where there is one. Default true. */
  gpu?: boolean;
  sampling?: SamplingOptions;
  /** Folder for downloaded models. Default: `LACLIP_MODELS`, else `~/.cache/laclip/models`. */
  modelsFolder?: string;
}

/** Tokens asked of llama.cpp per step; where the nucleus is larger, the step is asked again for all of them. */
const likeliest = 256;

interface Loaded {
  llama: Llama;
  model: LlamaModel;
  context: LlamaContext;
  sequences: LlamaContextSequence[];
}

/** Rewrites with a GGUF model in this process, several captions at a time. */
export class LlamaCppEngine implements RewriteEngine {
  readonly name = "llama-cpp";
  readonly usesExamples = true;
  readonly #options: LlamaCppOptions;
  readonly #sampling: SamplingOptions;
  readonly #endsLine = new Map<Token, boolean>();
  #path: string | undefined;
  #loaded: Loaded | undefined;

  constructor(options: LlamaCppOptions) {
    this.#options = options;
    this.#sampling = options.sampling ?? paperSampling;
  }

  async describe(signal?: AbortSignal): Promise<EngineDescription> {
    const path = await this.#resolve(signal);
    const header = checkGguf(path);
    await this.#load(path, signal);
    const name = header.metadata.get("general.name");
    return {
      model: typeof name === "string" && name !== "" ? `${name} (${basename(path)})` : basename(path),
      modelHash: hashOfModel(header),
      sampling: { ...this.#sampling, order: "temperature, top-p", contextSize: this.#loaded!.context.contextSize },
    };
  }

  async *rewrite(groups: AsyncIterable<RewriteGroup>, signal: AbortSignal): AsyncGenerator<Outcome> {
    const { sequences } = await this.#load(await this.#resolve(signal), signal);
    yield* inParallel(ungrouped(groups), { count: sequences.length, signal }, async (request, worker): Promise<Outcome> => {
      try {
        return await this.#write(request, sequences[worker]!, signal);
      } catch (error) {
        // What is wrong with this request alone is counted; a model that computes nonsense ends the work.
        if (error instanceof DataError) return { request, error };
        throw error;
      }
    });
  }

  async close(): Promise<void> {
    await this.#loaded?.llama.dispose();
    this.#loaded = undefined;
  }

  async #write(request: RewriteRequest, sequence: LlamaContextSequence, signal: AbortSignal): Promise<Completion> {
    const { model } = this.#loaded!;
    const { tokens: prompt, shortened } = this.#prompt(request, sequence.contextSize - this.#sampling.maxTokens - 1);
    // The last token must be evaluated anew in any case: its logits are the start.
    await sequence.adaptStateToTokens(prompt.slice(0, -1), false);
    const random = Random.of("sample", request.seed);
    const written: Token[] = [];
    let next = prompt.slice(sequence.nextTokenIndex);
    while (written.length < this.#sampling.maxTokens && !signal.aborted) {
      const token = await this.#step(sequence, next, random);
      if (model.isEogToken(token)) return this.#completion(request, written, "stop", shortened);
      written.push(token);
      if (this.#isLineEnd(token)) return this.#completion(request, written, "stop", shortened);
      next = [token];
    }
    return this.#completion(request, written, "length", shortened);
  }

  #completion(request: RewriteRequest, tokens: readonly Token[], finish: "stop" | "length", shortened: boolean): Completion {
    return { request, text: this.#loaded!.model.detokenize(tokens), finish, tokens: tokens.length, shortened };
  }

  /** Evaluates `tokens` after what the sequence holds, and draws the token that follows. */
  async #step(sequence: LlamaContextSequence, tokens: readonly Token[], random: Random): Promise<Token> {
    const { temperature, topP } = this.#sampling;
    // Without top-k, top-p and min-p only the temperature acts on the logits that come back.
    const options = { temperature, topK: 0, topP: 1, minP: 0, seed: 0 };
    const ask = async (
      input: readonly Token[],
      logits: true | { filter: { tokens: Token[]; includeTop: number } },
    ): Promise<{ logits: Map<Token, number>; totalWeight: number }> => {
      const last = input.length - 1;
      const generateNext = { logits, totalLogitWeight: true, options };
      const output = await sequence.controlledEvaluate(input.map((token, i) => (i === last ? [token, { generateNext }] : token)));
      const next = output[last]?.next;
      if (!next?.logits || next.totalLogitWeight === undefined) {
        throw new ModelFormatError("The language model gave no probabilities for the next token.", { mend: "Use another model file." });
      }
      if (!Number.isFinite(next.totalLogitWeight)) {
        throw new ModelFormatError("The language model computes numbers that are not finite.", {
          mend: "Its weights are damaged, or overflow in this precision: download it again or use another file.",
        });
      }
      return { logits: next.logits, totalWeight: next.totalLogitWeight };
    };
    const chance = random.uniform();
    const { logits, totalWeight } = await ask(tokens, { filter: { tokens: [], includeTop: likeliest } });
    const token = sampleNucleus(logits, { totalWeight, topP, chance });
    if (token !== undefined) return token;
    const end = sequence.nextTokenIndex;
    await sequence.eraseContextTokenRanges([{ start: end - 1, end }]);
    const whole = await ask(tokens.slice(-1), true);
    return sampleNucleus(whole.logits, { totalWeight: whole.totalWeight, topP, chance }) ?? sampleAll(whole.logits, chance);
  }

  /** The prompt's tokens, the caption shortened until they leave room for the answer. */
  #prompt(request: RewriteRequest, room: number): { tokens: Token[]; shortened: boolean } {
    const { model } = this.#loaded!;
    const start = model.tokens.shouldPrependBosToken && model.tokens.bos !== null ? [model.tokens.bos] : [];
    const tokenize = (caption: string): Token[] => {
      const prompt = request.form.render({ ...request, caption });
      if (prompt.kind === "chat") throw new UsageError("Conversations can't be put to a GGUF model yet.");
      return [...start, ...model.tokenize(prompt.shared + prompt.own, false)];
    };
    let { caption } = request;
    let tokens = tokenize(caption);
    while (tokens.length > room && caption.length > 1) {
      caption = shorten(caption, Math.min(caption.length - 1, Math.floor(caption.length * Math.max(0.5, room / tokens.length)))).text;
      tokens = tokenize(caption);
    }
    if (tokens.length > room) {
      throw new DataError(
        `Three examples of source "${request.source}" take ${tokens.length} tokens of this model; ${room} fit beside an answer of ${this.#sampling.maxTokens}.`,
        {
          mend: "Use shorter example pairs or a model with a larger context.",
        },
      );
    }
    return { tokens, shortened: request.shortened || caption !== request.caption };
  }

  #isLineEnd(token: Token): boolean {
    let ends = this.#endsLine.get(token);
    if (ends === undefined) this.#endsLine.set(token, (ends = this.#loaded!.model.detokenize([token]).includes("\n")));
    return ends;
  }

  async #resolve(signal: AbortSignal | undefined): Promise<string> {
    if (this.#path !== undefined) return this.#path;
    const { model } = this.#options;
    if (!/^hf:/i.test(model)) return (this.#path = model);
    const { resolveModelFile } = await importLibrary();
    const directory = this.#options.modelsFolder ?? process.env["LACLIP_MODELS"] ?? join(homedir(), ".cache", "laclip", "models");
    log.info(`looking for ${model} (kept in ${directory})`);
    let shown = 0;
    try {
      this.#path = await resolveModelFile(model, {
        directory,
        cli: false,
        ...(signal === undefined ? {} : { signal }),
        onProgress: ({ totalSize, downloadedSize }) => {
          const percent = Math.floor((downloadedSize / Math.max(1, totalSize)) * 100);
          if (percent >= shown + 10) log.info(`downloading ${model}: ${(shown = percent)} % of ${(totalSize / 1e9).toFixed(2)} GB`);
        },
      });
    } catch (error) {
      throw new EndpointError(`${model}: this model can't be downloaded: ${(error as Error).message}`, {
        mend: "Check the address (hf:owner/repository/file.gguf or hf:owner/repository:Q4_K_M) and the network, or give the path of a GGUF file.",
        cause: error,
      });
    }
    return this.#path;
  }

  async #load(path: string, signal: AbortSignal | undefined): Promise<Loaded> {
    if (this.#loaded) return this.#loaded;
    // llama.cpp ends the whole process over some damaged files: look first.
    checkGguf(path);
    const library = await importLibrary();
    const threads = this.#options.threads ?? (availableParallelism() <= 2 ? 1 : availableParallelism() - 1);
    const said: string[] = [];
    const llama = await startLlama(library, this.#options.gpu ?? true, said);
    try {
      const model = await llama.loadModel({
        modelPath: path,
        defaultContextFlashAttention: "auto",
        ...(signal === undefined ? {} : { loadSignal: signal }),
      });
      const sequences = this.#options.sequences ?? (llama.supportsGpuOffloading ? 32 : 4);
      const contextSize = Math.min(this.#options.contextSize ?? 512, model.trainContextSize);
      const context = await model.createContext({ sequences, contextSize, threads: { ideal: threads, min: 1 } });
      this.#loaded = { llama, model, context, sequences: Array.from({ length: sequences }, () => context.getSequence()) };
      log.debug(
        `llama.cpp: ${llama.supportsGpuOffloading ? String(llama.gpu) : `CPU, ${threads} threads`}, ${sequences} sequences of ${context.contextSize} tokens`,
      );
      return this.#loaded;
    } catch (error) {
      await llama.dispose();
      if (LaclipError.is(error)) throw error;
      throw new ModelFormatError(
        `${path}: llama.cpp can't use this model: ${said.find((line) => /error|invalid/i.test(line)) ?? (error as Error).message}`,
        {
          mend: "If memory is short, use a smaller model or a lower --concurrency; else try another file.",
          cause: error,
        },
      );
    }
  }
}

type Library = typeof import("node-llama-cpp");

async function importLibrary(): Promise<Library> {
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
 * llama.cpp with a GPU where there is one; a graphics driver without a device behind it counts as none.
 * @param said receives what llama.cpp has to say about errors
 */
async function startLlama(library: Library, gpu: boolean, said: string[]): Promise<Llama> {
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
    if (gpu) {
      const llama = await library.getLlama({ ...options, gpu: "auto" });
      if (llama.gpu === false || llama.supportsGpuOffloading) return llama;
      await llama.dispose();
    }
    return await library.getLlama({ ...options, gpu: false });
  } catch (error) {
    throw new UsageError(`llama.cpp can't be started on this machine: ${(error as Error).message}`, {
      mend: "Name a server instead: --llm http://host:port/v1.",
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
