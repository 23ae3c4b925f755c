/**
 * What rewriting a data set will take, from really rewriting a sample of it: time, tokens, money.
 *
 * The sample goes through the same scheduler, prompts, retries and checks as all captions would, into a folder that is thrown away.
 * A sample that is small against the number of captions written at once makes the estimate too long: the model idles at its end.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InterruptedError, Random } from "../support/index.ts";
import type { CaptionRow, CaptionsInput } from "./captions/captions-input.ts";
import { isEmpty, surveyCaptions } from "./captions/captions-survey.ts";
import type { CaptionsSurvey } from "./captions/captions-survey.ts";
import type { RewriteEngine, RewriteGroup } from "./engines/engine.ts";
import { isFailure } from "./engines/engine.ts";
import type { Prompt } from "./prompts/prompt.ts";
import { rewriteCaptions } from "./rewrite.ts";
import type { RewriteOptions } from "./rewrite.ts";
import { shardRows } from "./shards/shards.ts";

/** What is to be estimated, and from what. */
export interface EstimateOptions extends Omit<RewriteOptions, "out"> {
  /** Captions to try. Default 50. */
  sample?: number;
  /** Price of a million tokens of prompt, and of a million generated ones, in any currency. Default: no price. */
  priceIn?: number | undefined;
  priceOut?: number | undefined;
}

/** What one source will take; all numbers that are not totals are means over the sample. */
export interface SourceEstimate {
  readonly source: string;
  /** Share of the sample's rewrites that are fit for training, 0 to 1. */
  readonly usable: number;
  /** Requests a caption; more than one where rejected rewrites are asked for again. */
  readonly requests: number;
  /** Tokens a caption, over all its requests. */
  readonly promptTokens: number;
  readonly tokens: number;
  /** Captions a second, as measured. */
  readonly rate: number;
  /** For all captions. */
  readonly seconds: number;
  readonly cost?: number;
}

/** What rewriting all captions will take. */
export interface RewriteEstimate {
  readonly dataset: string;
  /** Captions that are to be rewritten. */
  readonly captions: number;
  /** Captions that were tried. */
  readonly sample: number;
  readonly model: string;
  readonly sources: readonly SourceEstimate[];
  readonly seconds: number;
  readonly cost?: number;
  /** True where the engine did not say how long the prompts are, and four characters were taken for a token. */
  readonly promptTokensGuessed: boolean;
}

/** Characters of English that make a token, roughly. */
const charactersPerToken = 4;

/**
 * Rewrites a sample and says what the whole will take. Nothing stays on disk.
 * @throws whatever rewriting throws: a dry run finds out what would go wrong
 */
