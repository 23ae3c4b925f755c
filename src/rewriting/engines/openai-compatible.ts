/**
 * A language model behind OpenAI-compatible servers: llama-server, vLLM, SGLang, LM Studio, Ollama and their like; one or several.
 *
 * One request a caption, since a server applies one seed to all prompts of a request; many at a time, since servers batch. Texts go to
 * /completions, conversations to /chat/completions. Which server is asked, and what happens when one fails: server-pool.ts.
 */
import { EndpointError, LaclipError, Random, UsageError, log, pause } from "../../support/index.ts";
import { inParallel, paperSampling, ungrouped } from "./engine.ts";
import type { EngineDescription, Outcome, RewriteEngine, RewriteGroup, RewriteRequest, SamplingOptions } from "./engine.ts";
import type { Prompt } from "../prompts/prompt.ts";
import { completionOf, requestBody, requestPath } from "./completions-api.ts";
import { FinalError, PassingError, readAnswer } from "./server-answers.ts";
import { ServerConnection } from "./server-connection.ts";
import { ServerPool } from "./server-pool.ts";

/** Which servers, and how they are asked. */
export interface OpenAiCompatibleOptions {
  /** Address of the API, mostly ending in `/v1`; or several, of servers with the same model. */
  url: string | readonly string[];
  /** Name of the model. Default: the only one that the servers offer. */
  model?: string;
  /** Requests under way at once at each server. Default 64. */
  concurrency?: number;
  sampling?: SamplingOptions;
  /** Seconds until an answer must be there. Default 120. */
  timeoutSeconds?: number;
  /** How often a request is sent before it counts as failed. Default 5. */
  tries?: number;
  /** Pause before the second try in seconds; it doubles with each further one, up to 30. Default 0.5. */
  pauseSeconds?: number;
  /** Seconds to wait for a server when none answers any more, or none without asking for patience. Default 300. */
  patienceSeconds?: number;
  /** Default: the environment variable `LACLIP_API_KEY`. */
  apiKey?: string;
}

/** Parameters that some servers would else fill in with their own defaults, by how a server names itself. */
const dialects: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  llamacpp: { samplers: ["temperature", "top_p"], cache_prompt: true },
  vllm: { top_k: -1, min_p: 0, repetition_penalty: 1 },
};

/** One server, and what it said about itself. */
interface Member {
  readonly url: string;
  readonly connection: ServerConnection;
  dialect: Readonly<Record<string, unknown>>;
  /** The only model it offers; undefined where it does not say, or offers several and one was chosen. */
  offers: string | undefined;
  /** The models that it lists, where the one that was chosen is none of them. */
  lacking: readonly string[] | undefined;
}

/** Rewrites through completions servers, many requests at a time, each tried again where that may help. */
export class OpenAiCompatibleEngine implements RewriteEngine {
  readonly name = "openai-compatible";
  readonly usesExamples = true;
  readonly #options: Required<Omit<OpenAiCompatibleOptions, "model" | "apiKey" | "url">> & Pick<OpenAiCompatibleOptions, "model">;
  readonly #members: readonly Member[];
  readonly #pool: ServerPool<Member>;
  #model: string | undefined;
  #described = false;

