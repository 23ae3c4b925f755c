/**
 * A language model behind an OpenAI-compatible completions server: llama-server, vLLM, SGLang, LM Studio, Ollama and their like.
 *
 * One request a caption, since a server applies one seed to all prompts of a request; many at a time, since servers batch.
 * Prompts that begin alike are sent close together, for servers that keep evaluated prefixes.
 */
import { setMaxListeners } from "node:events";
import { Agent, request as send } from "undici";
import { EndpointError, LaclipError, Random, UsageError, log } from "../../support/index.ts";
import { inParallel, paperSampling, ungrouped } from "../engine.ts";
import type { Prompt } from "../prompt.ts";
import type { EngineDescription, Outcome, RewriteEngine, RewriteGroup, RewriteRequest, SamplingOptions } from "../engine.ts";

/** Which server, and how it is asked. */
export interface OpenAiCompatibleOptions {
  /** Address of the API, mostly ending in `/v1`. */
  url: string;
  /** Name of the model. Default: the only one that the server offers. */
  model?: string;
  /** Requests under way at once. Default 64. */
  concurrency?: number;
  sampling?: SamplingOptions;
  /** Seconds until an answer must be there. Default 120. */
  timeoutSeconds?: number;
  /** How often a request is sent before it counts as failed. Default 5. */
  tries?: number;
  /** Pause before the second try in seconds; it doubles with each further one, up to 30. Default 0.5. */
  pauseSeconds?: number;
  /** Default: the environment variable `LACLIP_API_KEY`. */
  apiKey?: string;
}

/** Parameters that some servers would else fill in with their own defaults, by how a server names itself. */
const dialects: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  llamacpp: { samplers: ["temperature", "top_p"], cache_prompt: true },
  vllm: { top_k: -1, min_p: 0, repetition_penalty: 1 },
};

/** An answer that is worth asking for again. */
class Passing extends Error {
  constructor(
    message: string,
    /** Seconds that the server asks us to wait. */
    readonly wait: number | undefined,
    readonly reason?: unknown,
  ) {
    super(message);
  }
}

/** Rewrites through a completions server, many requests at a time, each tried again where that may help. */
export class OpenAiCompatibleEngine implements RewriteEngine {
  readonly name = "openai-compatible";
  readonly usesExamples = true;
  readonly #options: Required<Omit<OpenAiCompatibleOptions, "model" | "apiKey">> & Pick<OpenAiCompatibleOptions, "model">;
  readonly #headers: Record<string, string>;
  readonly #agent: Agent;
  #model: string | undefined;
  #extra: Readonly<Record<string, unknown>> = {};
  #described = false;