export async function estimateRewriting(options: EstimateOptions): Promise<RewriteEstimate> {
  const { captions, sample: size = 50, priceIn, priceOut, limit, shard, ...settings } = options;
  const survey = await captions.survey(options.signal);
  const range = shardRows(shard ?? { number: 1, of: 1 }, Math.min(survey.fingerprint.count - survey.repeated, limit ?? Infinity));
  const total = range.to - range.from;
  const rows = await drawRows(captions, survey, drawPositions(range, Math.min(size, total), options.seed));
  const folder = mkdtempSync(join(tmpdir(), "laclip-dry-run-"));
  try {
    // Whatever happens with the first prompts only, such as the loading of a model, is no part of the rate.
    await rewriteCaptions({ ...settings, captions: asInput(captions, rows.slice(0, 1)), out: join(folder, "first") });
    const estimates: SourceEstimate[] = [];
    let guessed = false;
    let names: { dataset: string; model: string } = { dataset: "", model: "" };
    const runs = settings.engine.usesExamples ? settings.sources.map((source) => [source]) : [[]];
    for (const [i, sources] of runs.entries()) {
      const meter = new Meter(settings.engine);
      const done = await rewriteCaptions({
        ...settings,
        engine: meter,
        sources,
        captions: asInput(captions, rows),
        out: join(folder, `${i}`),
      });
      names = { dataset: done.dataset, model: done.model };
      guessed ||= meter.guessed;
      const perCaption = (count: number): number => count / Math.max(1, rows.length);
      const [promptTokens, tokens] = [perCaption(meter.promptTokens), perCaption(meter.tokens)];
      const rate = rows.length / Math.max(done.seconds, 1e-6);
      const cost = (total * (promptTokens * (priceIn ?? 0) + tokens * (priceOut ?? 0))) / 1e6;
      estimates.push({
        source: done.sources.join(", "),
        usable: done.written > 0 ? 1 - done.rejected / done.written : 0,
        requests: perCaption(meter.requests),
        promptTokens,
        tokens,
        rate,
        seconds: total / rate,
        ...(priceIn === undefined && priceOut === undefined ? {} : { cost }),
      });
    }
    const sum = (of: (estimate: SourceEstimate) => number): number => estimates.reduce((all, estimate) => all + of(estimate), 0);
    return {
      ...names,
      captions: total,
      sample: rows.length,
      sources: estimates,
      seconds: sum(({ seconds }) => seconds),
      ...(priceIn === undefined && priceOut === undefined ? {} : { cost: sum(({ cost }) => cost ?? 0) }),
      promptTokensGuessed: guessed,
    };
  } catch (error) {
    if (!(error instanceof InterruptedError)) throw error;
    throw new InterruptedError("Stopped; a dry run keeps nothing.", { mend: "Start the same command again.", cause: error });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `count` different positions of a range, each with the same chance, by the seed. */
function drawPositions({ from, to }: { from: number; to: number }, count: number, seed: number): Set<number> {
  const random = Random.of("dry run", seed);
  const drawn = new Set<number>();
  // Floyd's sampling: one draw for each position, however many there are.
  for (let last = to - count; last < to; last++) {
    const position = from + random.integer(last - from + 1);
    drawn.add(drawn.has(position) ? last : position);
  }
  return drawn;
}

async function drawRows(captions: CaptionsInput, { numbers }: CaptionsSurvey, positions: ReadonlySet<number>): Promise<CaptionRow[]> {
  const rows = new Map<number, CaptionRow>();
  for await (const batch of captions.rows()) {
    for (const row of batch) {
      const position = isEmpty(row.caption) ? undefined : numbers.get(row.id);
      if (position !== undefined && positions.has(position)) rows.set(position, row);
    }
    if (rows.size === positions.size) break;
  }
  return [...rows.values()];
}

/** Some captions in place of all. */
function asInput(captions: CaptionsInput, chosen: CaptionRow[]): CaptionsInput {
  async function* rows(): AsyncGenerator<CaptionRow[]> {
    yield chosen;
  }
  const { path, files, idFrom, secondFrom } = captions;
  return { path, files, idFrom, secondFrom, rows, survey: async () => await surveyCaptions(path, rows()) };
}

/** An engine that counts what goes through it. */
class Meter implements RewriteEngine {
  requests = 0;
  tokens = 0;
  promptTokens = 0;
  guessed = false;
  readonly sources: NonNullable<RewriteEngine["sources"]> | undefined;
  readonly #engine: RewriteEngine;

  constructor(engine: RewriteEngine) {
    this.#engine = engine;
    this.sources = engine.sources;
  }

  get name(): string {
    return this.#engine.name;
  }

  get usesExamples(): boolean {
    return this.#engine.usesExamples;
  }

  describe: RewriteEngine["describe"] = async (signal) => await this.#engine.describe(signal);

  async *rewrite(groups: AsyncIterable<RewriteGroup>, signal: AbortSignal): ReturnType<RewriteEngine["rewrite"]> {
    for await (const outcome of this.#engine.rewrite(groups, signal)) {
      this.requests++;
      if (!isFailure(outcome)) this.tokens += outcome.tokens;
      if (!isFailure(outcome) && outcome.promptTokens !== undefined) this.promptTokens += outcome.promptTokens;
      else if (this.usesExamples) {
        this.guessed = true;
        this.promptTokens += lengthOf(outcome.request.form.render(outcome.request)) / charactersPerToken;
      }
      yield outcome;
    }
  }

  async close(): Promise<void> {}
}

function lengthOf(prompt: Prompt): number {
  if (prompt.kind === "text") return prompt.shared.length + prompt.own.length;
  return prompt.messages.reduce((sum, { content }) => sum + content.length, 0);
}
