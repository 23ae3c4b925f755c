/**
 * `laclip rewrite enqueue`, `work` and `status`: the shards of a data set in a queue, and machines that take them from there.
 */
import type { Command } from "commander";
import { defaultQueue, enqueueShards, queueStatus, workOnQueue } from "../../rewriting/index.ts";
import type { QueueStatus, WorkReport } from "../../rewriting/index.ts";
import { DataError, UsageError, formatDuration, log } from "../../support/index.ts";
import { command, examples, print } from "../command.ts";
import { interruptSignal } from "../interrupt.ts";
import { parseWhole } from "../options.ts";
import { createdWith } from "../version.ts";
import {
  addEngineOptions,
  addTextOptions,
  captionsOf,
  engineOf,
  exampleFlagOf,
  runSettingsOf,
  secondOf,
  sourcesOf,
} from "./rewrite-options.ts";
import type { EngineOptions, TextOptions } from "./rewrite-options.ts";

interface QueueOptions {
  redis?: string;
  queue: string;
  json?: boolean;
}

function addQueueOptions(target: Command): Command {
  return target
    .optionsGroup("The queue:")
    .option("--redis <url>", "the Redis server, redis://host:port (default: the environment variable LACLIP_REDIS)")
    .option("--queue <name>", "name of the queue", defaultQueue);
}

function redisOf({ redis = process.env["LACLIP_REDIS"] }: QueueOptions): string {
  if (redis !== undefined && redis !== "") return redis;
  throw new UsageError("Which Redis server holds the queue?", { mend: "Give --redis redis://host:6379, or set LACLIP_REDIS." });
}

interface EnqueueOptions extends QueueOptions, TextOptions {
  out: string;
  shardSize: number;
  llm?: string;
  model?: string;
}

export function enqueueCommand(): Command {
  const built = command("enqueue", "put the shards of a data set into a queue, for machines that run `laclip rewrite work`")
    .argument("<captions>", "the captions, as for `laclip rewrite`, at a path that all machines see")
    .requiredOption("--out <folder>", "folder for the shards, which all machines see")
    .option("--shard-size <count>", "captions in a shard", parseWhole(1), 50_000);
  addQueueOptions(built)
    .optionsGroup("Who writes:")
    .option("--llm <model>", "as for `laclip rewrite`; for machines whose own `work` does not say it")
    .option("--model <name>", "which of the server's models to use, likewise");
  addTextOptions(built).action(async (path: string, options: EnqueueOptions) => await enqueue(path, options));
  return examples(
    built,
    "laclip rewrite enqueue captions.csv --redis redis://queue:6379 --out rewrites --llm http://localhost:8000/v1",
    "laclip rewrite enqueue captions.csv --redis redis://queue:6379 --out rewrites --shard-size 20000 --sources chatgpt,human",
  );
}

