/**
 * A queue of shards in Redis, for machines that come and go: who has time takes the next shard (queue-worker.ts).
 *
 * The queue is BullMQ's. It decides who does what, never what is done: the texts of a shard follow from its plan, and what is
 * written lies in the shard's own folder. So a queue that is lost costs nothing but a second `enqueue`.
 */
import type { Job, Queue } from "bullmq";
import { resolve } from "node:path";
import { absoluteShards, isRewritesFolder } from "../../data/index.ts";
import { UsageError, log } from "../../support/index.ts";
import type { CaptionsInput } from "../captions/captions-input.ts";
import { defaultQueue, withQueue } from "./queue-connection.ts";
import type { QueueConnection } from "./queue-connection.ts";
import { readPlan, storePlan } from "./queue-plan.ts";
import type { RewritePlan } from "./queue-plan.ts";
import { defaultForm, requireFit } from "../prompts/prompt-forms.ts";
import { refuseUnfitSettings } from "../run-sources.ts";
import { refuseOtherCut, shardFolder } from "../shards/shards.ts";

/** A job: one shard of a plan. */
export interface ShardJob {
  /** Name under which the plan is found. */
  readonly plan: string;
  readonly number: number;
  readonly of: number;
  /** How often a worker gave this shard back since it could not be finished. */
  readonly givenBack?: number;
}

/** What a finished shard's job holds. */
export interface ShardResult {
  readonly written: number;
  readonly kept: number;
  readonly rejected: number;
  readonly failed: number;
  readonly seconds: number;
}

/** How far the worker of a shard is, as it has last told the queue. */
export interface ShardProgress {
  /** Rewrites that are there or have failed. */
  readonly done: number;
  /** Rewrites that the shard is to have. */
  readonly planned: number;
}

/** What is enqueued, and where. */
export interface EnqueueOptions extends Omit<RewritePlan, "captions" | "fingerprint" | "shards"> {
  /** Address of the Redis server. */
  redis: string;
  /** Name of the queue. Default "laclip-rewrite". */
  queue?: string | undefined;
  captions: CaptionsInput;
  /** The most captions in a shard. Default 50,000. */
  shardSize?: number | undefined;
}

/** What came of it. */
export interface EnqueueReport {
  queue: string;
  out: string;
  captions: number;
  shards: number;
  /** Of those: new in the queue. */
  added: number;
  /** Put back into the queue, since they had failed, lacked rewrites, or are gone from the folder. */
  again: number;
}

/** Where the plans of a queue lie in Redis: a hash from their names to their texts. */
export function plansKey(queue: string): string {
  return `laclip:${queue}:plans`;
}

/**
 * Cuts captions into shards and puts those into the queue that are not in it. May be called again and again.
 * @throws EndpointError when Redis can't be reached; UsageError or DataError when `out` holds something else, UsageError when form,
 *   sources, captions and other settings don't fit
 */
export async function enqueueShards(options: EnqueueOptions): Promise<EnqueueReport> {
  const { redis, queue: name = defaultQueue, captions, shardSize = 50_000, ...shared } = options;
  refuseUnfitSettings(shared.settings, expectedEngine(shared));
  const { fingerprint, repeated } = await captions.survey();
  const total = Math.min(fingerprint.count - repeated, shared.settings.limit ?? Infinity);
  const shards = Math.max(1, Math.ceil(total / shardSize));
  const out = resolve(options.out);
  refuseOtherCut(out, { of: shards });
  const { columns, second, sources, exampleFlag, backTranslate, settings, llm, model } = shared;
  if (!backTranslate) requireFit(settings.form ?? defaultForm, sources, captions);
  const plan = {
    captions: absoluteShards(captions.path),
    columns,
    second,
    fingerprint,
    out,
    shards,
    sources,
    exampleFlag,
    backTranslate,
    settings,
    llm,
    model,
  };
  const { id, text } = storePlan(plan);
  return await withQueue(redis, async (connection) => {
    const queue = connection.queue(name);
    await refuseOtherPlan(connection.redis, { name, id, out });
    await connection.redis.hset(plansKey(name), id, text);
    const before = await jobsIn(queue);
    for (let first = 1; first <= shards; first += 1000) {
      const numbers = Array.from({ length: Math.min(1000, shards - first + 1) }, (_, i) => first + i);
      await queue.addBulk(
        numbers.map((number) => ({
          name: `shard ${number}/${shards}`,
          data: { plan: id, number, of: shards } satisfies ShardJob,
          // A job that is there already is left as it is. What is done stays in the queue, so that it is not done again.
          opts: { jobId: `${id}-${number}`, removeOnComplete: false, removeOnFail: false },
        })),
      );
    }
    const added = (await jobsIn(queue)) - before;
    let again = 0;
    const mine = ({ data }: Job<ShardJob>): boolean => data.plan === id;
    for (const job of ((await queue.getFailed()) as Job<ShardJob>[]).filter(mine)) {
      await job.updateData({ ...job.data, givenBack: 0 });
      await job.retry("failed");
      again++;
    }
    for (const job of ((await queue.getCompleted()) as Job<ShardJob, ShardResult>[]).filter(mine)) {
      // What was damaged and deleted since is to be written again; where this machine doesn't see the folder, workers find it done.
      if (job.returnvalue.failed === 0 && isRewritesFolder(shardFolder(out, job.data))) continue;
      await job.retry("completed");
      again++;
    }
    return { queue: name, out, captions: total, shards, added, again };
  });
}

