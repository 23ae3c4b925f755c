/**
 * A worker of a pool: takes shards from a queue, one after another, until nothing is left.
 *
 * A worker that is killed stops renewing the lock of its job; after that has run out, another takes the shard and goes on in its
 * folder from what is there. However often that happens, a shard is not given up for it. The lock in Redis only says who should
 * write. Who may is decided by the lock in the shard's folder, so that two never write one shard, also when Redis forgets, or a
 * worker that was believed dead goes on.
 *
 * A shard is given up only for what is wrong with itself. What is wrong with a machine, its flags, disk, captions or model, ends
 * that machine's worker, however often it is started again: another one, or the same once it is put right, finds all shards there.
 */
import type { Job } from "bullmq";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { openRewritesFolder } from "../../data/index.ts";
import { FolderBusyError, InterruptedError, LaclipError, UsageError, log, pause } from "../../support/index.ts";
import { openCaptions } from "../captions/captions-input.ts";
import type { CaptionsInput } from "../captions/captions-input.ts";
import type { RewriteEngine } from "../engines/engine.ts";
import { FinalError } from "../engines/server-answers.ts";
import { NotOpened, OtherCaptionsError, isOfThisMachine } from "./machine-faults.ts";
import { connectQueue, defaultQueue } from "./queue-connection.ts";
import type { QueueConnection } from "./queue-connection.ts";
import { readPlan } from "./queue-plan.ts";
import type { RewritePlan } from "./queue-plan.ts";
import { countSetAside, plansAtWork, plansKey, refuseUnknownQueue } from "./queue.ts";
import type { ShardJob, ShardProgress, ShardResult } from "./queue.ts";
import { rewriteCaptions } from "../rewrite.ts";
import { withSecondCaptions } from "../captions/second-captions.ts";
import { shardFolder } from "../shards/shards.ts";

/** Which queue is worked on, and by what. */
export interface QueueWorkerOptions {
  /** Address of the Redis server. */
  redis: string;
  /** Name of the queue. Default "laclip-rewrite". */
  queue?: string | undefined;
  /** The engine of this machine for a plan; asked once for each plan, and anew when it gave its servers up. It is closed at the end. */
  engine: (plan: RewritePlan) => RewriteEngine;
  /** Where this machine sees the captions and the folder of the shards. Default: where the plan says. */
  captions?: string | undefined;
  out?: string | undefined;
  /** Waits for more when nothing is left. Default false. */
  stay?: boolean;
  /** Seconds after which a worker that gives no sign of life has lost its shard. Default 15. */
  lockSeconds?: number;
  /** Seconds until a shard that could not be finished is tried again. Default 30. */
  retrySeconds?: number;
  /** So many shards in a row that could not be finished mean that something is wrong with this machine or its model. Default 3. */
  patience?: number;
  /** Program and version, for the manifests. */
  createdWith: string;
  /** Stops the work; the shard that is being written goes back into the queue. */
  signal: AbortSignal;
}

/** What a worker has done. */
export interface WorkReport {
  queue: string;
  shards: number;
  written: number;
  kept: number;
  rejected: number;
  failed: number;
  seconds: number;
  /** Shards that were set aside, by whichever worker: of what there was to do while this one worked, or else of what was last worked on. */
  setAside: number;
  /** Where the shards lie. */
  outs: string[];
}

/** A shard that was given back so often through its own fault is set aside: it would hold up the pool for ever. */
const mostGivenBack = 10;

/**
 * Works until nothing is left in the queue.
 * @throws UsageError when nothing was ever put into the queue, and this is not to wait for it; or when a plan can't be worked on with
 *   the flags of this machine
 * @throws InterruptedError when stopped
 * @throws DataError when the captions here are not those of the plan
 * @throws LaclipError what went wrong with several shards in a row; they are back in the queue
 */
export async function workOnQueue(options: QueueWorkerOptions): Promise<WorkReport> {
  const connection = await connectQueue(options.redis, { patient: true });
  const worker = new QueueWorker(connection, options);
  try {
    return await worker.run();
  } finally {
    await worker.close();
    await connection.close();
  }
}

