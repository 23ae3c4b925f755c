/**
 * Rewriting that goes on: from other limits, sources and retries, after a full disk, beside what was made with other settings.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isUsable } from "../../src/data/index.ts";
import { chooseSources, findPromptForm, openCaptions, rewriteCaptions, ungrouped } from "../../src/rewriting/index.ts";
import type {
  Completion,
  EngineDescription,
  RewriteEngine,
  RewriteGroup,
  RewriteOptions,
  RewriteSummary,
} from "../../src/rewriting/index.ts";
import { DataError, InterruptedError, LaclipError, UsageError } from "../../src/support/index.ts";
import { rewritesIn } from "./rewrites-in.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-resume-"));
const disk = join(folder, "disk");
after(() => {
  spawnSync("umount", [disk]);
  rmSync(folder, { recursive: true });
});
let folders = 0;
const fresh = (): string => join(folder, `out-${folders++}`);

/** Writes the caption again with the seed behind it; every fifth seed writes a single word, which the checks reject. */
class EchoEngine implements RewriteEngine {
  readonly name = "echo";
  readonly usesExamples = true;
  asked = 0;

  constructor(private readonly described: Partial<EngineDescription> = {}) {}

  async describe(): Promise<EngineDescription> {
    return await Promise.resolve({ model: "echo", modelHash: "", sampling: {}, ...this.described });
  }

  async *rewrite(groups: AsyncIterable<RewriteGroup>): AsyncGenerator<Completion> {
    for await (const request of ungrouped(groups)) {
      this.asked++;
      const text = request.seed % 5 === 0 ? " word" : ` ${request.caption}, number ${request.seed}`;
      yield { request, text, finish: "stop", tokens: 3 };
    }
  }

  async close(): Promise<void> {}
}

const count = 60;
const captions = join(folder, "captions.csv");
// Rows that repeat an earlier one, and rows without a caption, stand between the others.
writeFileSync(
  captions,
  `id,caption\n${Array.from({ length: count }, (_, i) => `id-${i},a red car on road ${i}\n${i % 9 === 4 ? `id-${i - 3},a red car on road ${i - 3}\nempty-${i},\n` : ""}`).join("")}`,
);

async function rewrite(out: string, change: Partial<RewriteOptions> = {}): Promise<RewriteSummary> {
  return await rewriteCaptions({
    captions: await openCaptions(captions),
    out,
    engine: new EchoEngine(),
    sources: chooseSources(["chatgpt", "mscoco"]),
    seed: 1,
    createdWith: "test",
    ...change,
  });
}

const counts = ({ captions: all, emptyCaptions, kept, written }: RewriteSummary): number[] => [all, emptyCaptions, kept, written];

test("with a raised limit, more sources and other chunks a run goes on, and its summary counts what it did", async () => {
  const whole = fresh();
  const repeated = Array.from({ length: count }).filter((_, i) => i % 9 === 4).length;
  assert.deepEqual(counts(await rewrite(whole)), [count + repeated, repeated, 0, 2 * count]);
  const out = fresh();
  const chatgpt = { sources: chooseSources(["chatgpt"]) };
  assert.deepEqual(counts(await rewrite(out, { ...chatgpt, limit: 7, chunk: 3 })).slice(2), [0, 7]);
  assert.deepEqual(counts(await rewrite(out, { ...chatgpt, limit: 5 })).slice(2), [5, 0]);
  assert.deepEqual(counts(await rewrite(out, { limit: 20, chunk: 4, rowsPerPart: 6 })).slice(2), [7, 33]);
  assert.deepEqual(counts(await rewrite(out, { chunk: 11, rowsPerPart: 7 })).slice(2), [40, 2 * count - 40]);
  assert.deepEqual(counts(await rewrite(out)).slice(2), [2 * count, 0]);
  assert.deepEqual(await rewritesIn(out), await rewritesIn(whole));
});

test("retries ask again for what was rejected in this run, and leave alone what is there", async () => {
  const plain = fresh();
  const { rejected } = await rewrite(plain);
  assert.ok(rejected > 5, `${rejected} rejected`);
  const out = fresh();
  await rewrite(out, { limit: 20 });
  const engine = new EchoEngine();
  const summary = await rewrite(out, { retries: 3, engine });
  assert.deepEqual(counts(summary).slice(2), [40, 2 * count - 40]);
  const all = await rewritesIn(out);
  assert.equal(all.length, 2 * count);
  const regenerated = all.filter(({ flags }) => flags.includes("regenerated"));
  assert.ok(regenerated.length > 0 && engine.asked >= 2 * count - 40 + regenerated.length);
  assert.equal(summary.flags["regenerated"], regenerated.length);
  assert.ok(
    regenerated.every((row) => isUsable(row)),
    "three retries were not enough for an engine that fails one time in five",
  );
  const first = new Map((await rewritesIn(plain)).map((row) => [`${row.source} ${row.id}`, row]));
  for (const row of all) {
    const before = first.get(`${row.source} ${row.id}`)!;
    if (!row.flags.includes("regenerated")) assert.deepEqual(row, before);
    else assert.ok(!isUsable(before) && row.seed !== before.seed);
  }
});

