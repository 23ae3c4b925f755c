/**
 * The rewriting of a whole data set: captions in, a rewrites folder out, from where an earlier start left off.
 *
 * Captions are taken in chunks; within a chunk and source they are ordered by their examples, so that an engine can use again what
 * it knows of a prompt's beginning. Examples and seed of a rewrite depend on (run seed, source, caption id) alone, so neither
 * the order nor an interruption changes a text. Every finished rewrite is on disk before the next is asked for.
 */
import { HashedKeys, RewritesWriter, isUsable } from "../data/index.ts";
import type { Rewrite, RewriteSource } from "../data/index.ts";
import { DataError, EndpointError, InterruptedError, LaclipError, Progress, Random, UsageError, log, sha256 } from "../support/index.ts";
import { datasetName } from "./captions-input.ts";
import type { CaptionsInput } from "./captions-input.ts";
import { isEmpty } from "./captions-survey.ts";
import type { CaptionsSurvey } from "./captions-survey.ts";
import { checkRewrite, defaultChecks, normalise, recordChecks } from "./checks.ts";
import type { CheckSettings } from "./checks.ts";
import { isFailure } from "./engine.ts";
import type { Completion, EngineDescription, RewriteEngine, RewriteGroup, RewriteRequest } from "./engine.ts";
import { drawExamples, examplesPerPrompt, hashOfPairs, outputsOf } from "./pairs.ts";
import type { PairSource } from "./pairs.ts";
import { defaultForm, requireFit } from "./prompt-forms.ts";
import { maximumCaption, safeCaption, signatureOf } from "./prompt.ts";
import type { PromptForm } from "./prompt.ts";
import { shardRows } from "./shards.ts";
import type { Shard } from "./shards.ts";

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
  seed: number;
  /** Rewrite the first so many captions only. Default: all. */
  limit?: number;
  /** Rewrite only this shard of them. Default: all. */
  shard?: Shard;
  /** Share of requests that may fail, 0..1. Default 0.01. */
  maximumFailed?: number;
  /** Captions in a chunk. Larger chunks have more neighbours with the same examples. Default 65,536. */
  chunk?: number;
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

/**
 * Rewrites captions into a folder.
 * @throws InterruptedError when stopped; everything finished is kept
 * @throws DataError for a folder of other captions, settings or writers, and where the captions are unusable
 * @throws EndpointError (or the engine's own error) when more than the allowed share of requests failed
 */