  constructor(options: OpenAiCompatibleOptions) {
    this.#options = {
      concurrency: 64,
      sampling: paperSampling,
      timeoutSeconds: 120,
      tries: 5,
      pauseSeconds: 0.5,
      ...options,
      url: options.url.replace(/\/+$/, ""),
    };
    const key = options.apiKey ?? process.env["LACLIP_API_KEY"];
    this.#headers = { "content-type": "application/json", accept: "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
    const milliseconds = this.#options.timeoutSeconds * 1000;
    this.#agent = new Agent({
      connections: this.#options.concurrency,
      connectTimeout: Math.min(10_000, milliseconds),
      headersTimeout: milliseconds,
      bodyTimeout: milliseconds,
    });
  }

  async describe(signal: AbortSignal = new AbortController().signal): Promise<EngineDescription> {
    await this.#ask(signal);
    const { temperature, topP, maxTokens } = this.#options.sampling;
    return { model: this.#model ?? "unnamed", modelHash: "", sampling: { temperature, topP, maxTokens } };
  }

  async *rewrite(groups: AsyncIterable<RewriteGroup>, signal: AbortSignal): AsyncGenerator<Outcome> {
    await this.#ask(signal);
    // Each open request listens for the end of the run; the limit of ten is meant for leaks.
    setMaxListeners(0, signal);
    yield* inParallel(
      ungrouped(groups),
      { count: this.#options.concurrency, signal },
      async (request): Promise<Outcome> => await this.#complete(request, signal),
    );
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #complete(request: RewriteRequest, signal: AbortSignal): Promise<Outcome> {
    const { temperature, topP, maxTokens } = this.#options.sampling;
    const body = JSON.stringify({
      ...(this.#model === undefined ? {} : { model: this.#model }),
      prompt: textOf(request.form.render(request)),
      max_tokens: maxTokens,
      temperature,
      top_p: topP,
      stop: ["\n"],
      seed: request.seed,
      ...this.#extra,
    });
    try {
      return await this.#persist(request, signal, async () => {
        const answer = (await this.#call("POST", "/completions", signal, body)) as {
          choices?: { text?: unknown; finish_reason?: unknown }[];
          usage?: { completion_tokens?: unknown };
        };
        const choice = answer?.choices?.[0];
        if (typeof choice?.text !== "string")
          throw new Passing(`the answer has no choices[0].text: ${JSON.stringify(answer).slice(0, 200)}`, undefined);
        const tokens = answer.usage?.completion_tokens;
        return {
          request,
          text: choice.text,
          finish: choice.finish_reason === "length" ? "length" : "stop",
          tokens: typeof tokens === "number" && Number.isInteger(tokens) ? tokens : 0,
        };
      });
    } catch (error) {
      if (LaclipError.is(error) && !(error instanceof FinalError)) return { request, error };
      throw error;
    }
  }

  /** Finds out which model there is and what kind of server this is; also shows at once that there is one. */
  async #ask(signal: AbortSignal): Promise<void> {
    if (this.#described) return;
    this.#model = this.#options.model;
    let answer: { data?: { id?: unknown; owned_by?: unknown }[] };
    try {
      answer = (await this.#persist(undefined, signal, async () => await this.#call("GET", "/models", signal))) as typeof answer;
    } catch (error) {
      // Some servers offer completions and nothing else.
      if (!(error instanceof FinalError) || (error.status !== 404 && error.status !== 405)) throw error;
      if (this.#model === undefined) log.warn(`${this.#options.url} does not say which models it has; using its default.`);
      this.#described = true;
      return;
    }
    const models = Array.isArray(answer?.data) ? answer.data.filter((model) => typeof model?.id === "string") : [];
    if (this.#model === undefined && models.length > 1) {
      const names = models.slice(0, 10).map(({ id }) => id);
      throw new UsageError(
        `${this.#options.url} offers ${models.length} models: ${names.join(", ")}${models.length > 10 ? ", ..." : ""}.`,
        { mend: "Choose one with --model NAME." },
      );
    }
    this.#model ??= models[0]?.id as string | undefined;
    const owner = models.find(({ id }) => id === this.#model)?.owned_by ?? models[0]?.owned_by;
    this.#extra = typeof owner === "string" && Object.hasOwn(dialects, owner) ? dialects[owner]! : {};
    this.#described = true;
  }

  /** Tries again what may pass, with growing pauses or those that the server asks for. */
  async #persist<T>(request: RewriteRequest | undefined, signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    const { tries, pauseSeconds, url } = this.#options;
    const random = Random.of("pause", request?.id ?? "", request?.source ?? "");
    for (let tried = 1; ; tried++) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof Passing)) throw error;
        if (tried >= tries || signal.aborted) {
          throw new EndpointError(`${url}: no usable answer after ${tried} ${tried === 1 ? "try" : "tries"}: ${error.message}`, {
            mend: "Check that the server runs at this address and has not run out of memory or quota; then start the same command again: what is done is kept.",
            cause: error.reason ?? error,
          });
        }
        // Without chance in the pauses, all that failed together would come back together.
        const pause = error.wait ?? Math.min(30, pauseSeconds * 2 ** (tried - 1)) * (0.5 + random.uniform());
        log.debug(`${url}: ${error.message}; trying again in ${pause.toFixed(1)} s`);
        await sleep(pause * 1000, signal);
      }
    }
  }

  async #call(method: "GET" | "POST", path: string, signal: AbortSignal, body?: string): Promise<unknown> {
    const { url, timeoutSeconds } = this.#options;
    let status: number;
    let headers: Record<string, string | string[] | undefined>;
    let text: string;
    // The agent's own limits count from byte to byte; a server that drips would never meet them. Not AbortSignal.any, which on
    // Node 20 keeps something for every request as long as the run's own signal lives.
    const limit = new AbortController();
    const stop = (): void => limit.abort();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      stop();
    }, timeoutSeconds * 1000);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    try {
      const response = await send(`${url}${path}`, {
        method,
        headers: this.#headers,
        body: body ?? null,
        dispatcher: this.#agent,
        signal: limit.signal,
      });
      ({ statusCode: status, headers } = response);
      text = await response.body.text();
    } catch (error) {
      if (signal.aborted) throw new Passing("stopped", undefined, error);
      throw new Passing(late ? `no answer within ${timeoutSeconds} s` : explainNetwork(error, timeoutSeconds), undefined, error);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
    const said = serverWords(text);
    if (status === 408 || status === 409 || status === 425 || status === 429 || status >= 500)
      throw new Passing(`the server answered ${status}: ${said}`, retryAfter(headers["retry-after"]));
    if (status === 400 || status === 413 || status === 422) {
      throw new EndpointError(`${url}${path}: the server refused this request with ${status}: ${said}`, {
        mend: "Its words say why. A prompt that is too long needs a server started with a larger context.",
      });
    }
    if (status < 200 || status >= 300) {
      const mend =
        status === 401 || status === 403
          ? "Put the key into the environment variable LACLIP_API_KEY."
          : status === 404
            ? "Check the address (it mostly ends in /v1) and --model."
            : undefined;
      throw new FinalError(`${url}${path}: the server answered ${status}: ${said}`, status, mend);
    }
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new Passing(`the answer is not JSON: ${said}`, undefined, error);
    }
  }
}