/**
 * Refuses a queue that nothing was ever put into: a mistyped name, or a worker that was faster than `enqueue`, must not look like work
 * that is done.
 */
export async function refuseUnknownQueue({ redis, address }: QueueConnection, name: string, mend: string): Promise<void> {
  if ((await redis.hlen(plansKey(name))) > 0) return;
  throw new UsageError(`Nothing was ever put into queue ${name} of ${address}.`, { mend: `Check --redis and --queue; ${mend}.` });
}

/** What is known of the engines that will work on this: languages make them translators, example pairs need a language model. */
function expectedEngine({
  backTranslate,
  exampleFlag,
  llm,
}: Pick<RewritePlan, "backTranslate" | "exampleFlag" | "llm">): Parameters<typeof refuseUnfitSettings>[1] {
  if (backTranslate) return { name: "back-translation", usesExamples: false, sources: backTranslate };
  if (exampleFlag === undefined && (llm === undefined || llm === "eda")) return undefined;
  return { name: llm ?? "a language model", usesExamples: true };
}

/** The names of the plans of which something is still to be done, or being done. */
export async function plansAtWork(queue: Queue): Promise<Set<string>> {
  const jobs = (await queue.getJobs(["wait", "active", "delayed", "prioritized"])) as Job<ShardJob>[];
  return new Set(jobs.map(({ data }) => data.plan));
}

/**
 * How many shards of these plans were set aside. Those of work that was abandoned before must not make what came after it look undone.
 * @param plans their names; none where all was over from the start: then the plan of the shard that ended last
 */
export async function countSetAside(queue: Queue, plans: ReadonlySet<string>): Promise<number> {
  const failed = (await queue.getFailed()) as Job<ShardJob>[];
  let counted = plans;
  if (plans.size === 0 && failed.length > 0) {
    const ended = [...failed, ...((await queue.getCompleted(0, 0)) as Job<ShardJob>[])];
    const last = ended.reduce((latest, job) => ((job.finishedOn ?? 0) > (latest.finishedOn ?? 0) ? job : latest));
    counted = new Set([last.data.plan]);
  }
  const own = failed.filter(({ data }) => counted.has(data.plan)).length;
  if (own < failed.length) log.info(`${failed.length - own} shards of earlier work in queue ${queue.name} are still set aside`);
  return own;
}

/** One folder holds the shards of one plan: others would be refused one by one, later, on other machines. */
async function refuseOtherPlan(
  redis: { hgetall(key: string): Promise<Record<string, string>> },
  { name, id, out }: { name: string; id: string; out: string },
): Promise<void> {
  for (const [other, text] of Object.entries(await redis.hgetall(plansKey(name)))) {
    if (other === id || readPlan(text, other).out !== out) continue;
    throw new UsageError(`${out}: shards with other captions or settings were enqueued for this folder before.`, {
      mend: "Name another folder with --out, or another queue with --queue once the first one is done with.",
    });
  }
}

