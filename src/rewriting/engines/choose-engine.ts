/** Which engine a `--llm` value means: EDA, addresses of servers, or a GGUF file; as it is, or as a translator. */
import { existsSync, statSync } from "node:fs";
import { UsageError } from "../../support/index.ts";
import { paperSampling } from "./engine.ts";
import type { RewriteEngine } from "./engine.ts";
import { BackTranslationEngine } from "./back-translation.ts";
import { EdaEngine } from "./eda.ts";
import { LlamaCppEngine } from "./llama-cpp.ts";
import { OpenAiCompatibleEngine } from "./openai-compatible.ts";

/** Settings of the engines; each takes those that concern it. */
export interface ChooseEngineOptions {
  /** Which of a server's models. Default: the only one it has. */
  model?: string | undefined;
  /** Captions written at once. Default: 64 at each server; 8 to 64 on a GPU, by its memory; 16 or 8 on a CPU. */
  concurrency?: number | undefined;
  /** Seconds to wait when no server answers any more. Default 300. */
  patience?: number | undefined;
  /** CPU threads of a GGUF model. Default: all but one; one where there are two. */
  threads?: number | undefined;
  /** Tokens of prompt and answer together in a GGUF model. Default 512. */
  context?: number | undefined;
  /** Whether a GGUF model may use a GPU. Default true. */
  gpu?: boolean | undefined;
  /** Languages to translate captions into and back, in place of rewriting by example; the likeliest token is always taken. */
  backTranslate?: readonly string[] | undefined;
}

/**
 * The engine for a `--llm` value; nothing is loaded or asked yet.
 * @param llm `eda`, `http://host:port/v1` or several of these separated by commas, `hf:owner/repository/file.gguf`, or the path of a
 *   GGUF file
 * @throws UsageError when it is none of these, the address is not valid, or there is no such file
 */
export function chooseEngine(llm: string, options: ChooseEngineOptions = {}): RewriteEngine {
  if (options.backTranslate) return new BackTranslationEngine(chooseModel(llm, options), options.backTranslate);
  return chooseModel(llm, options);
}

function chooseModel(llm: string, options: ChooseEngineOptions): RewriteEngine {
  const { model, concurrency, threads, context, gpu, patience, backTranslate } = options;
  const translates = backTranslate !== undefined;
  if (llm === "eda") return new EdaEngine();
  if (/^https?:\/\//i.test(llm)) {
    const url = llm.split(",").map((one) => one.trim());
    for (const one of url) {
      if (!/^https?:\/\//i.test(one) || !URL.canParse(one))
        throw new UsageError(`--llm ${one} is not a valid address.`, {
          mend: "Give it in the form http://host:port/v1, several of them separated by commas.",
        });
    }
    return new OpenAiCompatibleEngine({
      url,
      ...(patience === undefined ? {} : { patienceSeconds: patience }),
      ...(model === undefined ? {} : { model }),
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(translates ? { sampling: { ...paperSampling, temperature: 0, topP: 1 } } : {}),
    });
  }
  if (!/^hf:/i.test(llm) && statSync(llm, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new UsageError(
      `--llm ${llm}: ${existsSync(llm) ? "this is no file" : "there is no such file"}, nor is it the address of a model or server.`,
      {
        mend: "Give a GGUF file, hf:owner/repository/file.gguf, http://host:port/v1, or eda.",
      },
    );
  }
  return new LlamaCppEngine({
    model: llm,
    ...(gpu === undefined ? {} : { gpu }),
    ...(concurrency === undefined ? {} : { sequences: concurrency }),
    ...(threads === undefined ? {} : { threads }),
    ...(context === undefined ? {} : { contextSize: context }),
    // A nucleus of one token, in the place of a temperature of 0 that logits can't be divided by.
    ...(translates ? { sampling: { ...paperSampling, temperature: 1, topP: 0 } } : {}),
  });
}
