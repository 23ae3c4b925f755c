/**
 * Who rewrites the demo's captions: the model that was asked for; else a model file that lies on this machine, when it is fast enough;
 * else the EDA baseline, which is said plainly.
 *
 * A model found by chance must not cost the demo: it is tried on a few captions, for a limited time, in a folder of its own, and
 * whatever is wrong with it leads to EDA. What was decided is kept in `<out>/rewriter.json`, so that a demo that is started again goes
 * on with the rewriter it began with.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { isRewritesFolder, openRewritesFolder } from "../data/index.ts";
import {
  EdaEngine,
  type RewriteEngine,
  type RewriteSummary,
  chooseEngine,
  chooseSources,
  findModelFile,
  openCaptions,
  rewriteCaptions,
} from "../rewriting/index.ts";
import { DataError, InterruptedError, LaclipError, formatDuration, log, readJson, writeFileAtomic } from "../support/index.ts";
import type { EmojiWorld } from "./emoji-world.ts";

/** Who rewrote the world, and where the texts lie. */
export interface DemoRewriter {
  /** Part of the method's name: "eda", "llm". */
  name: string;
  /** "EDA", or the model's name. */
  label: string;
  isLanguageModel: boolean;
  /** Why this one, in a sentence. */
  why: string;
  /** What it adds to the name: "4 EDA rewrites of it". */
  texts: string;
  /** The rewrites folder. */
  folder: string;
}

/** Whose captions, where to, and by whom. */
export interface RewriteWorldOptions {
  world: Pick<EmojiWorld, "trainCsv" | "samples">;
  out: string;
  /** As `--llm`. Default: what `<out>/rewriter.json` says, else a model file on this machine that is fast enough, else EDA. */
  llm?: string | undefined;
  signal: AbortSignal;
  createdWith: string;
  /** Looks for a model file on this machine. Default `findModelFile`. */
  findModel?: () => string | undefined;
  /** Seconds that a model found by chance may take for the whole world; one that was asked for takes as long as it needs. Default 240. */
  patience?: number;
}

/** The paper's four manners, one rewrite each; EDA writes as many. */
const sourceNames = ["chatgpt", "bard", "mscoco", "human"];
const defaultPatience = 240;
/** Captions to try a model on. */
const trialCaptions = 8;
/** Part of the patience that the trial may take, loading included; a model that fits needs seconds. */
const trialShare = 1 / 12;

const decisionSchema = z.strictObject({
  format: z.literal("laclip-demo-rewriter"),
  /** The file that was found. */
  model: z.string(),
  /** Captions of the world that it was tried for. */
  captions: z.number().int(),
  choice: z.enum(["model", "eda"]),
  /** Estimate for the whole world; null when the model failed or wrote nothing in its time. */
  seconds: z.number().nullable(),
  /** The reason, to be put after "since". */
  because: z.string(),
});

/** What was decided about a model found by chance. */
type Decision = z.infer<typeof decisionSchema>;

/**
 * Rewrites every caption of the world.
 * @throws UsageError, ModelFormatError or EndpointError when a model that was asked for can't be used; DataError when
 *   `<out>/rewriter.json` is somebody else's file; InterruptedError when stopped
 */
export async function rewriteWorld(options: RewriteWorldOptions): Promise<DemoRewriter> {
  const { llm } = options;
  if (llm === "eda") return await byEda(options, "it was asked for with --llm eda");
  if (llm !== undefined) return await byModel(options, llm, "it was asked for with --llm");
  const decision = keptDecision(options) ?? (await decide(options));
  if (decision === undefined) return await byEda(options, "no language model was given (--llm) and none was found on this machine");
  if (decision.choice === "eda") return await byEda(options, decision.because);
  try {
    return await byModel(options, decision.model, decision.because);
  } catch (error) {
    if (!isMishap(error)) throw error;
    const failed = failure(options, decision.model, error);
    keep(options, failed);
    return await byEda(options, failed.because);
  }
}

/** The decision of an earlier start, while it concerns the same captions and a file that is still there. */
function keptDecision({ out, world }: RewriteWorldOptions): Decision | undefined {
  const path = decisionPath(out);
  if (!existsSync(path)) return undefined;
  const found = decisionSchema.safeParse(readJson(path, "choice of a rewriter"));
  if (!found.success) {
    throw new DataError(`${path}: this is not the demo's choice of a rewriter.`, {
      mend: "Give another --out, or move this file elsewhere.",
    });
  }
  const decision = found.data;
  if (decision.captions !== world.samples.length || !existsSync(decision.model)) return undefined;
  log.info(`   Decided at an earlier start; delete ${path} to decide anew.`);
  return decision;
}

function decisionPath(out: string): string {
  return join(out, "rewriter.json");
}

function keep({ out }: RewriteWorldOptions, decision: Decision): void {
  writeFileAtomic(decisionPath(out), `${JSON.stringify(decision, undefined, 1)}\n`);
}