function textOf(prompt: Prompt): string {
  if (prompt.kind === "text") return prompt.shared + prompt.own;
  throw new UsageError("Conversations can't be sent to a completions server yet.");
}

/** What no other request can get past: going on makes no sense. */
class FinalError extends EndpointError {
  constructor(
    message: string,
    readonly status: number,
    mend: string | undefined,
  ) {
    super(message, mend === undefined ? {} : { mend });
    this.name = "EndpointError";
  }
}

/** The server's own explanation, wherever it put it, on one line. */
function serverWords(text: string): string {
  let words = text;
  try {
    const value = JSON.parse(text) as { error?: { message?: unknown } | string; message?: unknown; detail?: unknown };
    const found = typeof value.error === "string" ? value.error : (value.error?.message ?? value.message ?? value.detail);
    if (typeof found === "string") words = found;
  } catch {
    // Not JSON: then the text itself is what it says.
  }
  const line = words.replace(/\s+/g, " ").trim();
  return line === "" ? "(nothing)" : line.slice(0, 300);
}

function explainNetwork(error: unknown, timeoutSeconds: number): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT") return `no answer within ${timeoutSeconds} s`;
  if (code === "ECONNREFUSED") return "nothing listens there (connection refused)";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "there is no machine of that name (or no network)";
  return `${code ? `${code}: ` : ""}${message}`;
}

/** Seconds to wait from a Retry-After header: a number of seconds or a date. At most five minutes. */
function retryAfter(header: string | string[] | undefined): number | undefined {
  const value = Array.isArray(header) ? header[0] : header;
  if (value === undefined) return undefined;
  const seconds = /^\d+(\.\d+)?$/.test(value.trim()) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(300, Math.max(0, seconds)) : undefined;
}

async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done, { once: true });
  });
}
