/**
 * `laclip rewrite`: every caption of a data set in other words, in the manner of several sources.
 */
import type { Command } from "commander";
import {
  builtInSources,
  chooseEngine,
  chooseSources,
  defaultForm,
  findPromptForm,
  openCaptions,
  promptForms,
  readPairsFile,
  rewriteCaptions,
} from "../../rewriting/index.ts";
import type { PairSource, PromptForm, RewriteEngine } from "../../rewriting/index.ts";
import { UsageError, log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseShare, parseWhole } from "../options.ts";
import { createdWith } from "../version.ts";

interface Options {
  out: string;
  llm: string;
  sources?: string[];
  prompt?: PromptForm;
  retries: number;
  model?: string;
  seed: number;
  pairs?: string;
  rounds: number;
  limit?: number;
  idColumn?: string;
  captionColumn?: string;
  concurrency?: number;
  threads?: number;
  context?: number;
  gpu: boolean;
  maxFailed: number;
  json?: boolean;
}

export function rewriteCommand(): Command {
  const built = command("rewrite", "every caption of a data set in other words, written by a language model")
    .argument("<captions>", "csv, tsv, jsonl or parquet table, or a text file with one caption a line")
    .requiredOption("--out <folder>", "the rewrites folder; started again with the same one, the work goes on")
    .requiredOption(
      "--llm <model>",
      "GGUF file, hf:owner/repository/file.gguf, http://host:port/v1, or eda (no language model: WordNet synonyms, swaps, deletions)",
    )
    .option(
      "--sources <names>",
      `manners of rewriting, separated by commas (default: ${builtInSources.map(({ name }) => name).join(",")})`,
      (text) => text.split(",").filter((name) => name !== ""),
    )
    .option(
      "--prompt <form>",
      `how the model is asked: ${promptForms.map(({ name }) => name).join(", ")} (default: ${defaultForm.name})`,
      findPromptForm,
    )
    .option("--model <name>", "which of the server's models to use")
    .option("--seed <number>", "decides the examples and the sampling", parseWhole(0), 0)
    .option("--pairs <file>", "JSON file with example pairs of your own; its sources are added to the built-in ones")
    .option("--rounds <count>", "with --llm eda: rewrites of each caption", parseWhole(1), 1)
    .option("--retries <count>", "how often a caption is rewritten anew when what came was rejected", parseWhole(0), 0)
    .option("--limit <count>", "rewrite the first so many captions only", parseWhole(1))
    .option("--id-column <name>", "column with the ids (default: id, else the image path)")
    .option("--caption-column <name>", "column with the captions (default: caption, title or text)")
    .option("--concurrency <count>", "captions written at once (default: 64 with a server, 32 on a GPU, 4 on a CPU)", parseWhole(1))
    .option("--threads <count>", "CPU threads of a GGUF model (default: all but one; one where there are two)", parseWhole(1))
    .option("--context <tokens>", "tokens of prompt and answer together in a GGUF model (default: 512)", parseWhole(128))
    .option("--no-gpu", "run a GGUF model on the CPU even where there is a GPU")
    .option("--max-failed <share>", "share of requests that may fail before the work is given up, 0 to 1", parseShare, 0.01)
    .action(async (captions: string, options: Options) => await run(captions, options));
  return examples(
    built,
    "laclip rewrite captions.csv --out rewrites --llm llama-7b.Q4_K_M.gguf --sources chatgpt,bard,mscoco,human",
    "laclip rewrite captions.csv --out rewrites --llm http://localhost:8000/v1 --concurrency 256",
    "laclip rewrite captions.csv --out rewrites-eda --llm eda",
  );
}

async function run(path: string, options: Options): Promise<void> {
  const engine = chooseEngine(options.llm, options);
  try {
    const extra = options.pairs === undefined ? [] : readPairsFile(options.pairs);
    const sources = sourcesFor(engine, options, extra);
    const captions = await openCaptions(path, options);
    log.info(`${path}: ids from ${captions.idFrom}`);
    const summary = await rewriteCaptions({
      captions,
      out: options.out,
      engine,
      sources,
      rounds: options.rounds,
      form: options.prompt ?? defaultForm,
      retries: options.retries,
      seed: options.seed,
      ...(options.limit === undefined ? {} : { limit: options.limit }),
      maximumFailed: options.maxFailed,
      createdWith,
      signal: interruptSignal("saving what is done"),
    });
    if (options.json) return print(summary);
    const { written, kept, rejected, failed, seconds } = summary;
    log.info(
      `${written} rewrites written to ${summary.out} in ${seconds.toFixed(1)} s (${(written / Math.max(seconds, 1e-3)).toFixed(1)} a second) with ${summary.model}; ${kept} were there already`,
    );
    if (summary.emptyCaptions > 0) log.warn(`${summary.emptyCaptions} captions are empty and were left out`);
    if (rejected > 0) log.info(`${rejected} of them are not fit for training: the original caption is used in their place`);
    for (const [flag, count] of Object.entries(summary.flags)) log.info(`  ${flag}: ${count}`);
    if (failed > 0) log.warn(`${failed} rewrites failed; start the same command again to try them again`);
  } finally {
    await engine.close();
  }
}

function sourcesFor(engine: RewriteEngine, { sources }: Options, extra: readonly PairSource[]): PairSource[] {
  if (engine.usesExamples) return chooseSources(sources ?? [...builtInSources, ...extra].map(({ name }) => name), extra);
  if (sources && (sources.length !== 1 || sources[0] !== engine.name)) {
    throw new UsageError(`--llm ${engine.name} uses no example pairs: its only source is "${engine.name}", not ${sources.join(", ")}.`, {
      mend: "Leave --sources out.",
    });
  }
  return [];
}
