/**
 * A GGUF language model in this process, through node-llama-cpp (llama.cpp).
 *
 * Several captions are written at once, each in a sequence of its own, in steps that they take together (shared-steps.ts). What the
 * prompts of a group begin with is evaluated once and copied to the sequences (llama-cpp-beginnings.ts), so that of most prompts only
 * the caption is evaluated.
 * llama.cpp samples in another order than the paper (top-p before temperature) and so does not draw here: it gives the likeliest
 * tokens with their exact share of the whole vocabulary, and nucleus.ts draws.
 *
 * The package is optional and loaded with the first model. Two runs with the same seed, settings and machine write the same texts
 * up to rounding: which captions share a batch may change a last digit, and rarely a word (bench/rewriting/README.md).
 */
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import type { Llama, LlamaContext, LlamaContextSequence, LlamaModel, Token } from "node-llama-cpp";
import { checkGguf } from "../../formats/index.ts";
import { DataError, LaclipError, ModelFormatError, Random } from "../../support/index.ts";
import { inParallel, longestAnswer, paperSampling } from "./engine.ts";
import type { Completion, EngineDescription, Outcome, RewriteEngine, RewriteGroup, RewriteRequest, SamplingOptions } from "./engine.ts";
import { PromptBeginnings } from "./llama-cpp-beginnings.ts";
import { chatWrapper, hashOfModel, importLibrary, modelFile, startLlama } from "./llama-cpp-library.ts";
import { LlamaCppPrompts } from "./llama-cpp-prompts.ts";
import { loadAndMakeRoom } from "./llama-cpp-room.ts";
import { sampleAll, sampleNucleus } from "./nucleus.ts";
import { SharedSteps } from "./shared-steps.ts";

/** Which model, and what it may use. */
export interface LlamaCppOptions {
  /** Path of a GGUF file, or an address `hf:owner/repository/file.gguf` that is downloaded once. */
  model: string;
  /**
   * Captions written at once, at most 255. Default: on a GPU as many as fit into its memory beside the model, 8 to 64; else 16, or 8
   * where so many contexts would take more than 2 GiB. Where memory is short, fewer.
   */
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
  /**
   * Whether attention may be computed in one pass. Off, what shares a batch changes no more than the last digits of a sum, and hardly
   * ever a word. Default: on a GPU where llama.cpp can; not on a CPU, where it brings nothing for prompts of this length.
   */
  flashAttention?: boolean;
  /** Tokens computed at once. Default: 512; on a GPU 16 for each of the captions if that is more. */
  batchSize?: number;
  /** False evaluates each prompt whole, for comparison. Default true. */
  sharePrefix?: boolean;
}

/** Tokens asked of llama.cpp per step; where the nucleus is larger, the step is taken again for more of them, and then for all. */
const likeliest = [256, 4096];

/** Who writes one text at a time. */
interface Writer {
  /** Its place among all writers, which is that of its sequence too. */
  readonly number: number;
  readonly sequence: LlamaContextSequence;
}

interface Loaded {
  llama: Llama;
  model: LlamaModel;
  context: LlamaContext;
  sequences: LlamaContextSequence[];
  beginnings: PromptBeginnings;
  prompts: LlamaCppPrompts;
}

