/**
 * What a pool makes of faults: those of a worker's machine end that worker and cost the shards nothing, those of a shard set it aside,
 * and wrong flags are refused before anything is written. With a real Redis, and a server on loopback.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  LlamaCppEngine,
  OpenAiCompatibleEngine,
  chooseSources,
  defaultForm,
  enqueueShards,
  findPromptForm,
  openCaptions,
  queueStatus,
  rewriteCaptions,
  shardFolder,
  workOnQueue,
} from "../../src/rewriting/index.ts";
import type { EnqueueOptions, QueueStatus, RewriteEngine, WorkReport } from "../../src/rewriting/index.ts";
import { DataError, ModelFormatError, UsageError, explainWriteFailure, setLogLevel } from "../../src/support/index.ts";
import { type Ended, runLaclip } from "./laclip.ts";
import { type ModelServer, startModelServer } from "./model-server.ts";
import { RedisServer, whyNoRedis } from "./programs/redis-server.ts";

setLogLevel("quiet");
const folder = mkdtempSync(join(tmpdir(), "laclip-pool-faults-"));
const skip = (await whyNoRedis()) ?? false;
const captions = join(folder, "captions.csv");
let redis: RedisServer;
let model: ModelServer;
let pools = 0;

before(async () => {
  const rows = Array.from({ length: 20 }, (_, i) => `id-${i},a photo of a big dog number ${i} on the grass`);
  writeFileSync(captions, `id,caption\n${rows.join("\n")}\n`);
  if (skip !== false) return;
  redis = await RedisServer.start();
  model = await startModelServer<object>(() => " the grass has a big dog on it in this photo");
});

after(async () => {
  await redis?.remove();
  model?.close();
  rmSync(folder, { recursive: true });
});

interface Pool {
  queue: string;
  out: string;
}

/** A queue of two shards. */
async function newPool(change: Partial<EnqueueOptions> = {}): Promise<Pool> {
  const pool = { queue: `faults-${pools}`, out: join(folder, `shards-${pools++}`) };
  await enqueueShards({
    redis: redis.url,
    ...pool,
    captions: await openCaptions(captions),
    columns: {},
    shardSize: 10,
    sources: chooseSources(["human"]),
    settings: { seed: 1, form: defaultForm },
    ...change,
  });
  return pool;
}

const status = async ({ queue }: Pool): Promise<QueueStatus> => await queueStatus({ redis: redis.url, queue });

/** Works with an engine until nothing is left, or so many shards in a row could not be finished. */
async function workWith(
  { queue }: Pool,
  engine: () => RewriteEngine,
  beside: { patience: number; captions?: string },
): Promise<WorkReport> {
  const quick = { lockSeconds: 1, retrySeconds: 0, createdWith: "test", signal: new AbortController().signal };
  return await workOnQueue({ redis: redis.url, queue, engine, ...quick, ...beside });
}

/** Runs a command on the queue. */
async function run(name: "work" | "status", { queue }: Pool, ...flags: string[]): Promise<Ended> {
  return await runLaclip(["rewrite", name, "--redis", redis.url, "--queue", queue, ...flags]);
}

test("what is wrong with a machine sets no shard aside, however often its worker is started again", { skip }, async () => {
  const pool = await newPool();
  // In a row until each of the two shards went back a dozen times, as with many workers one after another.
  const patience = 25;
  const nowhere = (): RewriteEngine => new OpenAiCompatibleEngine({ url: "http://127.0.0.1:9/v1", tries: 1 });
  await assert.rejects(workWith(pool, nowhere, { patience }), /nothing listens there/);
  const damaged = (): RewriteEngine => new LlamaCppEngine({ model: captions });
  await assert.rejects(workWith(pool, damaged, { patience }), ModelFormatError);
  await assert.rejects(workWith(pool, nowhere, { patience, captions: join(folder, "elsewhere.csv") }), /no such file/);
  // A flag stays what it is: the worker ends with the first shard.
  const unsaid = (): RewriteEngine => {
    throw new UsageError("nobody said who is to write");
  };
  for (let start = 0; start < 21; start++) await assert.rejects(workWith(pool, unsaid, { patience }), UsageError);
  const { waiting, failed } = await status(pool);
  assert.deepEqual({ waiting, failed }, { waiting: 2, failed: [] });
  const { code, stderr } = await run("work", pool, "--llm", model.url);
  assert.equal(code, 0, stderr);
  assert.equal((await status(pool)).rewrites, 20);
});