async function enqueue(path: string, options: EnqueueOptions): Promise<void> {
  const { out, shardSize, llm, model, idColumn, captionColumn, secondColumn, json } = options;
  const columns = Object.fromEntries(
    Object.entries({ idColumn, captionColumn, secondColumn }).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const exampleFlag = exampleFlagOf(options);
  if (exampleFlag !== undefined && (llm === "eda" || options.backTranslate)) {
    throw new UsageError(
      `${options.backTranslate ? "--back-translate" : "--llm eda"} uses no example pairs: ${exampleFlag} would not be used.`,
      {
        mend: "Leave it out.",
      },
    );
  }
  const sources = sourcesOf(options);
  if (sources.length === 0) throw new UsageError("No source was named to rewrite captions in the manner of.");
  const captions = await captionsOf(path, options);
  const report = await enqueueShards({
    redis: redisOf(options),
    queue: options.queue,
    captions,
    columns,
    second: await secondOf(options),
    out,
    shardSize,
    sources,
    exampleFlag,
    backTranslate: options.backTranslate,
    settings: runSettingsOf(options),
    llm,
    model,
  });
  if (json) return print(report);
  const again = report.again > 0 ? `, ${report.again} once more` : "";
  log.info(
    `${report.captions} captions in ${report.shards} shards; ${report.added} of them put into queue ${report.queue}${again}, the others were there already`,
  );
  log.info(`Start \`laclip rewrite work\` on every machine. When all is done: laclip rewrites merge ${report.out} --out FOLDER`);
}

interface WorkOptions extends QueueOptions, EngineOptions {
  captions?: string;
  out?: string;
  stay?: boolean;
  lockSeconds: number;
  retrySeconds: number;
}

export function workCommand(): Command {
  const built = command("work", "take shards from a queue and write them, until nothing is left").allowExcessArguments(false);
  addQueueOptions(built)
    .option("--captions <path>", "where this machine sees the captions (default: where they were enqueued from)")
    .option("--out <folder>", "where this machine sees the folder of the shards (default: likewise)")
    .option("--stay", "wait for more when nothing is left")
    .option("--lock-seconds <count>", "seconds after which a machine that gives no sign of life has lost its shard", parseWhole(1), 15)
    .option("--retry-seconds <count>", "seconds until a shard that could not be finished is tried again", parseWhole(1), 30);
  addEngineOptions(built).action(async (options: WorkOptions) => await work(options));
  return examples(
    built,
    "laclip rewrite work --redis redis://queue:6379",
    "laclip rewrite work --redis redis://queue:6379 --llm http://localhost:8000/v1 --concurrency 256",
  );
}

async function work(options: WorkOptions): Promise<void> {
  const { queue, captions, out, stay = false, lockSeconds, retrySeconds, json } = options;
  const report = await workOnQueue({
    redis: redisOf(options),
    queue,
    engine: (plan) => {
      const llm = options.llm ?? plan.llm;
      const model = options.model ?? plan.model;
      const backTranslate = plan.backTranslate && [...plan.backTranslate];
      if (llm !== undefined) return engineOf(llm, { ...options, backTranslate, ...(model === undefined ? {} : { model }) });
      throw new UsageError("Neither the queue nor this command says who is to write.", {
        mend: "Add --llm, here or to `laclip rewrite enqueue`.",
      });
    },
    captions,
    out,
    stay,
    lockSeconds,
    retrySeconds,
    createdWith,
    signal: interruptSignal("giving the shard back"),
  });
  if (json) print(report);
  else tell(report);
  // Whoever starts workers again must not take this for done.
  if (report.setAside > 0) {
    throw new DataError(`Nothing else is left in queue ${report.queue}, but ${report.setAside} of its shards were set aside.`, {
      mend: "`laclip rewrite status` says why. Mend that; the same `laclip rewrite enqueue` then puts them back into the queue.",
    });
  }
}

function tell({ queue, shards, written, failed, seconds, setAside, outs }: WorkReport): void {
  const rate = (written / Math.max(seconds, 1e-3)).toFixed(1);
  log.info(`${setAside > 0 ? "" : `Nothing is left in queue ${queue}. `}Here: ${written} rewrites in ${shards} shards (${rate} a second)`);
  if (failed > 0)
    log.warn(`${failed} rewrites failed; \`laclip rewrite enqueue\` with the same flags puts their shards back into the queue`);
  if (setAside === 0) for (const folder of outs) log.info(`laclip rewrites merge ${folder} --out FOLDER`);
}

export function statusCommand(): Command {
  const built = command("status", "how far a queue is, who works on what, what was set aside");
  addQueueOptions(built).action(async (options: QueueOptions) => {
    const status = await queueStatus({ redis: redisOf(options), queue: options.queue });
    print(options.json ? status : describe(status));
  });
  return examples(built, "laclip rewrite status --redis redis://queue:6379");
}

function describe({ queue, waiting, active, done, failed, rewrites, missing, rate, secondsLeft, workers, outs }: QueueStatus): string {
  const left = secondsLeft === undefined ? "" : `, ${formatDuration(secondsLeft)} left`;
  const lines = [
    `queue ${queue}: ${done} shards done, ${active.length} under way, ${waiting} waiting, ${failed.length} set aside`,
    `${rewrites} rewrites in the finished shards, ${missing} missing there; ${workers} workers, ${rate.toFixed(1)} rewrites a second each${left}`,
  ];
  for (const { number, of, worker, seconds, lost, progress } of active) {
    const far = progress ? `, ${progress.done} of ${progress.planned} rewrites` : "";
    lines.push(
      `  ${number}/${of}: ${worker}, for ${formatDuration(seconds)}${far}${lost > 0 ? `, its worker was lost ${lost} times` : ""}`,
    );
  }
  for (const { number, of, reason } of failed) lines.push(`  ${number}/${of} set aside: ${reason}`);
  for (const out of outs) lines.push(`  shards in ${out}`);
  if (failed.length > 0) lines.push("The same `laclip rewrite enqueue` puts what was set aside back into the queue.");
  return lines.join("\n");
}
