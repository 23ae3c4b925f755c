/**
 * A rewriting job that is killed at random moments, over and over: in the end its folder must be that of a job nobody disturbed.
 *
 * A moment is some time after a process was started, so that kills also hit the reading of the captions, the scan of what is done,
 * and the turning of logs into parts. A job that came through to its end is compared, and another is begun, until there were enough
 * kills. The suite kills a few times, a model's job less often than a server's, since each of its processes loads a model;
 * LACLIP_KILLS=50 LACLIP_KILL_CAPTIONS=5000 makes it thorough, with both alike.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chooseSources } from "../../src/rewriting/index.ts";
import type { PairSource } from "../../src/rewriting/index.ts";
import { Random, sha256 } from "../../src/support/index.ts";
import { type Answer, withModelServer } from "./model-server.ts";
import type { RewriteJob } from "./programs/rewrite-job.ts";
import { rewritesIn } from "./rewrites-in.ts";
import { tinyLlama, writeGguf } from "./tiny-gguf.ts";

const installed = await import("node-llama-cpp").then(
  () => true,
  () => false,
);

const setting = (name: string): number | undefined => (process.env[name] === undefined ? undefined : Number(process.env[name]));
const [kills, modelKills] = [setting("LACLIP_KILLS") ?? 6, setting("LACLIP_KILLS") ?? 3];
const [captionCount, modelCaptionCount] = [setting("LACLIP_KILL_CAPTIONS") ?? 150, setting("LACLIP_KILL_CAPTIONS") ?? 15];
const program = fileURLToPath(new URL("programs/rewrite-job.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "laclip-kills-"));
after(() => rmSync(folder, { recursive: true }));

const concurrency = 8;

/** A server whose answers are a function of prompt and seed alone, as a model's are, and which counts what it is asked. */
async function withServer(work: (url: string, asked: () => number) => Promise<void>): Promise<void> {
  let asked = 0;
  const answer: Answer<{ prompt: string; seed: number }> = async ({ body: { prompt, seed } }) => {
    const number = ++asked;
    const caption = /([^\n]*) =>$/.exec(prompt)![1]!;
    // Not all answers take equally long, so that they come in another order each time.
    await new Promise((resolve) => setTimeout(resolve, number % 7));
    return ` once more: ${caption}, ${sha256(`${prompt}|${seed}`).slice(0, 12)}\n\nmore`;
  };
  await withModelServer(answer, async (url) => await work(url, () => asked));
}

/** Runs a job to its end, or kills it some milliseconds after its start; true where it came to its end. */
async function run(job: RewriteJob, killAfter?: number): Promise<boolean> {
  const child = spawn(process.execPath, [program, JSON.stringify(job)], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => (said += String(chunk)));
  const timer = killAfter === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfter);
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  clearTimeout(timer);
  if (signal === "SIGKILL") return false;
  assert.equal(code, 0, said);
  return true;
}

/** All rewrites as lines of JSON. */
const content = async (path: string): Promise<string[]> => (await rewritesIn(path)).map((rewrite) => JSON.stringify(rewrite));

interface Disturbance {
  kills: number;
  /** Jobs that came to their end, each in a folder of its own. */
  finished: number;
}

/** Kills a job at random moments and compares what comes of it with what an undisturbed job wrote. */
async function disturb(job: Omit<RewriteJob, "out">, count: number, name: string): Promise<Disturbance> {
  const whole = join(folder, `${name}-undisturbed`);
  const started = performance.now();
  await run({ ...job, out: whole });
  const seconds = (performance.now() - started) / 1000;
  const expected = await content(whole);
  // Late enough for the work and its end to be hit, early enough for a large job to be hit more often than it ends.
  const latest = Math.min(seconds * 1.2, Math.max(4, seconds * 0.3)) * 1000;
  const random = Random.of("kill", name);
  const result: Disturbance = { kills: 0, finished: 0 };
  for (;;) {
    const out = join(folder, `${name}-${result.finished}`);
    // The longer ones come through to their end, or a folder would never be finished in large jobs.
    while (!(await run({ ...job, out }, result.kills < count ? random.uniform() * latest : undefined))) result.kills++;
    const found = await content(out);
    assert.deepEqual(
      found.filter((line, i) => line !== expected[i]),
      [],
      `${name}, after ${result.kills} kills`,
    );
    assert.equal(found.length, expected.length);
    assert.deepEqual(readdirSync(join(out, "log")), []);
    assert.deepEqual(
      readdirSync(join(out, "parts")).filter((file) => !/^\d{6}\.parquet$/.test(file)),
      [],
    );
    result.finished++;
    rmSync(out, { recursive: true });
    if (result.kills >= count) return result;
  }
}

function captionsFile(name: string, count: number): string {
  const path = join(folder, name);
  const rows = Array.from({ length: count }, (_, i) => `${(i * 7919) % 100_003},"a street with ${i} cars, seen from a bridge"\n`);
  writeFileSync(path, `id,caption\n${rows.join("")}`);
  return path;
}

test("killed at random moments, a job with a server ends with what an undisturbed one writes", async (context) => {
  await withServer(async (url, asked) => {
    const captions = captionsFile("server.csv", captionCount);
    const sources = chooseSources(["chatgpt", "mscoco"]);
    const job = { captions, llm: url, sources, concurrency, rowsPerPart: Math.ceil(captionCount / 4), chunk: Math.ceil(captionCount / 3) };
    const result = await disturb(job, kills, "server");
    context.diagnostic(`${result.kills} kills, ${result.finished} finished jobs of ${captionCount} captions, ${asked()} requests`);
    // A kill costs what was in flight and what was answered in the same turn of the event loop.
    const most = (result.finished + 1) * captionCount * sources.length + result.kills * concurrency * 2;
    assert.ok(asked() <= most, `${asked()} requests, expected at most ${most}`);
  });
});

/** Three of these fit into the tiny model's context. */
const shortPairs: PairSource = {
  name: "short",
  provenance: "a test",
  pairs: [
    ["a dog", "one dog here"],
    ["a cat", "one cat here"],
    ["a cow", "one cow here"],
    ["a pig", "one pig here"],
  ],
};

test(
  "killed at random moments, a job with a model file ends with what an undisturbed one writes",
  { skip: installed ? false : "node-llama-cpp is not installed" },
  async (context) => {
    const count = modelCaptionCount;
    const model = writeGguf(join(folder, "tiny.gguf"), tinyLlama({ lineEnd: 3, memory: false }));
    const captions = captionsFile("model.csv", count);
    const job = { captions, llm: model, sources: [shortPairs], concurrency: 1, rowsPerPart: Math.ceil(count / 4), chunk: count };
    const result = await disturb(job, modelKills, "model");
    context.diagnostic(`${result.kills} kills, ${result.finished} finished jobs of ${count} captions`);
  },
);
