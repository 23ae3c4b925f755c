/**
 * Rewriting through batch files, as OpenAI's Batch interface and vLLM's `run-batch` take them: one engine writes down what a server
 * would have been asked, another answers from the results. To the scheduler both are engines like any other, so requests, checks and
 * the rewrites folder are those of every run; a request without an answer has no outcome, and is asked again by the next batch.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { TextFile } from "../../formats/index.ts";
import { DataError, makeFolder } from "../../support/index.ts";
import { paperSampling, ungrouped } from "./engine.ts";
import type { EngineDescription, Outcome, RewriteEngine, RewriteGroup, RewriteRequest, SamplingOptions } from "./engine.ts";
import type { BatchResults } from "./batch-results.ts";
import { completionOf, requestBody, requestPath } from "./completions-api.ts";
import { PassingError } from "./server-answers.ts";

/** What OpenAI takes in one file: so many requests, and less than 200 MB. */
const fileLimits = { requests: 50_000, bytes: 190_000_000 };

/** Which model is asked, and how. */
export interface BatchEngineOptions {
  readonly model: string;
  /** Default: the paper's. */
  readonly sampling?: SamplingOptions;
}

/** A line of a batch file. */
export interface BatchLine {
  readonly custom_id: string;
  readonly method: "POST";
  readonly url: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** The name under which a request's answer comes back: its source, and a hash of its caption's id, which may be of any length. */
function customId({ source, id }: Pick<RewriteRequest, "source" | "id">): string {
  return `${source}-${createHash("sha256").update(id).digest("hex").slice(0, 24)}`;
}

function describe({ model, sampling = paperSampling }: BatchEngineOptions): EngineDescription {
  const { temperature, topP, maxTokens } = sampling;
  return { model, modelHash: "", sampling: { temperature, topP, maxTokens } };
}

/** Writes requests into a folder, `requests-00001.jsonl` and so on. It answers none. */
export class BatchRequests implements RewriteEngine {
  readonly name = "openai-batch";
  readonly usesExamples = true;
  /** Requests written. */
  count = 0;
  /** Files with requests, each there when it is full or `finish` was called. */
  readonly files: string[] = [];
  readonly #folder: string;
  readonly #options: BatchEngineOptions;
  readonly #limits: typeof fileLimits;
  #file: TextFile | undefined;
  #inFile = { requests: 0, bytes: 0 };

  /**
   * @param folder where the files go; made if need be
   * @throws DataError when it holds other files, or finished requests
   */
  constructor(folder: string, options: BatchEngineOptions, limits = fileLimits) {
    this.#folder = folder;
    this.#options = options;
    this.#limits = limits;
    makeFolder(folder);
    const names = readdirSync(folder);
    const foreign = names.find((name) => !/^requests-\d{5}\.jsonl(\.tmp-\d+)?$/.test(name));
    if (foreign !== undefined) {
      throw new DataError(`${folder}: this folder holds ${foreign === batchRecord ? "a batch already" : `other files ("${foreign}")`}.`, {
        mend: "Name a folder that does not exist yet.",
      });
    }
    // What a start that was stopped has left: without a record, nobody has sent it.
    for (const name of names) rmSync(join(folder, name));
  }

  async describe(): Promise<EngineDescription> {
    return describe(this.#options);
  }

  // oxlint-disable-next-line require-yield -- It has the form of an engine and no answers.
  async *rewrite(groups: AsyncIterable<RewriteGroup>, signal: AbortSignal): AsyncGenerator<Outcome> {
    for await (const request of ungrouped(groups)) {
      if (signal.aborted) return;
      await this.#write(request);
    }
  }

  /** Puts the last file in its place. Nothing can be added after that. */
  async finish(): Promise<void> {
    await this.#file?.finish();
    this.#file = undefined;
  }

  async close(): Promise<void> {
    await this.#file?.abandon();
  }

  async #write(request: RewriteRequest): Promise<void> {
    const { model, sampling = paperSampling } = this.#options;
    const prompt = request.form.render(request);
    const line: BatchLine = {
      custom_id: customId(request),
      method: "POST",
      url: `/v1${requestPath(prompt)}`,
      body: requestBody(prompt, { model, seed: request.seed, sampling }),
    };
    const text = `${JSON.stringify(line)}\n`;
    const bytes = Buffer.byteLength(text);
    if (this.#inFile.requests >= this.#limits.requests || this.#inFile.bytes + bytes > this.#limits.bytes) await this.finish();
    if (!this.#file) {
      const path = join(this.#folder, `requests-${String(this.files.length + 1).padStart(5, "0")}.jsonl`);
      this.files.push(path);
      this.#file = new TextFile(path);
      this.#inFile = { requests: 0, bytes: 0 };
    }
    await this.#file.write(text);
    this.#inFile.requests++;
    this.#inFile.bytes += bytes;
    this.count++;
  }
}

/** File that says what a folder of requests was made for; there when all of them are. */
export const batchRecord = "batch.json";

/** True where all requests of a batch were written. */
export function isBatch(folder: string): boolean {
  return existsSync(join(folder, batchRecord));
}

/** Answers from the results of batches. Requests without a usable answer have no outcome: they are counted, and stay to be asked. */
export class BatchAnswers implements RewriteEngine {
  readonly name = "openai-batch";
  readonly usesExamples = true;
  /** Requests that were answered with a text. */
  answered = 0;
  /** Requests whose answer is an error or no completion. */
  failed = 0;
  /** What was wrong with the first few of these. */
  readonly failures: string[] = [];
  /** Requests that no result answers. */
  missing = 0;
  readonly #results: BatchResults;
  readonly #options: BatchEngineOptions;

  constructor(results: BatchResults, options: BatchEngineOptions) {
    this.#results = results;
    this.#options = options;
  }

  async describe(): Promise<EngineDescription> {
    return describe(this.#options);
  }

  async *rewrite(groups: AsyncIterable<RewriteGroup>, signal: AbortSignal): AsyncGenerator<Outcome> {
    for await (const request of ungrouped(groups)) {
      if (signal.aborted) return;
      const name = customId(request);
      const result = this.#results.get(name);
      if (result === undefined) {
        this.missing++;
        continue;
      }
      try {
        if ("error" in result) throw new PassingError("failing", result.error);
        const completion = completionOf(request, request.form.render(request).kind, result.body);
        this.answered++;
        yield completion;
      } catch (error) {
        if (!(error instanceof PassingError)) throw error;
        this.failed++;
        if (this.failures.length < 3) this.failures.push(`${name}: ${error.message}`);
      }
    }
  }

  async close(): Promise<void> {
    this.#results.close();
  }
}