export async function rewriteCaptions(options: RewriteOptions): Promise<RewriteSummary> {
  const { captions, engine, out, signal = new AbortController().signal } = options;
  const description = await describe(engine, signal);
  const sources = engine.usesExamples ? options.sources : rounds(engine, description, options.rounds ?? 1);
  if (sources.length === 0) throw new UsageError("No source was named to rewrite captions in the manner of.");
  if (engine.usesExamples) requireFit(options.form ?? defaultForm, sources, captions);
  const survey = await captions.survey();
  const writer = await RewritesWriter.open(out, {
    dataset: datasetName(captions.path),
    fingerprint: survey.fingerprint,
    sources: Object.fromEntries(sources.map((source) => [source.name, describeSource(source, description, options, survey)])),
    ...(options.shard ? { shard: { number: options.shard.number, of: options.shard.of, ...rowsOf(options, survey) } } : {}),
    createdWith: options.createdWith,
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

/** The sources of an engine without examples: itself, as often as it is to write. */
function rounds({ name }: RewriteEngine, { model }: EngineDescription, count: number): PairSource[] {
  return Array.from({ length: count }, (_, i) => ({ name: i === 0 ? name : `${name}-${i + 1}`, provenance: model }));
}

function describeSource(
  source: PairSource,
  { model, modelHash, sampling }: EngineDescription,
  options: RewriteOptions,
  survey: CaptionsSurvey,
): RewriteSource {
  const { engine, seed, form = defaultForm } = options;
  const prompt = engine.usesExamples
    ? sha256(
        JSON.stringify([
          signatureOf(form),
          examplesPerPrompt,
          maximumCaption,
          hashOfPairs(source),
          ...(form.merges ? [survey.second] : []),
        ]),
      )
    : "";
  return {
    engine: engine.name,
    model,
    modelHash,
    promptHash: prompt,
    ...(engine.usesExamples ? { prompt: form.name } : {}),
    provenance: form.merges ? `${source.provenance}; merged with captions from ${options.captions.secondFrom}` : source.provenance,
    sampling: { ...sampling },
    seed,
    checks: recordChecks(options.checks ?? defaultChecks),
    ...(options.retries ? { retries: options.retries } : {}),
  };
}

/** A caption that is to be rewritten. */
interface OpenCaption {
  readonly id: string;
  readonly caption: string;
  /** Another caption of the same image, as the data set has it. */
  readonly second?: string | undefined;
}

interface RunParts {
  sources: readonly PairSource[];
  survey: CaptionsSurvey;
  description: EngineDescription;
  writer: RewritesWriter;
  signal: AbortSignal;
}

class Run {
  readonly summary: RewriteSummary;
  readonly #options: RewriteOptions;
  readonly #parts: RunParts;
  readonly #knownOutputs: ReadonlyMap<string, ReadonlySet<string>>;
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
    this.#knownOutputs = new Map(
      sources.map((source) => [
        source.name,
        new Set(options.engine.usesExamples ? outputsOf(source).map((output) => normalise(output)) : []),
      ]),
    );
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
    const { signal } = this.#parts;
    await this.#countKept();
    const started = performance.now();
    const progress = new Progress({ label: "rewrite", total: this.#planned, unit: "rewrites", start: this.summary.kept });
    try {
      for await (const chunk of this.#chunks()) {
        for (const source of this.#parts.sources) {
          let open = this.#mergeable(
            chunk.filter(({ id }) => !this.#parts.writer.has(source.name, id)),
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
    if (signal.aborted && kept + written + failed + withoutSecond < this.#planned) {
      throw new InterruptedError(`Stopped. ${written} new rewrites are saved in ${this.summary.out}.`, {
        mend: "Start the same command again: it goes on from there.",
      });
    }
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

  /** What is there already; known before the start, it does not count towards the rate. */
  async #countKept(): Promise<void> {
    const { sources, writer, signal } = this.#parts;
    if (writer.count === 0) return;
    for await (const chunk of this.#chunks()) {
      if (signal.aborted) return;
      for (const source of sources) for (const { id } of chunk) if (writer.has(source.name, id)) this.summary.kept++;
    }
  }

  /** Asks for a rewrite of each of these captions; returns those whose rewrite was rejected and may be tried again. */
  async #pass(source: PairSource, captions: readonly OpenCaption[], attempt: number, progress: Progress): Promise<OpenCaption[]> {
    const { engine, retries = 0 } = this.#options;
    const again: OpenCaption[] = [];
    const captionsById = new Map(captions.map((caption) => [caption.id, caption]));
    const requests = captions.map((caption) => this.#request(source, caption, attempt));
    for await (const outcome of engine.rewrite(inGroups(requests), this.#parts.signal)) {
      if (isFailure(outcome)) this.#fail(outcome.error, outcome.request);
      else if (!(await this.#keep(outcome, attempt, attempt < retries))) {
        again.push(captionsById.get(outcome.request.id)!);
        continue;
      }
      progress.advance(1, this.summary.failed > 0 ? `${this.summary.failed} failed` : "");
    }
    return again;
  }

  /** Captions that can be rewritten, each id once, those of the shard up to the limit. */
  async *#chunks(): AsyncGenerator<OpenCaption[]> {
    const { captions, chunk: size = 65_536 } = this.#options;
    const { from, to } = this.#rows;
    const seen = this.#parts.survey.repeated > 0 ? new HashedKeys() : undefined;
    let chunk = new Map<string, OpenCaption>();
    let position = 0;
    for await (const batch of captions.rows()) {
      for (const { id, caption, second } of batch) {
        if (isEmpty(caption) || seen?.has(id)) continue;
        if (position >= to) break;
        seen?.set(id);
        if (position++ < from) continue;
        chunk.set(id, { id, caption, second });
        if (chunk.size < size) continue;
        yield [...chunk.values()];
        chunk = new Map();
      }
      if (position >= to) break;
    }
    if (chunk.size > 0) yield [...chunk.values()];
  }

  #request(source: PairSource, { id, caption: original, second }: OpenCaption, attempt: number): RewriteRequest {
    const { text, shortened } = safeCaption(original);
    const other = second === undefined ? undefined : safeCaption(second);
    const { seed: runSeed, engine, form = defaultForm } = this.#options;
    const { examples, seed } = engine.usesExamples
      ? drawExamples(source, runSeed, id, attempt)
      : { examples: [], seed: Random.of("rewrite", runSeed, source.name, id).bits() >>> 1 };
    return {
      id,
      source: source.name,
      original,
      caption: text,
      ...(other ? { second: other.text } : {}),
      shortened: shortened || other?.shortened === true,
      examples,
      form,
      seed,
    };
  }

  /** Checks and keeps a rewrite; false when it was rejected and is to be tried again. */
  async #keep({ request, text, finish, tokens, shortened }: Completion, attempt: number, mayTryAgain: boolean): Promise<boolean> {
    const { id, source, original, second, examples, form, seed } = request;
    const beside = { caption: original, second, knownOutputs: this.#knownOutputs.get(source)!, finish };
    const checked = checkRewrite(
      finish === "none" ? text : form.read(text),
      { ...beside, shortened: shortened ?? request.shortened },
      this.#options.checks,
    );
    const flags = attempt > 0 ? [...checked.flags, "regenerated"] : checked.flags;
    if (mayTryAgain && !isUsable(checked)) return false;
    const rewrite: Rewrite = {
      id,
      source,
      text: checked.text,
      flags,
      finish,
      tokens,
      seed,
      examples: examples.map((example) => example.id),
    };
    await this.#parts.writer.append([rewrite]);
    this.#failuresSinceSuccess = 0;
    this.summary.written++;
    if (!isUsable(rewrite)) this.summary.rejected++;
    for (const flag of flags) this.summary.flags[flag] = (this.summary.flags[flag] ?? 0) + 1;
    return true;
  }

  #fail(error: LaclipError, { id, source }: RewriteRequest): void {
    this.summary.failed++;
    this.#failuresSinceSuccess++;
    this.#last = error;
    if (this.summary.failed <= 3) log.warn(`no rewrite of ${id} from ${source}: ${error.message}`);
    // Above the allowed share nothing that still comes can help; without any success there is nothing to wait for.
    const { maximumFailed = 0.01 } = this.#options;
    if (this.summary.failed > Math.floor(maximumFailed * this.#planned))
      throw this.#tooManyFailures(`allowed are ${maximumFailed * 100} %`);
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

/** Requests by their examples: those with the same in one group, groups that begin alike next to each other. */
async function* inGroups(requests: readonly RewriteRequest[]): AsyncGenerator<RewriteGroup> {
  const groups = new Map<string, RewriteRequest[]>();
  for (const request of requests) {
    const name = request.examples.map((example) => example.id).join("\n");
    const group = groups.get(name);
    if (group) group.push(request);
    else groups.set(name, [request]);
  }
  for (const name of [...groups.keys()].sort()) yield groups.get(name)!;
}
