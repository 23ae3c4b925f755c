/**
 * `laclip batch`: rewriting through batch files, for models that answer overnight and at half the price.
 */
import { resolve } from "node:path";
import { Command } from "commander";
import { defaultForm, findPromptForm, readBatch, readBatchRecord, writeBatch } from "../../rewriting/index.ts";
import type { BatchRunOptions } from "../../rewriting/index.ts";
import { DataError, UsageError, log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";
import { createdWith } from "../version.ts";
import { addTextOptions, captionsOf, runSettingsOf, sourcesOf } from "./rewrite-options.ts";
import type { TextOptions } from "./rewrite-options.ts";

interface WriteOptions extends TextOptions {
  out: string;
  requests: string;
  model: string;
  json?: boolean;
}

interface ReadOptions {
  requests: string;
  json?: boolean;
}

export function batchCommand(): Command {
  const built = new Command("batch").enablePositionalOptions();
  built.addCommand(writeCommand());
  built.addCommand(readCommand());
  return examples(
    built,
    "laclip batch write captions.csv --out rewrites --requests batch-1 --model gpt-4o-mini --prompt chat",
    "laclip batch read results.jsonl --requests batch-1",
  );
}

function writeCommand(): Command {
  const built = command("write", "what a server would be asked, as files of at most 50,000 requests")
    .argument("<captions>", "the captions, as for laclip rewrite")
    .requiredOption("--out <folder>", "the rewrites folder that the answers are for; requests that it has answers for are left out")
    .requiredOption("--requests <folder>", "where the files of requests go; new")
    .requiredOption("--model <name>", "the model that will be asked");
  addTextOptions(built).action(async (captions: string, options: WriteOptions) => await runWrite(captions, options));
  return examples(
    built,
    "laclip batch write captions.csv --out rewrites --requests batch-1 --model gpt-4o-mini --prompt chat",
    "laclip batch write captions.csv --out rewrites --requests batch-1 --model llama-7b --sources chatgpt,bard",
  );
}

function readCommand(): Command {
  const built = command("read", "the answers of a batch, into its rewrites folder, through the same checks as a server's")
    .argument("<results...>", "files of results, and of errors if there are any")
    .requiredOption("--requests <folder>", "the folder that laclip batch write has written")
    .action(async (results: string[], options: ReadOptions) => await runRead(results, options));
  return examples(built, "laclip batch read results.jsonl errors.jsonl --requests batch-1");
}

async function runWrite(captions: string, { requests, model, json, ...options }: WriteOptions): Promise<void> {
  if (options.retries > 0) throw new UsageError("--retries: a batch asks for each rewrite once.", { mend: "Leave it out." });
  if (options.backTranslate) {
    throw new UsageError("--back-translate: a batch asks for each text once, and the way back can't be asked for before the way there.", {
      mend: "Translate with `laclip rewrite`.",
    });
  }
  const run = await runOf(captions, options);
  const { prompt = defaultForm, pairs, secondFrom, ...flags } = options;
  // The second half may be started in another folder.
  const paths = Object.fromEntries(
    Object.entries({ captions, out: options.out, pairs, secondFrom }).flatMap(([name, path]) =>
      path === undefined ? [] : [[name, resolve(path)]],
    ),
  );
  const { record, summary } = await writeBatch(
    { ...run, out: resolve(options.out) },
    { folder: requests, model, settings: { ...flags, ...paths, prompt: prompt.name } },
  );
  if (json) return print(record);
  log.info(`${record.requests} requests in ${record.files.length} files in ${requests}; ${summary.kept} rewrites were there already`);
  if (summary.emptyCaptions > 0) log.warn(`${summary.emptyCaptions} captions are empty and were left out`);
  if (summary.withoutSecond > 0) log.warn(`${summary.withoutSecond} captions have no second caption to be merged with and were left out`);
  if (record.requests > 0) log.info(`When the answers are there: laclip batch read RESULTS.jsonl --requests ${requests}`);
}

async function runRead(results: string[], { requests, json }: ReadOptions): Promise<void> {
  const { model, settings } = readBatchRecord(requests);
  const { captions, prompt, ...flags } = settings as unknown as Omit<WriteOptions, "prompt"> & { captions: string; prompt: string };
  if (typeof captions !== "string" || typeof prompt !== "string")
    throw new DataError(`${requests}: its record was not written by \`laclip batch write\`.`);
  const report = await readBatch(await runOf(captions, { ...flags, prompt: findPromptForm(prompt) }), { model, results });
  if (json) return print(report);
  const { written, kept, rejected, failed, failures, missing, unused, out, flags: raised } = report;
  log.info(`${written} rewrites written to ${out}; ${kept} were there already`);
  if (rejected > 0) log.info(`${rejected} of them are not fit for training: the original caption is used in their place`);
  for (const [flag, count] of Object.entries(raised)) log.info(`  ${flag}: ${count}`);
  if (failed > 0) log.warn(`${failed} requests failed: ${failures.join("; ")}${failed > failures.length ? "; ..." : ""}`);
  if (missing > 0) log.warn(`${missing} requests have no result`);
  if (unused > 0) log.info(`${unused} results answer no open request: they are of another batch, or were brought in before`);
  if (failed + missing > 0)
    log.info("laclip batch write, with the same flags and another folder for the requests, asks for what is missing.");
}

async function runOf(path: string, options: TextOptions & { out: string }): Promise<BatchRunOptions> {
  const captions = await captionsOf(path, options);
  const { retries: _, maximumFailed: __, ...settings } = runSettingsOf(options);
  return {
    ...settings,
    captions,
    out: options.out,
    sources: sourcesOf(options),
    createdWith,
    signal: interruptSignal("saving what is done"),
  };
}
