/**
 * The rewriting of a whole data set: captions in, a rewrites folder out, from where an earlier start left off.
 *
 * Captions are taken in chunks; within a chunk and source they are ordered by their examples, so that an engine can use again what
 * it knows of a prompt's beginning. Neither the order nor an interruption changes what is asked (request-groups.ts). A finished rewrite is
 * in the folder's log at the end of the turn in which it came: the end of the process costs what was being written, no more.
 */
import { RewritesWriter, isUsable } from "../data/index.ts";
import type { Rewrite } from "../data/index.ts";
import { DataError, EndpointError, InterruptedError, LaclipError, Progress, log, shortPercent } from "../support/index.ts";
import { datasetName } from "./captions/captions-input.ts";
import type { CaptionsInput } from "./captions/captions-input.ts";
import { isEmpty } from "./captions/captions-survey.ts";
import type { CaptionsSurvey } from "./captions/captions-survey.ts";
import { checkRewrite } from "./checks/checks.ts";
import type { CheckSettings } from "./checks/checks.ts";
import { isFailure } from "./engines/engine.ts";
import type { Completion, EngineDescription, RewriteEngine, RewriteRequest } from "./engines/engine.ts";
import { openCaptionChunks } from "./captions/open-captions.ts";
import type { OpenCaption } from "./captions/open-captions.ts";
import type { PairSource } from "./pairs/pairs.ts";
import { defaultForm } from "./prompts/prompt-forms.ts";
import { safeCaption } from "./prompts/prompt.ts";
import type { PromptForm } from "./prompts/prompt.ts";
import { requestGroups } from "./request-groups.ts";
import { describeSource, refuseUnfit, runSources } from "./run-sources.ts";
import type { RunSource } from "./run-sources.ts";
import { refuseOtherNeighbour } from "./shards/shard-set.ts";
import { shardRows } from "./shards/shards.ts";
import type { Shard } from "./shards/shards.ts";

/** What to rewrite, with what, and where to. */
export interface RewriteOptions {
  captions: CaptionsInput;
  /** The rewrites folder, new or begun. */
  out: string;
  engine: RewriteEngine;
  /** Manners of rewriting, for engines that use examples; others write under their own name. */
  sources: readonly PairSource[];
  /** How a language model is asked. Default: the paper's wording. */
  form?: PromptForm;
  /** How often a caption is rewritten anew when what came was rejected; the last text is kept, whatever it is. Default 0. */
  retries?: number;
  /** What is looked for in a rewrite, and how strictly. Default: `defaultChecks`. */
  checks?: CheckSettings;
  /** Rewrites a caption by an engine without examples; the second on are the sources "eda-2", "eda-3", ... Default 1. */
  rounds?: number;
  /** Write each source as "SOURCE.NAME", with the same draws, beside one that was made with other settings. Default: under its own name. */
  beside?: string;
  seed: number;
  /** Rewrite the first so many captions only. Default: all. */
  limit?: number;
  /** Rewrite only this shard of them. Default: all. */
  shard?: Shard;
  /** Share of requests that may fail, 0..1; a few may in any case (`fewFailures`), unless it is 0. Default 0.01. */
  maximumFailed?: number;
  /** Captions in a chunk. Larger chunks have more neighbours with the same examples. Default 65,536. */
  chunk?: number;
  /** Rewrites in a parquet part. Default 200,000. */
  rowsPerPart?: number;
  /** Told how many of the planned rewrites are there or have failed, at the start and whenever that has changed. */
  onProgress?: (done: number, planned: number) => void;
  /** Program and version, for the manifest. */
  createdWith: string;
  /** Stops the work; what is done is kept, and InterruptedError thrown. */
  signal?: AbortSignal;
}

/** What a run did. Counts are rewrites, that is captions times sources, where nothing else is said. */
export interface RewriteSummary {
  out: string;
  dataset: string;
  /** Captions in the file that are not empty. */
  captions: number;
  /** Those that are, and those of this run of which nothing is left that could be shown to a model. */
  emptyCaptions: number;
  /** Left out since there is no second caption of their image to merge with. */
  withoutSecond: number;
  sources: string[];
  model: string;
  /** There already, from an earlier start. */
  kept: number;
  written: number;
  /** Of those written: not to be trained on. */
  rejected: number;
  /** How often each flag was raised in this run. */
  flags: Record<string, number>;
  failed: number;
  seconds: number;
}

/** So many failures in a row, without one success, mean that the engine is gone. */
const failuresInARow = 50;

/** So many failures end no run in which something was written, however small their share would have to be: they say little of the engine. */
const fewFailures = 10;

/**
 * Rewrites captions into a folder.
 * @throws UsageError when engine, sources, form and captions don't go together
 * @throws InterruptedError when stopped; everything finished is kept
 * @throws DataError for a folder of other captions, settings or writers, and where the captions are unusable
 * @throws EndpointError (or the engine's own error) when more than the allowed share of requests failed, or all of them
 */
