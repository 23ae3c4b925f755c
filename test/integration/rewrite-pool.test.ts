/**
 * A pool of machines on one queue: real worker processes, a real Redis, a server on loopback that writes. Workers are killed, Redis is
 * killed; whatever happens, the shards together must be what one undisturbed process writes, and nothing may be asked for twice but
 * what was under way when somebody was killed. Locks run out after a second here, that the tests take seconds.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  EdaEngine,
  OpenAiCompatibleEngine,
  chooseSources,
  defaultChecks,
  defaultForm,
  enqueueShards,
  mergeShards,
  openCaptions,
  promptForms,
  queueStatus,
  readPlan,
  rewriteCaptions,
  setCheck,
  shardFolder,
  storePlan,
  verifyRewrites,
  workOnQueue,
} from "../../src/rewriting/index.ts";
import type { EnqueueOptions, EnqueueReport, QueueStatus, RewritePlan } from "../../src/rewriting/index.ts";
import { EndpointError, FolderLock, UsageError, setLogLevel, sha256 } from "../../src/support/index.ts";
import { type Ended, type Started, startLaclip } from "./laclip.ts";
import { type ModelServer, startModelServer } from "./model-server.ts";
import { RedisServer, whyNoRedis } from "./programs/redis-server.ts";
import { rewritesIn } from "./rewrites-in.ts";

setLogLevel("quiet");
const folder = mkdtempSync(join(tmpdir(), "laclip-pool-"));
const skip = (await whyNoRedis()) ?? false;
const concurrency = 4;
let places = 0;
const place = (name: string): string => join(folder, `${places++}-${name}`);
const sources = chooseSources(["chatgpt"]);

let redis: RedisServer;
let model: ModelServer;
let url = "";
let asked = 0;
let milliseconds = 5;
const children = new Set<ChildProcess>();

before(async () => {
  if (skip !== false) return;
  redis = await RedisServer.start();
  model = await startModelServer<{ prompt: string; seed: number }>(async ({ body: { prompt, seed } }) => {
    asked++;
    await sleep(milliseconds);
    return ` once more in other words ${sha256(`${prompt}|${seed}`).slice(0, 12)}`;
  });
  url = model.url;
});

after(async () => {
  for (const child of children) child.kill("SIGKILL");
  await redis?.remove();
  model?.close();
  rmSync(folder, { recursive: true });
});

interface Pool {
  queue: string;
  out: string;
  captions: string;
}

function captionsFile(count: number, word = "dog"): string {
  const path = place("captions.csv");
  const rows = Array.from({ length: count }, (_, i) => `id-${i},a photo of a big ${word} number ${i} on the grass`);
  writeFileSync(path, `id,caption\n${rows.join("\n")}\n`);
  return path;
}

async function enqueue(pool: Pool, change: Partial<EnqueueOptions> = {}): Promise<EnqueueReport> {
  return await enqueueShards({
    redis: redis.url,
    queue: pool.queue,
    captions: await openCaptions(pool.captions),
    columns: {},
    out: pool.out,
    shardSize: 50,
    sources,
    settings: { seed: 1, form: defaultForm },
    llm: url,
    ...change,
  });
}

async function newPool(count: number, change: Partial<EnqueueOptions> = {}): Promise<Pool> {
  const pool = { queue: `test-${places}`, out: place("shards"), captions: captionsFile(count) };
  await enqueue(pool, change);
  return pool;
}

/** Starts `laclip rewrite work` as a process. */
function start(pool: Pool, ...flags: string[]): Started {
  const timing = ["--lock-seconds", "1", "--retry-seconds", "1", "--concurrency", String(concurrency)];
  const args = ["rewrite", "work", "--redis", redis.url, "--queue", pool.queue, "--verbose", ...timing, ...flags];
  const started = startLaclip(args);
  children.add(started.child);
  started.child.on("close", () => children.delete(started.child));
  return started;
}

const status = async (pool: Pool): Promise<QueueStatus> => await queueStatus({ redis: redis.url, queue: pool.queue });

