/**
 * Who rewrites the demo's captions: the model that was asked for; else a model file that lies on this machine, when it is fast enough;
 * else the EDA baseline, which is said plainly.
 */
import { join } from "node:path";
import {
  EdaEngine,
  LlamaCppEngine,
  OpenAiCompatibleEngine,
  type RewriteEngine,
  type RewriteSummary,
  chooseSources,
  findModelFile,
  openCaptions,
  rewriteCaptions,
} from "../rewriting/index.ts";
import { formatDuration, log } from "../support/index.ts";
import type { EmojiWorld } from "./emoji-world.ts";

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

export interface RewriteWorldOptions {
  world: EmojiWorld;
  out: string;
  llm?: string | undefined;
  signal: AbortSignal;
  createdWith: string;
}

/** The paper's four manners, one rewrite each; EDA writes as many. */
const sourceNames = ["chatgpt", "bard", "mscoco", "human"];
/** A model found by chance may take so long at most; one that was asked for, as long as it needs. */
const patience = 240;
const trial = 8;

/** Rewrites every caption of the world. */
export async function rewriteWorld(options: RewriteWorldOptions): Promise<DemoRewriter> {
  const { llm } = options;
  if (llm !== undefined && llm !== "eda") return await byModel(options, llm, "it was asked for with --llm");
  const found = llm === "eda" ? undefined : findModelFile();
  if (found === undefined) {
    const why =
      llm === "eda" ? "it was asked for with --llm eda" : "no language model was given (--llm) and none was found on this machine";
    return await byEda(options, why);
  }
  const seconds = await estimate(options, found);
  if (seconds <= patience) return await byModel(options, found, `its file was found on this machine (${found})`);
  return await byEda(
    options,
    `the language model on this machine (${found}) would need about ${formatDuration(seconds)} here; give it with --llm to use it all the same`,
  );
}

async function byModel(options: RewriteWorldOptions, llm: string, because: string): Promise<DemoRewriter> {
  const summary = await rewrite(options, engineFor(llm), "llm");
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
  const summary = await rewrite(options, new EdaEngine(), "eda");
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
  const { world, out, signal, createdWith } = options;
  try {
    return await rewriteCaptions({
      captions: await openCaptions(world.trainCsv),
      out: join(out, "rewrites", folder),
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

/** Seconds that the whole world would take, from a few captions, which are kept. */
async function estimate(options: RewriteWorldOptions, model: string): Promise<number> {
  const summary = await rewrite(options, engineFor(model), "llm", trial);
  if (summary.written === 0) return 0; // tried before, and there already
  return (summary.seconds / summary.written) * options.world.samples.length * sourceNames.length;
}

function engineFor(llm: string): RewriteEngine {
  return /^https?:\/\//i.test(llm) ? new OpenAiCompatibleEngine({ url: llm }) : new LlamaCppEngine({ model: llm });
}
