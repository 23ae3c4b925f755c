/**
 * The flags of `laclip rewrite` and of its subcommands, in the groups in which --help shows them.
 *
 * What is written must be the same on all machines that share the work, and travels with it; who writes may differ from machine to
 * machine in address, path and speed. So the two are declared, and read, apart.
 */
import { resolve } from "node:path";
import type { Command } from "commander";
import { openRewritesFolder } from "../../data/index.ts";
import {
  builtInSources,
  chooseEngine,
  chooseSources,
  defaultChecks,
  defaultForm,
  defaultSources,
  findPromptForm,
  openCaptions,
  promptForms,
  readPairsFile,
  setCheck,
  withSecondCaptions,
} from "../../rewriting/index.ts";
import type { CaptionsInput, PairSource, PromptForm, RewriteEngine, RewriteOptions } from "../../rewriting/index.ts";
import { UsageError } from "../../support/index.ts";
import { checkOption } from "../check-option.ts";
import { parseShare, parseWhole } from "../options.ts";

/** What is written: the same on all machines. */
export interface TextOptions {
  sources?: string[];
  prompt?: PromptForm;
  retries: number;
  check: string[];
  seed: number;
  pairs?: string;
  rounds: number;
  beside?: string;
  backTranslate?: string[];
  limit?: number;
  idColumn?: string;
  captionColumn?: string;
  secondColumn?: string;
  secondFrom?: string;
  secondSource?: string;
  maxFailed: number;
}

/** Which captions, and where second ones are. */
export type CaptionOptions = Pick<TextOptions, "idColumn" | "captionColumn" | "secondColumn" | "secondFrom" | "secondSource">;

/** Who writes, on this machine. */
export interface EngineOptions {
  llm?: string;
  model?: string;
  concurrency?: number;
  patience?: number;
  threads?: number;
  context?: number;
  gpu: boolean;
}

/** Adds the flags that decide which texts are written. */
export function addTextOptions(target: Command): Command {
  target
    .optionsGroup("What is written:")
    .option(
      "--sources <names>",
      `manners of rewriting, separated by commas (default: ${builtInSources.map(({ name }) => name).join(",")})`,
      namesIn,
    )
    .option("--pairs <file>", "JSON file with example pairs of your own; its sources are added to the built-in ones")
    .option(
      "--prompt <form>",
      `how the model is asked: ${promptForms.map(({ name }) => name).join(", ")} (default: ${defaultForm.name})`,
      findPromptForm,
    )
    .option("--seed <number>", "decides the examples and the sampling", parseWhole(0), 0)
    .option("--rounds <count>", "with --llm eda: rewrites of each caption", parseWhole(1), 1)
    .option(
      "--back-translate <languages>",
      "have the model translate captions into these languages, separated by commas, and back; each is a source (back-translation-german)",
      namesIn,
    )
    .option("--retries <count>", "how often a caption is rewritten anew when what came was rejected", parseWhole(0), 0)
    .option("--beside <name>", "write each source as SOURCE.NAME, beside one of the same folder that was made with other settings")
    .option(...checkOption)
    .option(
      "--max-failed <share>",
      "share of requests that may fail before the work is given up, 0 to 1; ten may in any case, unless it is 0",
      parseShare,
      0.01,
    )
    .optionsGroup("Which captions:")
    .option(
      "--id-column <name>",
      "column with the ids (default: id, else the image path, else a hash of the url); hash:NAME for a hash of one; for a webdataset, a key of the .json",
    )
    .option("--caption-column <name>", "column with the captions (default: caption, title or text)");
  return addSecondOptions(target).option("--limit <count>", "rewrite the first so many captions only", parseWhole(1));
}