/** Waits for something that is bound to happen while these workers work. */
async function until(what: string, workers: readonly Started[], happened: () => boolean | Promise<boolean>): Promise<void> {
  let end: Ended | undefined;
  for (const { ended } of workers) ended.then((how) => (end = how)).catch(() => {}); // whoever awaits it hears of it
  for (let tries = 0; tries < 4800 && end === undefined; tries++) {
    if (await happened()) return;
    await sleep(25);
  }
  if (await happened()) return;
  assert.fail(`waited in vain: ${what}${end === undefined ? "" : `; a worker ended with ${end.code}: ${end.stderr}`}`);
}

const askedSince = async (start: number, count: number, ...workers: Started[]): Promise<void> =>
  await until(`${count} requests`, workers, () => asked >= start + count);

/** All is there, once, and what an undisturbed process writes. */
async function assertWhole(pool: Pool): Promise<void> {
  const captions = await openCaptions(pool.captions);
  assert.deepEqual((await verifyRewrites(pool.out, { captions })).faults, []);
  const merged = place("merged");
  await mergeShards({ shards: [pool.out], out: merged, createdWith: "test" });
  const engine = new OpenAiCompatibleEngine({ url });
  const whole = place("whole");
  const pace = milliseconds;
  milliseconds = 0;
  await rewriteCaptions({ captions, out: whole, engine, sources, seed: 1, createdWith: "test" });
  milliseconds = pace;
  await engine.close();
  assert.deepEqual(await rewritesIn(merged), await rewritesIn(whole));
}

test("a worker that is killed: another one finishes its shard, and nothing is written twice", { skip }, async () => {
  const pool = await newPool(200);
  milliseconds = 25;
  const before = asked;
  const first = start(pool);
  await askedSince(before, 20, first);
  first.child.kill("SIGKILL");
  const second = start(pool);
  assert.equal((await first.ended).code, null);
  const { code, stderr } = await second.ended;
  assert.equal(code, 0, stderr);
  assert.match(stderr, /shard 1 of 4[^]*0001-of-0004: \d+ of 50 rewrites are there already/);
  // What was under way when it was killed, and the few milliseconds of answers that were not on disk yet, is asked for again.
  assert.ok(asked - before <= 200 + 4 * concurrency, `${asked - before} requests for 200 captions`);
  const { done, failed, waiting, active } = await status(pool);
  assert.deepEqual({ done, failed, waiting, active }, { done: 4, failed: [], waiting: 0, active: [] });
  await assertWhole(pool);
});

test("a shard whose worker is killed five times is not given up", { skip }, async () => {
  const pool = await newPool(150, { shardSize: 150 });
  milliseconds = 25;
  for (let kill = 0; kill < 5; kill++) {
    const before = asked;
    const worker = start(pool);
    await askedSince(before, 12, worker);
    worker.child.kill("SIGKILL");
    await worker.ended;
  }
  const { active, failed } = await status(pool);
  assert.deepEqual(failed, []);
  assert.ok(active.length === 0 || active[0]!.lost >= 3);
  const { code, stderr } = await start(pool).ended;
  assert.equal(code, 0, stderr);
  await assertWhole(pool);
});

test("a shard that takes much longer than its lock lasts stays its worker's", { skip }, async () => {
  const pool = await newPool(40, { shardSize: 40 });
  milliseconds = 1200;
  // Not a second here: on a machine with more to do than it can, a process may stand still for as long, and for a few.
  const [first, second] = [start(pool, "--lock-seconds", "6"), start(pool, "--lock-seconds", "6")];
  await until("word of how far the shard is", [first, second], async () => ((await status(pool)).active[0]?.progress?.done ?? 0) > 0);
  const [{ progress } = assert.fail("no shard is under way")] = (await status(pool)).active;
  assert.ok(progress && progress.done < progress.planned && progress.planned === 40, JSON.stringify(progress));
  const said = (await Promise.all([first.ended, second.ended])).map((end) => {
    assert.equal(end.code, 0, end.stderr);
    return end.stderr;
  });
  milliseconds = 5;
  assert.doesNotMatch(said.join(), /is gone|still being written/);
  assert.equal(said.filter((words) => words.includes("shard 1 of 1")).length, 1);
  await assertWhole(pool);
});