/** Rewrites with a GGUF model in this process, several captions at a time. */
export class LlamaCppEngine implements RewriteEngine {
  readonly name = "llama-cpp";
  readonly usesExamples = true;
  readonly #options: LlamaCppOptions;
  readonly #sampling: SamplingOptions;
  readonly #endsLine = new Map<Token, boolean>();
  readonly #steps = new SharedSteps();
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
    yield* inParallel(this.#requests(groups), { count: sequences.length, signal }, async (request, worker): Promise<Outcome> => {
      try {
        return await this.#steps.write(async () => await this.#write(request, { number: worker, sequence: sequences[worker]! }, signal));
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

  /** The requests one by one; with the first of a group, what it begins with is evaluated, in a step that the writers share. */
  async *#requests(groups: AsyncIterable<RewriteGroup>): AsyncGenerator<RewriteRequest> {
    const { beginnings, prompts, sequences } = this.#loaded!;
    for await (const group of groups) {
      const [first] = group;
      if (first && this.#options.sharePrefix !== false) {
        await this.#steps.write(
          async () => await beginnings.hold(prompts.beginning(first), async (step) => await this.#steps.take(sequences.length, step)),
        );
      }
      yield* group;
    }
  }

  async #write(request: RewriteRequest, writer: Writer, signal: AbortSignal): Promise<Completion> {
    const { sequence } = writer;
    const { model, beginnings, prompts } = this.#loaded!;
    const { tokens: prompt, shortened, kind } = prompts.fit(request);
    if (this.#options.sharePrefix === false) await sequence.clearHistory();
    else await beginnings.prepare(sequence, prompt);
    const most = longestAnswer({ kind }, this.#sampling);
    const ends = (token: Token): boolean => (kind === "text" ? this.#isLineEnd(token) : prompts.endsTurn(token));
    const random = Random.of("sample", request.seed);
    const written: Token[] = [];
    const completion = (finish: "stop" | "length"): Completion => ({
      request,
      text: model.detokenize(written),
      finish,
      tokens: written.length,
      promptTokens: prompt.length,
      shortened,
    });
    let next = prompt.slice(sequence.nextTokenIndex);
    while (written.length < most && !signal.aborted) {
      const token = await this.#step(writer, next, random);
      if (model.isEogToken(token)) return completion("stop");
      written.push(token);
      if (ends(token)) return completion("stop");
      next = [token];
    }
    return completion("length");
  }

  /** Evaluates `tokens` after what the sequence holds, and draws the token that follows. */
  async #step(writer: Writer, tokens: readonly Token[], random: Random): Promise<Token> {
    const { topP } = this.#sampling;
    const chance = random.uniform();
    let input = tokens;
    for (const most of likeliest) {
      const { logits, totalWeight } = await this.#ask(writer, input, { filter: { tokens: [], includeTop: most } });
      const token = sampleNucleus(logits, { totalWeight, topP, chance });
      if (token !== undefined) return token;
      await forgetLast(writer);
      input = tokens.slice(-1);
    }
    const { logits, totalWeight } = await this.#ask(writer, input, true);
    return sampleNucleus(logits, { totalWeight, topP, chance }) ?? sampleAll(logits, chance);
  }

  /** Evaluates `tokens` and returns the likeliest that may follow, highest first, or all of them. */
  async #ask(
    { number, sequence }: Writer,
    tokens: readonly Token[],
    logits: true | { filter: { tokens: Token[]; includeTop: number } },
  ): Promise<{ logits: Map<Token, number>; totalWeight: number }> {
    // Without top-k, top-p and min-p only the temperature acts on the logits that come back.
    const options = { temperature: this.#sampling.temperature, topK: 0, topP: 1, minP: 0, seed: 0 };
    const last = tokens.length - 1;
    const generateNext = { logits, totalLogitWeight: true, options };
    const output = await this.#steps.take(
      number,
      async () => await sequence.controlledEvaluate(tokens.map((token, i) => (i === last ? [token, { generateNext }] : token))),
    );
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
  }

  #isLineEnd(token: Token): boolean {
    let ends = this.#endsLine.get(token);
    if (ends === undefined) this.#endsLine.set(token, (ends = this.#loaded!.model.detokenize([token]).includes("\n")));
    return ends;
  }

  async #resolve(signal: AbortSignal | undefined): Promise<string> {
    return (this.#path ??= await modelFile(this.#options.model, this.#options.modelsFolder, signal));
  }

  async #load(path: string, signal: AbortSignal | undefined): Promise<Loaded> {
    if (this.#loaded) return this.#loaded;
    // llama.cpp ends the whole process over some damaged files: look first.
    const header = checkGguf(path);
    const library = await importLibrary();
    const threads = this.#options.threads ?? (availableParallelism() <= 2 ? 1 : availableParallelism() - 1);
    const said: string[] = [];
    const llama = await startLlama(library, this.#options.gpu ?? true, said);
    try {
      const { model, context, sequences } = await loadAndMakeRoom(llama, header, {
        ...this.#options,
        threads,
        shortOfMemory: (error) => error instanceof library.InsufficientMemoryError || /failed to create context/i.test(String(error)),
        signal,
      });
      this.#loaded = {
        llama,
        model,
        context,
        sequences: Array.from({ length: sequences }, () => context.getSequence()),
        beginnings: new PromptBeginnings(context.getSequence()),
        prompts: new LlamaCppPrompts(model, {
          mostTokens: (prompt) => context.contextSize - longestAnswer(prompt, this.#sampling) - 1,
          wrapper: () => (header.metadata.has("tokenizer.chat_template") ? chatWrapper(library, model) : undefined),
        }),
      };
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

/** Takes back the last token that a writer's sequence holds, so that it can be evaluated again. */
async function forgetLast({ sequence }: Writer): Promise<void> {
  const end = sequence.nextTokenIndex;
  await sequence.eraseContextTokenRanges([{ start: end - 1, end }]);
}