export async function rewriteCaptions(options: RewriteOptions): Promise<RewriteSummary> {
  const { captions, engine, out, signal = new AbortController().signal } = options;
  refuseUnfit(options);
  const description = await describe(engine, signal);
  const sources = runSources(options, description);
  const survey = await captions.survey(signal);
  const { fingerprint } = survey;
  const { from, to } = rowsOf(options, survey);
  const made = Object.fromEntries(sources.map((source) => [source.name, describeSource(source, description, options, survey)]));
  if (options.shard) refuseOtherNeighbour(out, { fingerprint, sources: made });
  const writer = await RewritesWriter.open(out, {
    dataset: datasetName(captions.path),
    fingerprint,
    sources: made,
    captions: to - from,
    ...(options.shard ? { shard: { number: options.shard.number, of: options.shard.of, from, to } } : {}),
    createdWith: options.createdWith,
    numbers: survey.numbers,
    signal,
    ...(options.rowsPerPart === undefined ? {} : { rowsPerPart: options.rowsPerPart }),
  });
  try {
    const run = new Run(options, { sources, survey, description, writer, signal });
    await run.work();
    await writer.finish();
    return run.summary;
  } finally {
    writer.close();
  }
}

/** Which captions are to be rewritten, by their position among those that can be. */
function rowsOf({ limit = Infinity, shard }: RewriteOptions, { fingerprint, repeated }: CaptionsSurvey): { from: number; to: number } {
  return shardRows(shard ?? { number: 1, of: 1 }, Math.min(fingerprint.count - repeated, limit));
}

