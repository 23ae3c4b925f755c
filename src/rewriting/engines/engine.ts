/**
 * What writes: a language model in this process, one behind a server, or a program. The scheduler knows no more than this.
 */
import { LaclipError } from "../../support/index.ts";
import type { Example } from "../pairs/pairs.ts";
import type { Prompt, PromptForm } from "../prompts/prompt.ts";

/** One caption to rewrite, in the manner of one source. */
export interface RewriteRequest {
  readonly id: string;
  readonly source: string;
  /** The caption as the data set has it. */
  readonly original: string;
  /** The caption as it goes into a prompt: one line, no arrows, not too long. */
  readonly caption: string;
  /** Whether `caption` lacks words of `original`. */
  readonly shortened: boolean;
  /** Another caption of the same image, for forms of the prompt that merge two; as safe as `caption`. */
  readonly second?: string | undefined;
  /** None for engines that need no examples. */
  readonly examples: readonly Example[];
  /** How a language model is asked. */
  readonly form: PromptForm;
  /** 0 to 2^31 - 1. The same engine with the same seed and settings writes the same text, as far as its arithmetic allows. */
  readonly seed: number;
}

/** Requests of one source with the same examples: all but the caption is the same in their prompts. */
export type RewriteGroup = readonly RewriteRequest[];

/** What an engine wrote. */
export interface Completion {
  readonly request: RewriteRequest;
  /** What was added to the prompt, as it came. */
  readonly text: string;
  /** "stop": the model ended the line; "length": cut at the limit; "none": nothing was generated, a program wrote it. */
  readonly finish: "stop" | "length" | "none";
  /** Number of tokens generated, 0 where unknown. */
  readonly tokens: number;
  /** Number of tokens in the prompt, where the engine knows. */
  readonly promptTokens?: number;
  /** True where the engine had to shorten the caption further. */
  readonly shortened?: boolean;
}

/** A request that could not be answered; the run goes on. */
export interface Failure {
  readonly request: RewriteRequest;
  readonly error: LaclipError;
}

/** What became of a request. */
export type Outcome = Completion | Failure;

/** What decides an engine's texts, kept in the rewrites folder. */
export interface EngineDescription {
  /** Name of the model or program. */
  readonly model: string;
  /** Hash that changes when the model's file does; "" where there is none to take. */
  readonly modelHash: string;
  readonly sampling: Readonly<Record<string, number | string | boolean>>;
}

/** A source that an engine without examples writes. */
export interface ProgramSource {
  readonly name: string;
  /** How its texts come about, in words; kept in the rewrites folder. */
  readonly provenance: string;
}

/** Anything that can put captions in other words. */
export interface RewriteEngine {
  /** "llama-cpp", "openai-compatible", "eda", "back-translation". */
  readonly name: string;
  /** False where a request needs no examples and its source is the engine itself. */
  readonly usesExamples: boolean;
  /** What an engine without examples writes. Default: one source with its name. */
  readonly sources?: readonly ProgramSource[];
  /**
   * Gets the engine ready and says what it is. This may take a download, or waiting for a server.
   * @param signal gives up; then this throws whatever it was that could not be finished
   * @throws ModelFormatError, EndpointError or UsageError when it can't be used
   */
  describe(signal?: AbortSignal): Promise<EngineDescription>;
  /**
   * Answers requests in any order, several at a time. Takes groups no faster than it answers them. May be called again and again.
   * @param groups requests with the same examples, so that prompts of a group begin alike
   * @param signal stops the work: open requests are dropped, without an outcome
   * @throws LaclipError when going on makes no sense
   */
  rewrite(groups: AsyncIterable<RewriteGroup>, signal: AbortSignal): AsyncIterable<Outcome>;
  close(): Promise<void>;
}

/** Settings of the paper's rewriting (temperature, then nucleus; at most 77 new tokens; one line). */
export interface SamplingOptions {
  temperature: number;
  topP: number;
  maxTokens: number;
}

/** The settings of the paper. */
export const paperSampling: SamplingOptions = { temperature: 0.9, topP: 0.95, maxTokens: 77 };

/** Tokens of an answer in a conversation, which may begin with a polite sentence before the rewrite. */
const longestTurn = 200;

/** Most tokens of an answer to such a prompt: the limit of the sampling for a text, at least 200 in a conversation. */
export function longestAnswer({ kind }: Pick<Prompt, "kind">, { maxTokens }: SamplingOptions): number {
  return kind === "text" ? maxTokens : Math.max(longestTurn, maxTokens);
}

/** True for a request that could not be answered. */
export function isFailure(outcome: Outcome): outcome is Failure {
  return "error" in outcome;
}

/** The requests of all groups, one by one. */
export async function* ungrouped(groups: AsyncIterable<RewriteGroup>): AsyncGenerator<RewriteRequest> {
  for await (const group of groups) yield* group;
}

/**
 * Works on items with up to `count` workers at a time and yields results as they are done.
 *
 * @param work must not throw for a single item that fails; a throw ends everything
 */
export async function* inParallel<T, R>(
  items: AsyncIterable<T>,
  { count, signal }: { count: number; signal: AbortSignal },
  work: (item: T, worker: number) => Promise<R>,
): AsyncGenerator<R> {
  const source = items[Symbol.asyncIterator]();
  const ready: R[] = [];
  let wake = (): void => {};
  let failure: { error: unknown } | undefined;
  let stopped = false;
  const run = async (worker: number): Promise<void> => {
    while (!stopped && !signal.aborted) {
      const next = await source.next();
      if (next.done || stopped || signal.aborted) return;
      const result = await work(next.value, worker);
      if (signal.aborted) return;
      ready.push(result);
      wake();
    }
  };
  let running = count;
  const workers = Array.from({ length: count }, async (_, worker) => {
    try {
      await run(worker);
    } catch (error) {
      failure ??= { error };
      stopped = true;
    } finally {
      running--;
      wake();
    }
  });
  try {
    for (;;) {
      while (ready.length > 0) yield ready.shift()!;
      if (failure) throw failure.error;
      if (running === 0) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (ready.length > 0 || running === 0) resolve();
      });
    }
  } finally {
    stopped = true;
    await Promise.all(workers);
    await source.return?.();
  }
}