test("a disk that is full and a model that is another than before set no shard aside either", { skip }, async () => {
  const pool = await newPool();
  const patience = 25;
  const full = (): RewriteEngine => ({
    name: "full",
    usesExamples: true,
    close: async () => {},
    rewrite: () => assert.fail("nothing is written to a full disk"),
    describe: async () => await Promise.reject(explainWriteFailure(Object.assign(new Error("full"), { code: "ENOSPC" }), pool.out)),
  });
  await assert.rejects(workWith(pool, full, { patience }), /the disk is full/);
  // One of the two shards is there, by another model: this worker's model fits neither that one nor its neighbour.
  const shard = { number: 1, of: 2 };
  const before = new OpenAiCompatibleEngine({ url: model.url, model: "another" });
  const out = shardFolder(pool.out, shard);
  const settings = { sources: chooseSources(["human"]), seed: 1, createdWith: "test" };
  await rewriteCaptions({ captions: await openCaptions(captions), engine: before, out, shard, ...settings });
  await before.close();
  const other = (): RewriteEngine => new OpenAiCompatibleEngine({ url: model.url });
  await assert.rejects(workWith(pool, other, { patience }), (error) => error instanceof DataError && /made otherwise/.test(error.message));
  const { waiting, failed } = await status(pool);
  assert.deepEqual({ waiting, failed }, { waiting: 2, failed: [] });
});

test("servers that were given up for one shard are asked again for the next", { skip }, async () => {
  const pool = await newPool();
  let engines = 0;
  const busy = await startModelServer<object>(() => (engines === 1 ? 429 : " the grass has a big dog on it in this photo"));
  const engine = (): RewriteEngine => {
    engines++;
    return new OpenAiCompatibleEngine({ url: busy.url, pauseSeconds: 0.01, patienceSeconds: 0.2 });
  };
  const { shards, setAside } = await workWith(pool, engine, { patience: 3 });
  busy.close();
  assert.deepEqual({ shards, setAside, engines }, { shards: 2, setAside: 0, engines: 2 });
});

test("a shard whose requests the server refuses is set aside for that", { skip }, async () => {
  const pool = await newPool({ shardSize: 20 });
  const refusing = await startModelServer<object>(() => 400);
  const report = await workWith(pool, () => new OpenAiCompatibleEngine({ url: refusing.url }), { patience: 100 });
  refusing.close();
  assert.equal(report.setAside, 1);
  assert.match((await status(pool)).failed[0]!.reason, /refused this request with 400/);
  // That is for those who come to this work; other work in the same queue can be finished all the same.
  const sound = (): RewriteEngine => new OpenAiCompatibleEngine({ url: model.url });
  assert.equal((await workWith(pool, sound, { patience: 3 })).setAside, 1);
  await newPool({ queue: pool.queue, out: join(folder, "later"), settings: { seed: 2, form: defaultForm } });
  for (const shards of [2, 0]) {
    const later = await workWith(pool, sound, { patience: 3 });
    assert.deepEqual({ shards: later.shards, setAside: later.setAside }, { shards, setAside: 0 });
  }
});

test("an engine that uses no examples is refused where some were asked for, and only there", { skip }, async () => {
  const asked = await newPool({ exampleFlag: "--sources human" });
  const refused = await run("work", asked, "--llm", "eda");
  assert.equal(refused.code, 2, refused.stderr);
  assert.match(refused.stderr, /eda uses no example pairs, but the captions were enqueued with --sources human/);
  assert.ok(!existsSync(join(asked.out, "shards")));
  const unasked = await newPool();
  assert.equal((await run("work", unasked, "--llm", "eda")).code, 0);
  const enqueue = ["rewrite", "enqueue", captions, "--redis", redis.url, "--out", join(folder, "none"), "--queue", "none"];
  for (const flags of [
    ["--llm", "eda", "--sources", "human"],
    ["--back-translate", "German", "--prompt", "chat"],
    ["--prompt", "fusion"],
    ["--beside", "a/b"],
    ["--rounds", "2", "--back-translate", "German"],
    ["--rounds", "2", "--llm", "http://127.0.0.1:9/v1"],
    ["--rounds", "2", "--sources", "human"],
    ["--sources", ""],
  ]) {
    const { code, stderr } = await runLaclip([...enqueue, ...flags]);
    assert.equal(code, 2, `${flags.join(" ")}: ${stderr}`);
  }
  await assert.rejects(newPool({ settings: { seed: 1, form: findPromptForm("fusion") } }), UsageError);
  // As the command line writes it into the queue.
  const named = await runLaclip([...enqueue, "--sources", " human , bard"]);
  assert.equal(named.code, 0, named.stderr);
  assert.match((await run("work", { queue: "none", out: "" }, "--llm", "eda")).stderr, /enqueued with --sources human,bard/);
});

test("a queue that nobody made is no queue of which nothing is left", { skip }, async () => {
  const { code, stderr } = await run("status", { queue: "mistyped", out: "" });
  assert.equal(code, 2, stderr);
  assert.match(stderr, /Nothing was ever put into queue mistyped of redis:/);
});