test("EDA, which never waits for anything, lets the timers run that renew locks", async () => {
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const during: number[] = [];
  class Observed extends EdaEngine {
    override async *rewrite(...args: Parameters<EdaEngine["rewrite"]>): ReturnType<EdaEngine["rewrite"]> {
      for await (const outcome of super.rewrite(...args)) {
        during.push(ticks);
        yield outcome;
      }
    }
  }
  const captions = await openCaptions(captionsFile(3000));
  await rewriteCaptions({ captions, out: place("eda"), engine: new Observed(), sources: [], seed: 1, createdWith: "test" });
  clearInterval(timer);
  assert.equal(during.length, 3000);
  assert.ok(during.at(-1)! - during[0]! >= 3, `${during.at(-1)! - during[0]!} ticks`);
});

test("Redis that is killed and comes back: the workers wait and go on, nothing is lost, nothing twice", { skip }, async () => {
  const pool = await newPool(300, { shardSize: 75 });
  milliseconds = 25;
  const before = asked;
  const workers = [start(pool), start(pool)];
  await askedSince(before, 30, ...workers);
  await redis.kill();
  // Longer than the locks last: in the end each believes that the other is gone.
  await sleep(2500);
  await redis.start();
  const ends = await Promise.all(workers.map(async ({ ended }) => await ended));
  for (const { code, stderr } of ends) assert.equal(code, 0, stderr);
  assert.match(ends.map(({ stderr }) => stderr).join(), /went away; waiting for it[\s\S]*is back/);
  assert.equal(asked - before, 300);
  assert.equal((await status(pool)).done, 4);
  await assertWhole(pool);
});

test("a worker that is stopped gives its shard back at once", { skip }, async () => {
  const pool = await newPool(100, { shardSize: 100 });
  milliseconds = 25;
  const before = asked;
  const worker = start(pool);
  await askedSince(before, 20, worker);
  worker.child.kill("SIGTERM");
  assert.equal((await worker.ended).code, 75);
  const { waiting, active } = await status(pool);
  assert.deepEqual({ waiting, active }, { waiting: 1, active: [] });
  assert.equal((await start(pool).ended).code, 0);
  assert.ok(asked - before <= 100 + concurrency);
  await assertWhole(pool);
});

test("a worker that sees other captions refuses to work, and leaves the shards to others", { skip }, async () => {
  const pool = await newPool(60);
  const { code, stderr } = await start(pool, "--captions", captionsFile(60, "cat")).ended;
  assert.equal(code, 3, stderr);
  assert.match(stderr, /not the captions that were enqueued: 60 captions with fingerprint/);
  assert.ok(!existsSync(join(pool.out, "shards")));
  milliseconds = 5;
  assert.equal((await start(pool).ended).code, 0);
  await assertWhole(pool);
});

test("a worker without its model gives up after a few shards, and they are still there for others", { skip }, async () => {
  const pool = await newPool(200);
  const { code, stderr } = await start(pool, "--llm", "http://127.0.0.1:9/v1", "--patience", "1").ended;
  assert.equal(code, 4, stderr);
  const { waiting, failed, done } = await status(pool);
  assert.deepEqual({ waiting, failed, done }, { waiting: 4, failed: [], done: 0 });
  assert.equal((await start(pool).ended).code, 0);
  await assertWhole(pool);
});

test("two workers on one shard: the second waits for the first, whatever the queue says", { skip }, async () => {
  const pool = await newPool(50);
  const path = shardFolder(pool.out, { number: 1, of: 1 });
  mkdirSync(path, { recursive: true });
  const lock = FolderLock.take(join(path, "lock"), "rewrites folder");
  const before = asked;
  const worker = start(pool);
  let waited = false;
  worker.child.stderr!.on("data", (chunk) => (waited ||= String(chunk).includes("still being written")));
  await until("the worker finds the folder locked", [worker], () => waited);
  assert.equal(asked, before);
  lock.release();
  assert.equal((await worker.ended).code, 0);
  await assertWhole(pool);
});

test("the same captions are enqueued once; others for the same folder are refused; what failed is put back", { skip }, async () => {
  const pool = await newPool(120);
  assert.deepEqual({ ...(await enqueue(pool)) }, { queue: pool.queue, out: pool.out, captions: 120, shards: 3, added: 0, again: 0 });
  await assert.rejects(enqueue(pool, { settings: { seed: 2 } }), UsageError);
  await assert.rejects(enqueue(pool, { redis: "localhost" }), UsageError);
  await assert.rejects(enqueue(pool, { redis: "redis://127.0.0.1:9" }), EndpointError);
  const astray = await start({ ...pool, queue: "mistyped" }).ended;
  assert.equal(astray.code, 2);
  assert.match(astray.stderr, /Nothing was ever put into queue mistyped of redis:/);
  assert.equal((await start(pool).ended).code, 0);
  assert.equal((await status(pool)).rewrites, 120);
  // A queue that forgot everything: what is written is found in the folder.
  const other = { ...pool, queue: `${pool.queue}-anew` };
  const before = asked;
  assert.equal((await enqueue(other)).added, 3);
  assert.equal((await start(other).ended).code, 0);
  assert.equal(asked, before);
  assert.deepEqual(readdirSync(pool.out), ["shards"]);
});