/** Looks for a model and tries it; undefined when there is none. */
async function decide(options: RewriteWorldOptions): Promise<Decision | undefined> {
  const { findModel = () => findModelFile(), patience = defaultPatience } = options;
  const model = findModel();
  if (model === undefined) return undefined;
  let decision: Decision;
  try {
    const seconds = await estimate(options, model);
    const fits = seconds !== null && seconds <= patience;
    const pace = seconds === null ? "wrote nothing in the time it had" : `would need about ${formatDuration(seconds)} here`;
    decision = {
      format: "laclip-demo-rewriter",
      model,
      captions: options.world.samples.length,
      choice: fits ? "model" : "eda",
      seconds,
      because: fits
        ? `its file was found on this machine (${model})`
        : `the language model on this machine (${model}) ${pace}; give it with --llm to use it all the same`,
    };
  } catch (error) {
    if (!isMishap(error)) throw error;
    decision = failure(options, model, error);
  }
  keep(options, decision);
  return decision;
}

/**
 * True for what may be wrong with a model, as opposed to a stop by the user and defects of the program. What llama.cpp can't do in
 * the middle of a text comes as a plain error of its package.
 */
function isMishap(error: unknown): error is Error {
  if (LaclipError.is(error)) return !(error instanceof InterruptedError);
  const defect = [TypeError, RangeError, ReferenceError].some((kind) => error instanceof kind);
  return error instanceof Error && !defect && !error.message.startsWith("internal:");
}

function failure({ world }: RewriteWorldOptions, model: string, error: Error): Decision {
  const reason = error.message.replace(/\s+/g, " ").replace(/\.$/, "");
  return {
    format: "laclip-demo-rewriter",
    model,
    captions: world.samples.length,
    choice: "eda",
    seconds: null,
    because: `the language model on this machine (${model}) can't be used here: ${reason}`,
  };
}

/**
 * Seconds that the whole world would take, from a few captions; null when not one rewrite was written in the time there is for it.
 * @throws InterruptedError when the user stops; LaclipError when the model can't be used
 */
async function estimate(options: RewriteWorldOptions, model: string): Promise<number | null> {
  const { signal, world, patience = defaultPatience } = options;
  const engine = chooseEngine(model);
  // Not below `out`: texts of a model that is then not used would look like those of the rewriter.
  const folder = mkdtempSync(join(tmpdir(), "laclip-trial-"));
  try {
    log.info(`   Trying the language model on this machine (${model}).`);
    const trial = AbortSignal.any([signal, AbortSignal.timeout(Math.ceil(1000 * trialShare * patience))]);
    // Loading happens once, however many captions there are: it counts towards the trial's time, not towards the estimate.
    let started: number | undefined;
    try {
      await engine.describe(trial);
      started = performance.now();
      await rewrite({ ...options, signal: trial }, engine, folder, trialCaptions);
    } catch (error) {
      if (!trial.aborted) throw error;
    }
    if (signal.aborted)
      throw new InterruptedError("Stopped while a language model was being tried.", { mend: "Start the same command again." });
    if (started === undefined || !isRewritesFolder(folder)) return null;
    const seconds = (performance.now() - started) / 1000;
    const written = await (await openRewritesFolder(folder)).count();
    return written === 0 ? null : (seconds / written) * world.samples.length * sourceNames.length;
  } finally {
    await engine.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function byModel(options: RewriteWorldOptions, llm: string, because: string): Promise<DemoRewriter> {
  const summary = await rewrite(options, chooseEngine(llm), rewritesOf(options, "llm"));
  const label = summary.model;
  log.info(`   Rewriter: ${label}, since ${because}.`);
  return {
    name: "llm",
    label,
    isLanguageModel: true,
    why: `${label}, since ${because}.`,
    texts: `${summary.sources.length} rewrites of it`,
    folder: summary.out,
  };
}

async function byEda(options: RewriteWorldOptions, because: string): Promise<DemoRewriter> {
  log.info(`   Rewriter: EDA, a baseline that is no language model (WordNet synonyms, swaps, deletions), since ${because}.`);
  const summary = await rewrite(options, new EdaEngine(), rewritesOf(options, "eda"));
  return {
    name: "eda",
    label: "EDA",
    isLanguageModel: false,
    why: `The EDA baseline (WordNet synonyms, swaps, deletions), not a language model, since ${because}.`,
    texts: `${summary.sources.length} EDA rewrites of it`,
    folder: summary.out,
  };
}

async function rewrite(options: RewriteWorldOptions, engine: RewriteEngine, folder: string, limit?: number): Promise<RewriteSummary> {
  const { world, signal, createdWith } = options;
  try {
    return await rewriteCaptions({
      captions: await openCaptions(world.trainCsv),
      out: folder,
      engine,
      sources: engine.usesExamples ? chooseSources(sourceNames) : [],
      rounds: engine.usesExamples ? 1 : sourceNames.length,
      seed: 1,
      ...(limit === undefined ? {} : { limit }),
      createdWith,
      signal,
    });
  } finally {
    await engine.close();
  }
}

function rewritesOf({ out }: RewriteWorldOptions, name: "llm" | "eda"): string {
  return join(out, "rewrites", name);
}