/** What an engine says while it is being stopped is not what is wrong. */
async function describe(engine: RewriteEngine, signal: AbortSignal): Promise<EngineDescription> {
  try {
    return await engine.describe(signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new InterruptedError("Stopped before the first rewrite.", { mend: "Start the same command again.", cause: error });
  }
}

interface RunParts {
  sources: readonly RunSource[];
  survey: CaptionsSurvey;
  description: EngineDescription;
  writer: RewritesWriter;
  signal: AbortSignal;
}

class Run {
  readonly summary: RewriteSummary;
  readonly #options: RewriteOptions;
  readonly #parts: RunParts;
  readonly #rows: { readonly from: number; readonly to: number };
  readonly #planned: number;
  #failuresSinceSuccess = 0;
  #last: LaclipError | undefined;

  constructor(options: RewriteOptions, parts: RunParts) {
    this.#options = options;
    this.#parts = parts;
    const { survey, sources, description, writer } = parts;
    this.#rows = rowsOf(options, survey);
    this.#planned = (this.#rows.to - this.#rows.from) * sources.length;
    this.summary = {
      out: writer.path,
      dataset: datasetName(options.captions.path),
      captions: survey.fingerprint.count,
      emptyCaptions: survey.empty,
      withoutSecond: 0,
      sources: sources.map(({ name }) => name),
      model: description.model,
      kept: 0,
      written: 0,
      rejected: 0,
      flags: {},
      failed: 0,
      seconds: 0,
    };
  }

  async work(): Promise<void> {
    const { sources, writer, survey, signal } = this.#parts;
    const { captions, chunk: size = 65_536 } = this.#options;
    const { from, to } = this.#rows;
    const finished = sources.map(({ name }) => writer.finished(name));
    // What is there already does not count towards the rate.
    for (const numbers of finished) this.summary.kept += numbers.count(from, to);
    if (this.summary.kept > 0) log.info(`${this.summary.out}: ${this.summary.kept} of ${this.#planned} rewrites are there already`);
    const started = performance.now();
    const progress = new Progress({ label: "rewrite", total: this.#planned, unit: "rewrites", start: this.summary.kept });
    this.#tell();
    const isDone = (number: number): boolean => finished.every((numbers) => numbers.has(number));
    try {
      for await (const chunk of openCaptionChunks(captions, { survey, from, to, size, isDone })) {
        const blank = new Set(chunk.filter(({ caption }) => safeCaption(caption).text === ""));
        this.summary.emptyCaptions += blank.size;
        for (const [i, source] of sources.entries()) {
          const unfinished = chunk.filter(({ number }) => !finished[i]!.has(number));
          for (const caption of unfinished) if (blank.has(caption)) await this.#keepNothing(source, caption, progress);
          let open = this.#mergeable(
            unfinished.filter((caption) => !blank.has(caption)),
            progress,
          );
          for (let attempt = 0; open.length > 0 && !signal.aborted; attempt++) open = await this.#pass(source, open, attempt, progress);
        }
        if (signal.aborted) break;
      }
    } finally {
      progress.finish();
      this.summary.seconds = (performance.now() - started) / 1000;
    }
    const { kept, written, failed, withoutSecond } = this.summary;
    if (failed > 0 && kept + written === 0 && !signal.aborted) throw this.#tooManyFailures("all of them");
    if (signal.aborted && kept + written + failed + withoutSecond < this.#planned) {
      throw new InterruptedError(`Stopped. ${written} new rewrites are saved in ${this.summary.out}.`, {
        mend: "Start the same command again: it goes on from there.",
      });
    }
  }

  /**
   * A caption of control characters or models' own marks is not empty, but nothing of it can stand in a prompt. It gets an empty text,
   * which is never trained on, and so is done like the others.
   */
  async #keepNothing({ name }: RunSource, { id }: OpenCaption, progress: Progress): Promise<void> {
    await this.#keep({ id, source: name, text: "", flags: ["rejected:too-short"], finish: "none", tokens: 0, seed: 0, examples: [] });
    progress.advance();
  }

  /** Those that the form of the prompt can be made for. Rewriting the others by examples of merging would teach the model to invent. */
  #mergeable(captions: readonly OpenCaption[], progress: Progress): readonly OpenCaption[] {
    const { engine, form = defaultForm } = this.#options;
    if (!engine.usesExamples || !form.merges) return captions;
    const mergeable = captions.filter(({ second = "" }) => !isEmpty(second));
    const left = captions.length - mergeable.length;
    this.summary.withoutSecond += left;
    progress.advance(left);
    return mergeable;
  }

  /** Asks for a rewrite of each of these captions; returns those whose rewrite was rejected and may be tried again. */
  async #pass(source: RunSource, captions: readonly OpenCaption[], attempt: number, progress: Progress): Promise<OpenCaption[]> {
    const { engine, form = defaultForm, seed: runSeed, retries = 0 } = this.#options;
    const rejected = attempt < retries ? new Set<string>() : undefined;
    const groups = requestGroups(source, captions, { form, runSeed, withExamples: engine.usesExamples, attempt });
    for await (const outcome of engine.rewrite(groups, this.#parts.signal)) {
      if (isFailure(outcome)) this.#fail(outcome.error, outcome.request);
      else {
        this.#failuresSinceSuccess = 0;
        const rewrite = this.#check(source, outcome, attempt);
        if (rejected && !isUsable(rewrite)) {
          rejected.add(rewrite.id);
          continue;
        }
        await this.#keep(rewrite);
      }
      progress.advance(1, this.summary.failed > 0 ? `${this.summary.failed} failed` : "");
    }
    return rejected ? captions.filter(({ id }) => rejected.has(id)) : [];
  }

  #check({ name, knownOutputs }: RunSource, { request, text, finish, tokens, shortened }: Completion, attempt: number): Rewrite {
    const { id, original, second, examples, form, seed } = request;
    const beside = { caption: original, second, knownOutputs, finish };
    const checked = checkRewrite(
      finish === "none" ? text : form.read(text),
      { ...beside, shortened: shortened ?? request.shortened },
      this.#options.checks,
    );
    return {
      id,
      source: name,
      text: checked.text,
      flags: attempt > 0 ? [...checked.flags, "regenerated"] : checked.flags,
      finish,
      tokens,
      seed,
      examples: examples.map((example) => example.id),
    };
  }

  async #keep(rewrite: Rewrite): Promise<void> {
    await this.#parts.writer.append([rewrite]);
    this.summary.written++;
    if (!isUsable(rewrite)) this.summary.rejected++;
    for (const flag of rewrite.flags) this.summary.flags[flag] = (this.summary.flags[flag] ?? 0) + 1;
    this.#tell();
  }

  #tell(): void {
    const { kept, written, failed } = this.summary;
    this.#options.onProgress?.(kept + written + failed, this.#planned);
  }

  #fail(error: LaclipError, { id, source }: RewriteRequest): void {
    this.summary.failed++;
    this.#failuresSinceSuccess++;
    this.#last = error;
    this.#tell();
    if (this.summary.failed <= 3) log.warn(`no rewrite of ${id} from ${source}: ${error.message}`);
    // Above the allowed share nothing that still comes can help; without any success there is nothing to wait for.
    const { maximumFailed = 0.01 } = this.#options;
    const allowed = maximumFailed === 0 ? 0 : Math.max(fewFailures, Math.floor(maximumFailed * this.#planned));
    if (this.summary.failed > allowed)
      throw this.#tooManyFailures(`allowed are ${allowed === fewFailures ? String(fewFailures) : shortPercent(maximumFailed)}`);
    if (this.#failuresSinceSuccess >= failuresInARow) throw this.#tooManyFailures(`the last ${failuresInARow} in a row`);
  }

  #tooManyFailures(reason: string): LaclipError {
    const { failed, written, out } = this.summary;
    const last = this.#last!;
    const message = `${failed} of ${this.#planned} rewrites failed (${reason}). The last one: ${last.message}`;
    const mend = `${last.mend ?? ""} The ${written} rewrites made in this run are kept in ${out}.`.trim();
    return last instanceof EndpointError
      ? new EndpointError(message, { mend, cause: last })
      : new DataError(message, { mend, cause: last });
  }
}