test("a shard that can never be finished is set aside, with the reason, and the others are done", { skip }, async () => {
  const pool = await newPool(60, { shardSize: 20 });
  // A part that is no part: whoever opens the shard's folder finds it damaged.
  const engine = new OpenAiCompatibleEngine({ url });
  const damaged = shardFolder(pool.out, { number: 1, of: 3 });
  const captions = await openCaptions(pool.captions);
  await rewriteCaptions({ captions, out: damaged, engine, sources, seed: 1, shard: { number: 1, of: 3 }, createdWith: "test" });
  await engine.close();
  writeFileSync(join(damaged, "parts", "000000.parquet"), "nonsense");
  const report = await workOnQueue({
    redis: redis.url,
    queue: pool.queue,
    engine: () => new OpenAiCompatibleEngine({ url }),
    lockSeconds: 1,
    retrySeconds: 0,
    patience: 100,
    createdWith: "test",
    signal: new AbortController().signal,
  });
  assert.deepEqual({ shards: report.shards, setAside: report.setAside }, { shards: 2, setAside: 1 });
  const [failed] = (await status(pool)).failed;
  assert.equal(failed!.number, 1);
  assert.match(failed!.reason, /000000\.parquet: this table can't be read/);
  // Those that come later find nothing to do, but that is not the same as done.
  const late = await start(pool).ended;
  assert.equal(late.code, 3, late.stderr);
  assert.match(late.stderr, /Nothing else is left in queue \S+, but 1 of its shards were set aside[^]*rewrite status[^]*rewrite enqueue/);
  assert.doesNotMatch(late.stderr, /rewrites merge/);
  rmSync(damaged, { recursive: true });
  assert.equal((await enqueue(pool, { shardSize: 20 })).again, 1);
  assert.equal((await start(pool).ended).code, 0);
  // One that the queue believes done may turn out to be damaged, too.
  rmSync(shardFolder(pool.out, { number: 2, of: 3 }), { recursive: true });
  assert.equal((await enqueue(pool, { shardSize: 20 })).again, 1);
  assert.equal((await start(pool).ended).code, 0);
  await assertWhole(pool);
});

test("a plan comes out of the queue as it went in, with every setting", () => {
  const plan: RewritePlan = {
    captions: "/data/captions.csv",
    columns: { idColumn: "key" },
    second: { folder: "/data/machine", source: "blip" },
    fingerprint: { count: 7, hash: "abc" },
    out: "/data/out",
    shards: 2,
    sources,
    settings: {
      seed: 3,
      form: promptForms.at(-1)!,
      retries: 2,
      rounds: 1,
      checks: setCheck(defaultChecks, "length-ratio=0.1..9"),
      limit: 9,
    },
    llm: "eda",
    model: "large",
  };
  const { id, text } = storePlan(plan);
  const back = readPlan(text, id);
  assert.equal(back.settings.form, plan.settings.form);
  assert.deepEqual([...back.settings.checks!.keys()], [...plan.settings.checks!.keys()]);
  const { least, most } = back.settings.checks!.get("length-ratio")!;
  assert.deepEqual([least, most], [0.1, 9]);
  const { checks: _checks, ...others } = plan.settings;
  const { checks: _backChecks, ...backOthers } = back.settings;
  assert.deepEqual({ ...back, settings: backOthers }, { ...plan, settings: others });
  assert.equal(storePlan({ ...plan, llm: "other.gguf" }).id, id);
  assert.notEqual(storePlan({ ...plan, settings: { ...plan.settings, seed: 4 } }).id, id);
  assert.throws(() => readPlan("{}", id), /not one that this version/);
  assert.throws(() => readPlan(null, id), /is gone/);
});