  constructor(options: OpenAiCompatibleOptions) {
    this.#options = {
      concurrency: 64,
      sampling: paperSampling,
      timeoutSeconds: 120,
      tries: 5,
      pauseSeconds: 0.5,
      patienceSeconds: 300,
      ...options,
    };
    this.#model = options.model;
    const { concurrency, timeoutSeconds, tries, pauseSeconds, patienceSeconds } = this.#options;
    const key = options.apiKey ?? process.env["LACLIP_API_KEY"];
    const headers = { "content-type": "application/json", accept: "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
    const urls = typeof options.url === "string" ? [options.url] : options.url;
    this.#members = [...new Set(urls.map((url) => url.replace(/\/+$/, "")))].map((url) => ({
      url,
      connection: new ServerConnection({ url, connections: concurrency, timeoutSeconds, headers }),
      dialect: {},
      offers: undefined,
      lacking: undefined,
    }));
    this.#pool = new ServerPool(this.#members, {
      window: concurrency,
      tries,
      pauseSeconds,
      patienceSeconds,
      look: async (member) => await this.#meet(member),
    });
  }

  async describe(signal: AbortSignal = new AbortController().signal): Promise<EngineDescription> {
    await this.#meetAll(signal);
    const { temperature, topP, maxTokens } = this.#options.sampling;
    return { model: this.#model ?? "unnamed", modelHash: "", sampling: { temperature, topP, maxTokens } };
  }

  async *rewrite(groups: AsyncIterable<RewriteGroup>, signal: AbortSignal): AsyncGenerator<Outcome> {
    await this.#meetAll(signal);
    const stop = (): void => this.#stop();
    signal.addEventListener("abort", stop, { once: true });
    try {
      const count = this.#options.concurrency * this.#members.length;
      yield* inParallel(ungrouped(groups), { count, signal }, async (request) => await this.#complete(request, signal));
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  async close(): Promise<void> {
    this.#pool.close();
    await Promise.all(this.#members.map(async ({ connection }) => await connection.close()));
  }

  #stop(): void {
    for (const { connection } of this.#members) connection.stop();
    this.#pool.wakeAll();
  }

  async #complete(request: RewriteRequest, signal: AbortSignal): Promise<Outcome> {
    const prompt = request.form.render(request);
    const path = requestPath(prompt);
    let asked: Member | undefined;
    try {
      return await this.#pool.run(beginningOf(prompt), signal, async (member) => {
        asked = member;
        const answer = await member.connection.ask("POST", path, this.#body(prompt, request.seed, member));
        return completionOf(request, prompt.kind, readAnswer(answer, `${member.url}${path}`));
      });
    } catch (error) {
      if (error instanceof PassingError) return { request, error: new EndpointError("stopped", { cause: error }) };
      if (LaclipError.is(error) && !(error instanceof FinalError)) return { request, error };
      // Not found, and none of those that this server has said it has.
      const lacking = asked?.lacking;
      if (lacking && error instanceof FinalError && error.status === 404)
        throw new UsageError(`--model ${this.#options.model}: ${error.message}`, {
          mend: `The server lists: ${named(lacking)}. Choose one of these with --model NAME.`,
          cause: error,
        });
      throw error;
    }
  }

  #body(prompt: Prompt, seed: number, { dialect }: Member): string {
    return JSON.stringify({ ...requestBody(prompt, { model: this.#model, seed, sampling: this.#options.sampling }), ...dialect });
  }

  /**
   * Finds out which model there is and what kind of servers these are; also shows at once that there is one.
   * @throws EndpointError when none of them answers
   * @throws UsageError when they have different models
   */
  async #meetAll(signal: AbortSignal): Promise<void> {
    if (this.#described) return;
    if (signal.aborted) throw new EndpointError("stopped before a server was asked");
    const stop = (): void => this.#stop();
    signal.addEventListener("abort", stop, { once: true });
    try {
      const met = await Promise.allSettled(this.#members.map(async (member) => await this.#persist(member, signal)));
      const failed = met.flatMap((result, i) =>
        result.status === "rejected" ? [{ member: this.#members[i]!, reason: result.reason as unknown }] : [],
      );
      const final = failed.find(({ reason }) => reason instanceof FinalError || !(reason instanceof EndpointError));
      if (final) throw final.reason;
      if (failed.length === this.#members.length) throw failed[0]!.reason;
      for (const { member, reason } of failed) this.#pool.leaveOut(member, (reason as Error).message);
      for (const member of this.#members) this.#settleModel(member);
      if (this.#model === undefined) log.warn(`${this.#members[0]!.url} does not say which models it has; using its default.`);
      this.#described = true;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Asks a server about itself until it answers, a few times; longer where it is there and says that it is not ready. */
  async #persist(member: Member, signal: AbortSignal): Promise<void> {
    const { tries, pauseSeconds, patienceSeconds } = this.#options;
    const started = performance.now();
    for (let tried = 1; ; tried++) {
      try {
        return await this.#meet(member);
      } catch (error) {
        if (!(error instanceof PassingError)) throw error;
        const patient = error.trouble === "busy" && performance.now() - started < patienceSeconds * 1000;
        if ((tried >= tries && !patient) || signal.aborted) {
          throw new EndpointError(`${member.url}: no usable answer after ${tried} ${tried === 1 ? "try" : "tries"}: ${error.message}`, {
            mend: "Check that the server runs at this address and has not run out of memory or quota; then start the same command again: what is done is kept.",
            cause: error.reason ?? error,
          });
        }
        if (patient && tried === tries) log.info(`${member.url}: ${error.message}; waiting for it`);
        const wait = error.wait ?? Math.min(10, pauseSeconds * 2 ** (tried - 1)) * (0.5 + Random.of("pause", member.url, tried).uniform());
        await pause(wait, signal);
      }
    }
  }

  /** Asks a server once which models it has. */
  async #meet(member: Member): Promise<void> {
    const { timeoutSeconds } = this.#options;
    let answer: { data?: { id?: unknown; owned_by?: unknown }[] } | null;
    try {
      const came = await member.connection.ask("GET", "/models", undefined, Math.min(30, timeoutSeconds));
      // Servers that are still loading their model say so with 503.
      if (came.status === 503) throw new PassingError("busy", "the server is not ready (503)");
      // One that can't list its models may well have the one that was named; whether it has, the first request shows.
      if (came.status === 500 && this.#options.model !== undefined) return;
      answer = readAnswer(came, `${member.url}/models`) as typeof answer;
    } catch (error) {
      // Some servers offer completions and nothing else.
      if (error instanceof FinalError && (error.status === 404 || error.status === 405)) return;
      throw error;
    }
    const models = Array.isArray(answer?.data) ? answer.data.filter((model) => typeof model?.id === "string") : [];
    if (this.#options.model === undefined && models.length > 1) {
      throw new UsageError(`${member.url} offers ${models.length} models: ${named(models.map(({ id }) => id as string))}.`, {
        mend: "Choose one with --model NAME.",
      });
    }
    member.offers = models[0]?.id as string | undefined;
    this.#noteLacking(
      member,
      models.map(({ id }) => id as string),
    );
    const owner = models.find(({ id }) => id === this.#options.model)?.owned_by ?? models[0]?.owned_by;
    member.dialect = typeof owner === "string" && Object.hasOwn(dialects, owner) ? dialects[owner]! : {};
    if (this.#described) this.#settleModel(member);
  }

  /** Some servers take any name, or know more names than they list: a warning, until a request shows better. */
  #noteLacking(member: Member, listed: readonly string[]): void {
    const { model } = this.#options;
    // Ollama lists "name:latest" for what may be called "name".
    const lacks = model !== undefined && listed.length > 0 && !listed.some((id) => id === model || id.startsWith(`${model}:`));
    if (lacks && !member.lacking) log.warn(`${member.url} lists no model "${model}", but: ${named(listed)}`);
    member.lacking = lacks ? listed : undefined;
  }

  /** Texts of two models must not get mixed up. */
  #settleModel({ url, offers }: Member): void {
    if (this.#options.model !== undefined || offers === undefined) return;
    this.#model ??= offers;
    if (this.#model === offers) return;
    const other = this.#members.find((member) => member.offers === this.#model)?.url ?? "the others";
    throw new UsageError(`${other} has the model "${this.#model}", but ${url} has "${offers}".`, {
      mend: "Name servers of one model. If it is the same under two names, say which name to ask for with --model NAME.",
    });
  }
}

/** Names of models, the first few of many. */
function named(models: readonly string[]): string {
  return `${models.slice(0, 10).join(", ")}${models.length > 10 ? ", ..." : ""}`;
}

/** What prompts with the same examples begin with. */
function beginningOf(prompt: Prompt): string {
  return prompt.kind === "text" ? prompt.shared : JSON.stringify(prompt.messages.slice(0, -1));
}