/** Names between commas. */
function namesIn(text: string): string[] {
  return text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

/** Adds the flags that say where second captions are. */
export function addSecondOptions(target: Command): Command {
  return target
    .option("--second-column <name>", "column with a machine's caption of the same image, for --prompt fusion and fusion-chat")
    .option("--second-from <folder>", "a rewrites folder of these captions with such machine captions")
    .option("--second-source <name>", "its source that holds them (default: the only one)");
}

/** Adds the flags that say which model writes and what it may use. */
export function addEngineOptions(target: Command): Command {
  return target
    .optionsGroup("Who writes:")
    .option(
      "--llm <model>",
      "GGUF file, hf:owner/repository/file.gguf, http://host:port/v1 (several servers of one model: separated by commas, or the flag again), or eda (no language model: WordNet synonyms, swaps, deletions)",
      (value: string, before: string | undefined) => (before === undefined ? value : `${before},${value}`),
    )
    .option("--model <name>", "which of the server's models to use")
    .option(
      "--concurrency <count>",
      "captions written at once (default: 64 at each server; 8 to 64 on a GPU, by its memory; 16 or 8 on a CPU)",
      parseWhole(1),
    )
    .option("--patience <seconds>", "how long to wait when no server answers any more (default: 300)", parseWhole(1))
    .option("--threads <count>", "CPU threads of a GGUF model (default: all but one; one where there are two)", parseWhole(1))
    .option("--context <tokens>", "tokens of prompt and answer together in a GGUF model (default: 512)", parseWhole(128))
    .option("--no-gpu", "run a GGUF model on the CPU even where there is a GPU");
}

/** The engine that the flags ask for. */
export function engineOf(llm: string, options: EngineOptions & Pick<TextOptions, "backTranslate">): RewriteEngine {
  return chooseEngine(llm, options);
}

/** The sources that the flags ask for, whichever engine there will be. */
export function sourcesOf({ sources, pairs, prompt = defaultForm }: TextOptions): PairSource[] {
  const extra = pairs === undefined ? [] : readPairsFile(pairs);
  return chooseSources(sources ?? defaultSources(prompt, extra), extra);
}

/** The captions that the flags ask for, with second captions where these are named. */
export async function captionsOf(path: string, options: CaptionOptions): Promise<CaptionsInput> {
  const second = await secondOf(options);
  const captions = await openCaptions(path, options);
  return second ? await withSecondCaptions(captions, await openRewritesFolder(second.folder), second.source) : captions;
}

/** The rewrites folder with second captions that the flags name, and its source; undefined where they name none. */
export async function secondOf(options: CaptionOptions): Promise<{ folder: string; source: string } | undefined> {
  const { secondColumn, secondFrom, secondSource } = options;
  if (secondFrom === undefined) {
    if (secondSource !== undefined) throw new UsageError("--second-source names a source of the rewrites folder of --second-from.");
    return undefined;
  }
  if (secondColumn !== undefined) throw new UsageError("--second-column and --second-from both say where second captions come from.");
  const folder = await openRewritesFolder(secondFrom);
  const [only, ...others] = folder.sources;
  if (secondSource === undefined && (only === undefined || others.length > 0)) {
    throw new UsageError(`${secondFrom} has ${folder.sources.length} sources: ${folder.sources.join(", ") || "none"}.`, {
      mend: "Name the one with the machine captions with --second-source.",
    });
  }
  return { folder: resolve(secondFrom), source: secondSource ?? only! };
}

/** A flag that engines without examples would not heed, and what it says; undefined where none was given. */
export function exampleFlagOf({ sources, prompt, pairs, secondColumn, secondFrom }: TextOptions): string | undefined {
  const flags = { sources: sources?.join(), prompt: prompt?.name, pairs, "second-column": secondColumn, "second-from": secondFrom };
  const [name, value] = Object.entries(flags).find((flag) => flag[1] !== undefined) ?? [];
  return name === undefined ? undefined : `--${name} ${value}`;
}

/** The sources that an engine is to write, none for an engine that has only itself. */
export function sourcesFor(engine: RewriteEngine, options: TextOptions): PairSource[] {
  if (engine.usesExamples) return sourcesOf(options);
  const { sources, prompt, pairs, secondColumn, secondFrom } = options;
  const own = engine.sources?.map(({ name }) => name) ?? [engine.name];
  const settings = { prompt, pairs, "second-column": secondColumn, "second-from": secondFrom };
  const [unused] = Object.entries(settings).find(([, value]) => value !== undefined) ?? [];
  if (unused) throw new UsageError(`${engine.name} uses no example pairs: --${unused} would not be used.`, { mend: "Leave it out." });
  if (sources && sources.join() !== own.join()) {
    throw new UsageError(`${engine.name} uses no example pairs: it writes ${own.join(", ")}, not ${sources.join(", ")}.`, {
      mend: "Leave --sources out.",
    });
  }
  return [];
}

/** The settings of a run over the captions, as far as the flags decide them. */
export function runSettingsOf(
  options: TextOptions,
): Pick<RewriteOptions, "rounds" | "form" | "beside" | "retries" | "checks" | "seed" | "limit" | "maximumFailed"> {
  const { rounds, beside, prompt: form = defaultForm, retries, check, seed, limit, maxFailed: maximumFailed } = options;
  const checks = check.reduce(setCheck, defaultChecks);
  const optional = { ...(beside === undefined ? {} : { beside }), ...(limit === undefined ? {} : { limit }) };
  return { rounds, form, retries, checks, seed, ...optional, maximumFailed };
}

/** A required flag of a command whose subcommands do not have it: commander would demand it of them too. */
export function required<T>(value: T | undefined, flag: string, target: Command): T {
  if (value === undefined) target.error(`error: required option '${flag}' not specified`);
  return value;
}