/** What a worker needs for the shards of a plan. */
interface OpenPlan {
  readonly plan: RewritePlan;
  readonly captions: CaptionsInput;
  readonly engine: RewriteEngine;
}

class QueueWorker {
  readonly #connection: QueueConnection;
  readonly #options: QueueWorkerOptions;
  readonly #name: string;
  readonly #report: WorkReport;
  readonly #plans = new Map<string, Promise<OpenPlan>>();
  /** Plans of which this worker has seen work, its own or another's. */
  readonly #seen = new Set<string>();
  readonly #stop = new AbortController();
  #closed: Promise<void> | undefined;
  #fault: unknown;
  #inARow = 0;
  #busy = 0;
  #writing = false;

  constructor(connection: QueueConnection, options: QueueWorkerOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#name = options.queue ?? defaultQueue;
    this.#report = { queue: this.#name, shards: 0, written: 0, kept: 0, rejected: 0, failed: 0, seconds: 0, setAside: 0, outs: [] };
  }

  async run(): Promise<WorkReport> {
    const { signal, lockSeconds = 15, stay = false } = this.#options;
    const { redis, address } = this.#connection;
    const queue = this.#connection.queue(this.#name);
    if (!stay) await refuseUnknownQueue(this.#connection, this.#name, "enqueue the captions first, or wait for them with --stay");
    for (const plan of await plansAtWork(queue)) this.#seen.add(plan);
    const worker = new this.#connection.bullmq.Worker<ShardJob, ShardResult>(
      this.#name,
      async (job, token) => await this.#process(job, token!),
      {
        connection: redis,
        name: `${hostname()}:${process.pid}`,
        concurrency: 1,
        lockDuration: lockSeconds * 1000,
        // A whole number: Redis takes no other.
        stalledInterval: Math.ceil((lockSeconds * 1000) / 3),
        // A shard that is lost with its worker is never given up for that.
        maxStalledCount: Number.MAX_SAFE_INTEGER,
        // BullMQ goes by the time of day there, and would renew nothing after that was put back; see #keepLock.
        skipLockRenewal: true,
        drainDelay: 2,
      },
    );
    // At once, so that no other shard is taken when this one is given back.
    this.#stop.signal.addEventListener("abort", () => (this.#closed = worker.close()), { once: true });
    signal.addEventListener("abort", () => this.#stop.abort(), { once: true });
    if (signal.aborted) this.#stop.abort();
    worker.on("error", (error) => log.debug(`queue ${this.#name}: ${error.message}`));
    worker.on("stalled", (id) =>
      log.warn(`the worker of shard ${id.slice(id.indexOf("-") + 1)} is gone; the shard goes back into the queue`),
    );
    log.info(`waiting for shards in queue ${this.#name} of ${address}`);
    const stopped = new Promise<undefined>((done) => this.#stop.signal.addEventListener("abort", () => done(undefined), { once: true }));
    while (!this.#stop.signal.aborted) {
      await pause(Math.min(2, lockSeconds / 5), this.#stop.signal);
      if (stay || this.#busy > 0 || this.#stop.signal.aborted) continue;
      const counts = await Promise.race([queue.getJobCounts("wait", "active", "delayed", "prioritized"), stopped]);
      if (counts && Object.values(counts).every((count) => count === 0)) break;
    }
    // A server that is away can't take the shard back: its lock runs out by itself.
    while (this.#writing || (this.#busy > 0 && this.#connection.redis.status === "ready")) await pause(0.02);
    if (this.#fault !== undefined) throw this.#fault;
    if (signal.aborted) {
      throw new InterruptedError(
        `Stopped after ${this.#report.shards} shards; what is written is kept, and the shard goes back into the queue.`,
        {
          mend: "Start the same command again when this machine is to go on.",
        },
      );
    }
    this.#report.setAside = await countSetAside(queue, this.#seen);
    return this.#report;
  }

  /** Ends the worker; waits for no server that is away. */
  async close(): Promise<void> {
    this.#stop.abort();
    const waited = new AbortController();
    await Promise.race([this.#closed, pause(this.#connection.redis.status === "ready" ? 5 : 0.1, waited.signal)]);
    // A timer that nobody waits for any more would keep the process.
    waited.abort();
    const engines = await Promise.allSettled(this.#plans.values());
    for (const opened of engines) if (opened.status === "fulfilled") await opened.value.engine.close();
  }

  async #process(job: Job<ShardJob, ShardResult>, token: string): Promise<ShardResult> {
    const { WaitingError } = this.#connection.bullmq;
    this.#busy++;
    const release = this.#keepLock(job, token);
    try {
      if (!this.#stop.signal.aborted) {
        this.#writing = true;
        const result = await this.#openAndWrite(job).finally(() => (this.#writing = false));
        this.#inARow = 0;
        return result;
      }
      await job.moveToWait(token);
      throw new WaitingError();
    } catch (error) {
      if (error instanceof WaitingError) throw error;
      return await this.#giveBack(job, token, error);
    } finally {
      release();
      this.#busy--;
    }
  }

  async #openAndWrite(job: Job<ShardJob>): Promise<ShardResult> {
    this.#seen.add(job.data.plan);
    let opened: OpenPlan;
    try {
      opened = await this.#open(job.data.plan);
    } catch (error) {
      throw error instanceof InterruptedError ? error : new NotOpened(error);
    }
    try {
      return await this.#shard(job, opened);
    } catch (error) {
      // An engine that gave its servers up asks none of them again; by the next shard they may be there.
      if (error instanceof FinalError) {
        this.#plans.delete(job.data.plan);
        await opened.engine.close();
      }
      throw error;
    }
  }

  async #shard(job: Job<ShardJob>, { plan, captions, engine }: OpenPlan): Promise<ShardResult> {
    const { number, of } = job.data;
    const { out = plan.out, createdWith } = this.#options;
    if (!this.#report.outs.includes(out)) this.#report.outs.push(out);
    const shard = { number, of };
    log.info(`shard ${number} of ${of}`);
    const result: ShardResult = { written: 0, kept: 0, rejected: 0, failed: 0, seconds: 0 };
    let total = result;
    const onProgress = progressTeller(job);
    for (let tries = 0; tries < 3; tries++) {
      const summary = await rewriteCaptions({
        ...plan.settings,
        captions,
        engine,
        sources: engine.usesExamples ? plan.sources : [],
        out: shardFolder(resolve(out), shard),
        shard,
        onProgress,
        createdWith,
        signal: this.#stop.signal,
      });
      const { written, kept, rejected, failed, seconds } = summary;
      total = {
        written: total.written + written,
        kept: tries === 0 ? kept : total.kept,
        rejected: total.rejected + rejected,
        failed,
        seconds: total.seconds + seconds,
      };
      if (failed === 0) break;
    }
    this.#report.shards++;
    for (const key of ["written", "kept", "rejected", "failed", "seconds"] as const) this.#report[key] += total[key];
    return total;
  }

  async #open(id: string): Promise<OpenPlan> {
    let opened = this.#plans.get(id);
    if (!opened) {
      opened = this.#openPlan(id);
      this.#plans.set(id, opened);
      // What could not be opened may be there the next time.
      opened.catch(() => this.#plans.delete(id));
    }
    return await opened;
  }

  async #openPlan(id: string): Promise<OpenPlan> {
    const plan = readPlan(await this.#connection.redis.hget(plansKey(this.#name), id), id);
    const engine = this.#options.engine(plan);
    try {
      return { plan, captions: await this.#captionsOf(plan, engine), engine };
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  async #captionsOf(plan: RewritePlan, engine: RewriteEngine): Promise<CaptionsInput> {
    if (plan.exampleFlag !== undefined && !engine.usesExamples) {
      throw new UsageError(`${engine.name} uses no example pairs, but the captions were enqueued with ${plan.exampleFlag}.`, {
        mend: "Name a language model with --llm, or enqueue the captions without that flag, for another folder and in another queue.",
      });
    }
    const file = await openCaptions(this.#options.captions ?? plan.captions, plan.columns);
    const captions = plan.second ? await withSecondCaptions(file, await openRewritesFolder(plan.second.folder), plan.second.source) : file;
    const survey = await captions.survey(this.#stop.signal);
    const { count, hash } = plan.fingerprint;
    if (survey.fingerprint.hash !== hash || survey.fingerprint.count !== count) {
      throw new OtherCaptionsError(
        `${captions.path}: these are not the captions that were enqueued: ${survey.fingerprint.count} captions with fingerprint ${survey.fingerprint.hash.slice(0, 12)}, expected ${count} with ${hash.slice(0, 12)}.`,
        { mend: "Give this machine the same file of captions, or say where it is with --captions FILE." },
      );
    }
    return { ...captions, survey: async () => survey };
  }

  /** Puts a shard that could not be finished back into the queue, and decides whether this worker goes on. */
  async #giveBack(job: Job<ShardJob>, token: string, thrown: unknown): Promise<never> {
    const { WaitingError, DelayedError, UnrecoverableError } = this.#connection.bullmq;
    const { number, of, givenBack = 0 } = job.data;
    const { retrySeconds = 30, patience = 3 } = this.#options;
    const error = thrown instanceof NotOpened ? thrown.cause : thrown;
    if (error instanceof InterruptedError) {
      await job.moveToWait(token);
      throw new WaitingError();
    }
    if (error instanceof FolderBusyError) {
      log.info(`shard ${number} of ${of} is still being written by another worker; trying again later (${error.message})`);
      await job.moveToDelayed(Date.now() + Math.min(5, retrySeconds) * 1000, token);
      throw new DelayedError();
    }
    const words = error instanceof Error ? error.message : String(error);
    // Captions, flags and defects of the program stay what they are.
    if (error instanceof OtherCaptionsError || error instanceof UsageError || !LaclipError.is(error) || ++this.#inARow >= patience) {
      this.#fault = error;
      this.#stop.abort();
    }
    const own = !isOfThisMachine(thrown);
    if (own && givenBack + 1 >= mostGivenBack) {
      log.error(`shard ${number} of ${of} could not be finished ${mostGivenBack} times and is set aside: ${words}`);
      throw new UnrecoverableError(words);
    }
    log.warn(`shard ${number} of ${of} could not be finished and goes back into the queue: ${words}`);
    if (own) await job.updateData({ ...job.data, givenBack: givenBack + 1 });
    await job.moveToDelayed(Date.now() + retrySeconds * 1000, token);
    throw new DelayedError();
  }

  /** Renews the lock of a job, three times in the time that it holds, until the returned function is called. */
  #keepLock(job: Job, token: string): () => void {
    const { lockSeconds = 15 } = this.#options;
    let under = false;
    const timer = setInterval(
      () => {
        if (under) return;
        under = true;
        void job
          .extendLock(token, lockSeconds * 1000)
          // Another worker may have taken the shard over: it will find the folder locked, and wait.
          .catch((error: Error) => log.debug(`lock of ${job.name}: ${error.message}`))
          .finally(() => (under = false));
      },
      (lockSeconds * 1000) / 3,
    );
    return () => clearInterval(timer);
  }
}

/** Milliseconds between two words to the queue on how far a shard is. */
const toldEvery = 2000;

/** Tells the queue now and then how far a shard is. That is for people alone: a Redis that is away is told nothing, and holds nothing up. */
function progressTeller(job: Job<ShardJob>): (done: number, planned: number) => void {
  let told = -Infinity;
  let under = false;
  return (done, planned) => {
    const now = performance.now();
    if (under || now - told < toldEvery) return;
    [told, under] = [now, true];
    void job
      .updateProgress({ done, planned } satisfies ShardProgress)
      .catch((error: Error) => log.debug(`progress of ${job.name}: ${error.message}`))
      .finally(() => (under = false));
  };
}