test("each other setting is named and refused, and can be written beside, with the same draws", async () => {
  const out = fresh();
  await rewrite(out);
  const own = {
    name: "chatgpt",
    provenance: "a test",
    pairs: Array.from({ length: 4 }, (_, i): [string, string] => [`in ${i}`, `out ${i}`]),
  };
  const changes: [Partial<RewriteOptions>, RegExp][] = [
    [{ seed: 2 }, /seed: "1" there, "2" now/],
    [{ form: findPromptForm("laclip-code") }, /prompt: "paper" there, "laclip-code" now; prompt or example pairs/],
    [{ sources: [own] }, /\(prompt or example pairs: [^;]*\)/],
    [{ engine: new EchoEngine({ model: "other" }) }, /model: "echo" there, "other" now/],
    [{ engine: new EchoEngine({ modelHash: "0123" }) }, /model file/],
    [{ engine: new EchoEngine({ sampling: { temperature: 0.8 } }) }, /sampling: "{}" there, "{"temperature":0.8}" now/],
  ];
  const before = readFileSync(join(out, "manifest.json"), "utf8");
  for (const [change, says] of changes) {
    await assert.rejects(
      rewrite(out, change),
      (error) => error instanceof DataError && says.test(error.message) && /--beside NAME.*"chatgpt\.NAME"/.test(error.mend!),
    );
  }
  assert.equal(readFileSync(join(out, "manifest.json"), "utf8"), before);
  for (const [i, [change]] of changes.entries()) assert.equal((await rewrite(out, { ...change, beside: `v${i}` })).kept, 0);
  const all = await rewritesIn(out);
  const of = (source: string): (readonly [string, string, number, readonly string[]])[] =>
    all.filter((row) => row.source === source).map(({ id, text, seed, examples }) => [id, text, seed, examples] as const);
  assert.equal(of("chatgpt").length, count);
  assert.notDeepEqual(of("chatgpt.v0"), of("chatgpt"));
  // Another model: the same examples and seeds, and so, from this engine, the same texts.
  assert.deepEqual(of("mscoco.v3"), of("mscoco"));
  assert.equal((await rewrite(out, { ...changes[3]![0], beside: "v3" })).kept, 2 * count);
  await assert.rejects(rewrite(out, { seed: 3, beside: "v3" }), /"chatgpt\.v3" in this folder were made otherwise/);
  await assert.rejects(rewrite(out, { beside: "a b" }), UsageError);
});

test("a run that is stopped while it looks at the captions has written nothing", async () => {
  const stop = new AbortController();
  const engine = new EchoEngine();
  const input = await openCaptions(captions);
  const stopping = {
    ...input,
    survey: async (signal?: AbortSignal) => {
      stop.abort();
      return await input.survey(signal);
    },
  };
  const out = fresh();
  await assert.rejects(rewrite(out, { captions: stopping, engine, signal: stop.signal }), InterruptedError);
  assert.equal(engine.asked, 0);
});

test("a full disk ends the run and harms nothing; with more space the same call goes on", async (context) => {
  mkdirSync(disk);
  if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", disk]).status !== 0)
    return context.skip("a small disk can be made by root only, on Linux");
  const out = join(disk, "rewrites");
  assert.equal((await rewrite(out, { limit: 20 })).written, 40);
  const filler = join(disk, "filler");
  // A little more room each time: for not even a lock, for some of the log, for the log but not for its part, for all.
  let there = await rewritesIn(out);
  let failures = 0;
  for (let room = 0, done = false; !done; room += 4096) {
    const { bavail, bsize } = statfsSync(disk);
    writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - room)));
    try {
      const { kept, written } = await rewrite(out);
      assert.deepEqual([kept, written], [there.length, 2 * count - there.length]);
      done = true;
    } catch (error) {
      assert.ok(LaclipError.is(error) && /the disk is full/.test(error.message), `${room} bytes: ${String(error)}`);
      failures++;
    }
    rmSync(filler);
    const now = new Set((await rewritesIn(out)).map((row) => JSON.stringify(row)));
    assert.ok(
      there.every((row) => now.has(JSON.stringify(row))),
      "something that was there is gone",
    );
    there = await rewritesIn(out);
  }
  assert.ok(failures >= 3, `${failures} failures`);
  const whole = fresh();
  await rewrite(whole);
  assert.deepEqual(await rewritesIn(out), await rewritesIn(whole));
});