async function jobsIn(queue: { getJobCounts(): Promise<Record<string, number>> }): Promise<number> {
  return Object.values(await queue.getJobCounts()).reduce((sum, count) => sum + count, 0);
}

/** A shard that is being written. */
export interface ActiveShard {
  readonly number: number;
  readonly of: number;
  readonly out: string;
  readonly worker: string;
  readonly seconds: number;
  /** How often its worker was lost. */
  readonly lost: number;
  /** Undefined until its worker has said so; at most some seconds old. */
  readonly progress: ShardProgress | undefined;
}

/** How far a queue is. */
export interface QueueStatus {
  readonly queue: string;
  readonly waiting: number;
  readonly active: readonly ActiveShard[];
  readonly done: number;
  readonly failed: readonly { readonly number: number; readonly of: number; readonly out: string; readonly reason: string }[];
  /** Rewrites in the finished shards, and those that are missing there. */
  readonly rewrites: number;
  readonly missing: number;
  /** Rewrites a second of one worker, as measured on finished shards; 0 where there is none yet. */
  readonly rate: number;
  /** Until the queue is empty, with as many workers as now; undefined where that can't be told. */
  readonly secondsLeft: number | undefined;
  readonly workers: number;
  readonly outs: readonly string[];
}

/**
 * How far a queue is.
 * @throws EndpointError when Redis can't be reached; UsageError when nothing was ever put into the queue
 */
export async function queueStatus({
  redis,
  queue: name = defaultQueue,
}: {
  redis: string;
  queue?: string | undefined;
}): Promise<QueueStatus> {
  return await withQueue(redis, async (connection) => {
    const queue = connection.queue(name);
    await refuseUnknownQueue(connection, name, "captions are put into one with `laclip rewrite enqueue`");
    const plans = Object.entries(await connection.redis.hgetall(plansKey(name)));
    const outs = new Map(plans.map(([id, text]) => [id, readPlan(text, id).out]));
    const counts = await queue.getJobCounts("wait", "delayed", "prioritized");
    const [active, failed, completed, workers] = await Promise.all([
      queue.getActive() as Promise<Job<ShardJob>[]>,
      queue.getFailed() as Promise<Job<ShardJob>[]>,
      queue.getCompleted() as Promise<Job<ShardJob, ShardResult>[]>,
      queue.getWorkersCount(),
    ]);
    const now = Date.now();
    const sum = (of: (result: ShardResult) => number): number => completed.reduce((total, { returnvalue }) => total + of(returnvalue), 0);
    const waiting = Object.values(counts).reduce((total, count) => total + count, 0);
    const seconds = sum((result) => result.seconds);
    // Of what is under way, only the rest is still to be done.
    const rest = active.reduce((total, job) => total + 1 - shareDone(progressOf(job)), 0);
    const left = completed.length > 0 && workers > 0 ? ((waiting + rest) * seconds) / completed.length / workers : undefined;
    const shardOf = ({ data }: Job<ShardJob>): { number: number; of: number; out: string } => ({
      number: data.number,
      of: data.of,
      out: outs.get(data.plan) ?? "",
    });
    return {
      queue: name,
      waiting,
      active: active.map((job) => ({
        ...shardOf(job),
        worker: job.processedBy ?? "",
        seconds: Math.max(0, (now - (job.processedOn ?? now)) / 1000),
        lost: job.stalledCounter,
        progress: progressOf(job),
      })),
      done: completed.length,
      failed: failed.map((job) => ({ ...shardOf(job), reason: job.failedReason })),
      rewrites: sum(({ written, kept }) => written + kept),
      missing: sum((result) => result.failed),
      rate: seconds > 0 ? sum(({ written }) => written) / seconds : 0,
      secondsLeft: waiting + active.length === 0 ? 0 : left,
      workers,
      outs: [...outs.values()],
    };
  });
}

/** What a worker has told of its shard; a job that nothing was told of has a number there. */
function progressOf({ progress }: Job<ShardJob>): ShardProgress | undefined {
  const { done, planned } = Object(progress) as Partial<ShardProgress>;
  return typeof done === "number" && typeof planned === "number" ? { done, planned } : undefined;
}

function shareDone(progress: ShardProgress | undefined): number {
  return progress && progress.planned > 0 ? Math.min(1, progress.done / progress.planned) : 0;
}
