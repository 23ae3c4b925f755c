import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs, {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { writeParquet } from "../formats/index.ts";
import { DataError } from "../support/index.ts";
import { captionsFingerprint } from "./captions-fingerprint.ts";
import { HashedKeys } from "./hashed-keys.ts";
import { openRewritesFolder, rewriteColumns } from "./rewrites-folder.ts";
import type { Rewrite, RewriteSource } from "./rewrites-folder.ts";
import { RewritesWriter } from "./rewrites-writer.ts";
import type { WriteRewritesOptions } from "./rewrites-writer.ts";

const temporary = mkdtempSync(join(tmpdir(), "laclip-rewrites-"));
after(() => rmSync(temporary, { recursive: true }));
let folders = 0;
const fresh = (): string => join(temporary, `folder-${folders++}`);

const captions = Array.from({ length: 50 }, (_, i) => ({ id: `id-${i}`, caption: `caption number ${i}` }));
const source: RewriteSource = {
  engine: "test",
  model: "m",
  modelHash: "",
  promptHash: "p",
  provenance: "a test",
  sampling: { temperature: 0.9 },
  seed: 1,
};
const options: WriteRewritesOptions = {
  dataset: "captions.csv",
  fingerprint: captionsFingerprint(captions),
  sources: { chatgpt: source, bard: source },
  createdWith: "laclip test",
};
const rewrite = (i: number, name = "chatgpt", flags: string[] = []): Rewrite => ({
  id: `id-${i}`,
  source: name,
  text: `text "${i}" é`,
  flags,
  finish: "stop",
  tokens: 7,
  seed: 2 ** 31 - 1,
  examples: [`${name}/1`, `${name}/2`],
});

async function all(path: string): Promise<Rewrite[]> {
  const rows: Rewrite[] = [];
  for await (const batch of (await openRewritesFolder(path)).read()) rows.push(...batch);
  return rows.sort((a, b) => (`${a.source} ${a.id}` < `${b.source} ${b.id}` ? -1 : 1));
}

test("what is written comes back, from the log and from the parts, and each rewrite is there once", async () => {
  const path = fresh();
  const writer = await RewritesWriter.open(path, { ...options, rowsPerPart: 4 });
  for (let i = 0; i < 10; i++) await writer.append([rewrite(i), rewrite(i, "bard", ["rejected:too-short"]), rewrite(i)]);
  assert.equal(writer.count, 20);
  assert.ok(writer.has("bard", "id-3") && !writer.has("bard", "id-30"));
  writer.flush();
  const whileWriting = await all(path);
  await writer.finish();
  assert.ok(readdirSync(join(path, "parts")).length >= 4);
  assert.deepEqual(readdirSync(join(path, "log")), []);
  const rows = await all(path);
  assert.deepEqual(rows, whileWriting);
  assert.deepEqual(
    rows.find((row) => row.id === "id-4" && row.source === "bard"),
    rewrite(4, "bard", ["rejected:too-short"]),
  );
  const folder = await openRewritesFolder(path);
  assert.equal(await folder.count(), 20);
  assert.deepEqual(folder.sources, ["chatgpt", "bard"]);
  assert.deepEqual((await folder.texts()).get("id-7"), [{ source: "chatgpt", text: 'text "7" é' }]);
  await assert.rejects(folder.texts({ sources: ["human"] }), /no rewrites from source "human".*chatgpt, bard/);
});

test("a line torn by a crash is passed over by readers, cut off by the next writer, and written again", async () => {
  const path = fresh();
  const first = await RewritesWriter.open(path, options);
  await first.append([rewrite(0), rewrite(1)]);
  first.close();
  const log = join(path, "log", "000000.jsonl");
  truncateSync(log, readFileSync(log).length - 5);
  assert.deepEqual(await all(path), [rewrite(0)]);
  const second = await RewritesWriter.open(path, options);
  assert.ok(second.has("chatgpt", "id-0") && !second.has("chatgpt", "id-1"));
  await second.append([rewrite(1), rewrite(2)]);
  await second.finish();
  assert.deepEqual(await all(path), [rewrite(0), rewrite(1), rewrite(2)]);
});

test("a last line that lacks nothing but its line break is not lost: what is cut off does not count as done", async () => {
  const path = fresh();
  const first = await RewritesWriter.open(path, options);
  await first.append([rewrite(0), rewrite(1)]);
  first.close();
  const log = join(path, "log", "000000.jsonl");
  truncateSync(log, readFileSync(log).length - 1);
  const second = await RewritesWriter.open(path, options);
  assert.ok(second.has("chatgpt", "id-0"));
  for (const i of [0, 1, 2]) if (!second.has("chatgpt", `id-${i}`)) await second.append([rewrite(i)]);
  assert.equal(second.count, 3);
  await second.finish();
  assert.deepEqual(await all(path), [rewrite(0), rewrite(1), rewrite(2)]);
});

test("a log whose part was completed before the crash does not count twice", async () => {
  const path = fresh();
  const first = await RewritesWriter.open(path, options);
  await first.append([rewrite(0), rewrite(1)]);
  first.flush();
  const log = join(path, "log", "000000.jsonl");
  copyFileSync(log, join(temporary, "kept.jsonl"));
  await first.finish();
  copyFileSync(join(temporary, "kept.jsonl"), log);
  writeFileSync(join(path, "parts", "000001.parquet.tmp-1"), "half a part");
  assert.equal((await all(path)).length, 2);
  const second = await RewritesWriter.open(path, options);
  assert.equal(second.count, 2);
  assert.ok(!existsSync(log));
  await second.append([rewrite(2)]);
  await second.finish();
  assert.equal((await all(path)).length, 3);
  assert.deepEqual(readdirSync(join(path, "parts")), ["000000.parquet", "000001.parquet"]);
});

test("what was appended is in the log when the turn is over, without another call", async () => {
  const path = fresh();
  const writer = await RewritesWriter.open(path, options);
  await writer.append([rewrite(0), { ...rewrite(1), text: "line\u2028separators \u2029 stay" }]);
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.equal((await all(path))[1]!.text, "line\u2028separators \u2029 stay");
  writer.close();
  const second = await RewritesWriter.open(path, { ...options, sources: { chatgpt: source } });
  assert.equal(second.count, 2);
  assert.deepEqual([second.finished("chatgpt").count(), second.finished("chatgpt").has(1)], [2, true]);
  second.close();
});

test("rewrites that are added while a log becomes a part are not lost with it", async () => {
  const path = fresh();
  const writer = await RewritesWriter.open(path, { ...options, rowsPerPart: 3 });
  await Promise.all(Array.from({ length: 20 }, (_, i) => writer.append([rewrite(i)])));
  await writer.finish();
  assert.equal((await all(path)).length, 20);
});

test("a folder that another process took over while a log became a part loses nothing of what that one adds to the log", async (context) => {
  const path = fresh();
  const writer = await RewritesWriter.open(path, options);
  await writer.append([rewrite(0)]);
  const finishing = writer.finish();
  // Stood still for a minute, in which another machine has seen no heartbeat.
  rmSync(join(path, "lock"));
  writeFileSync(join(path, "lock"), JSON.stringify({ pid: 7, host: "another-machine", started: "1", token: "theirs" }));
  context.mock.timers.enable({ apis: ["Date"], now: Date.now() + 60_000 });
  await assert.rejects(finishing, /another process took it over/);
  assert.match(readFileSync(join(path, "log", "000000.jsonl"), "utf8"), /id-0/);
  assert.match(readFileSync(join(path, "lock"), "utf8"), /theirs/);
});

test("a start that goes on knows what each of many sources has written, from parts, logs and other sources' rows", async () => {
  const path = fresh();
  const names = Array.from({ length: 60 }, (_, i) => `eda-${i}`);
  const sources = Object.fromEntries(names.map((name) => [name, source]));
  const first = await RewritesWriter.open(path, { ...options, sources, rowsPerPart: 100 });
  const made = (name: number, i: number): boolean => (i * 31 + name) % 7 < 3;
  for (let i = 0; i < 10; i++) await first.append(names.filter((_, name) => made(name, i)).map((name) => rewrite(i, name)));
  first.close();
  for (const opened of [names, names.slice(55), names.slice(3, 4)]) {
    const second = await RewritesWriter.open(path, { ...options, sources: Object.fromEntries(opened.map((name) => [name, source])) });
    for (const name of opened)
      for (let i = 0; i < 10; i++) assert.equal(second.has(name, `id-${i}`), made(names.indexOf(name), i), `${name} ${i}`);
    second.close();
  }
});

test("a damaged part is named when the work is to go on, and nothing is changed", async () => {
  const path = fresh();
  const writer = await RewritesWriter.open(path, { ...options, rowsPerPart: 4 });
  for (let i = 0; i < 12; i++) await writer.append([rewrite(i)]);
  await writer.finish();
  const part = join(path, "parts", "000001.parquet");
  truncateSync(part, readFileSync(part).length - 100);
  await assert.rejects(RewritesWriter.open(path, options), (error) => error instanceof DataError && /000001\.parquet/.test(error.message));
  assert.deepEqual(readdirSync(join(path, "parts")), ["000000.parquet", "000001.parquet", "000002.parquet"]);
});

test("a damaged line in the middle of a log is refused, not skipped", async () => {
  const path = fresh();
  const writer = await RewritesWriter.open(path, options);
  await writer.append([rewrite(0)]);
  writer.close();
  appendFileSync(join(path, "log", "000000.jsonl"), '{"id": broken\n{"id":"x"}\n');
  await assert.rejects(all(path), (error) => error instanceof DataError && /line 2 is not valid JSON/.test(error.message));
});

test("a line of a log that is JSON but no rewrite is refused with its file and number", async () => {
  for (const [line, message] of [
    ['{"id":"x"}', /000000\.jsonl: line 2 is no rewrite: source: /],
    ["[]", /line 2 is no rewrite: the whole line: /],
    [JSON.stringify({ ...rewrite(1), flags: null }), /line 2 is no rewrite: flags: /],
    [JSON.stringify({ ...rewrite(1), examples: [7] }), /line 2 is no rewrite: examples\.0: /],
  ] as const) {
    const path = fresh();
    const writer = await RewritesWriter.open(path, options);
    await writer.append([rewrite(0)]);
    writer.close();
    appendFileSync(join(path, "log", "000000.jsonl"), `${line}\n`);
    const refused = (error: unknown): boolean => error instanceof DataError && message.test(error.message);
    await assert.rejects(all(path), refused);
    await assert.rejects(RewritesWriter.open(path, options), refused);
  }
});

test("other captions, seeds, prompts and models are refused, further sources are welcome", async () => {
  const path = fresh();
  (await RewritesWriter.open(path, { ...options, sources: { chatgpt: source } })).close();
  const changed = captions.map((row, i) => (i === 7 ? { ...row, caption: `${row.caption}!` } : row));
  await assert.rejects(RewritesWriter.open(path, { ...options, fingerprint: captionsFingerprint(changed) }), /belong to another data set/);
  const other = (change: Partial<RewriteSource>): Promise<unknown> =>
    RewritesWriter.open(path, { ...options, sources: { chatgpt: { ...source, ...change } } });
  await assert.rejects(other({ seed: 2 }), /made otherwise \(seed: "1" there, "2" now\)/);
  await assert.rejects(other({ promptHash: "q" }), /prompt or example pairs/);
  await assert.rejects(other({ model: "n", modelHash: "z" }), /model: "m" there, "n" now; model file/);
  await assert.rejects(other({ sampling: { temperature: 0.8 } }), /sampling/);
  const writer = await RewritesWriter.open(path, { ...options, sources: { human: { ...source, seed: 5 } } });
  writer.close();
  assert.deepEqual((await openRewritesFolder(path)).sources, ["chatgpt", "human"]);
});

test("a second writer is refused while the first is alive, and let in after it was killed", async () => {
  const path = fresh();
  const first = await RewritesWriter.open(path, options);
  await assert.rejects(RewritesWriter.open(path, options), /is being written by process/);
  first.close();
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const start = existsSync(`/proc/${child.pid}/stat`) ? readFileSync(`/proc/${child.pid}/stat`, "utf8") : "";
  const holder = {
    pid: child.pid,
    host: (await import("node:os")).hostname(),
    started: start.slice(start.lastIndexOf(")") + 2).split(" ")[19],
  };
  writeFileSync(join(path, "lock"), JSON.stringify(holder));
  await assert.rejects(RewritesWriter.open(path, options), new RegExp(`process ${child.pid}`));
  child.kill("SIGKILL");
  await new Promise((resolve) => child.once("exit", resolve));
  (await RewritesWriter.open(path, options)).close();
  assert.deepEqual(
    readdirSync(path).sort((a, b) => (a < b ? -1 : 1)),
    ["log", "manifest.json", "parts"],
  );
});

test("a folder with other files, a file, a later version and nonsense are refused", async () => {
  const path = fresh();
  mkdirSync(path);
  writeFileSync(join(path, "holiday.jpg"), "");
  await assert.rejects(RewritesWriter.open(path, options), /holds other files \("holiday\.jpg"\)/);
  await assert.rejects(RewritesWriter.open(join(path, "holiday.jpg"), options), /expected a folder/);
  await assert.rejects(openRewritesFolder(path), /no manifest\.json/);
  writeFileSync(join(path, "manifest.json"), '{"format":"laclip-rewrites","version":2}');
  await assert.rejects(openRewritesFolder(path), /version 2/);
  writeFileSync(join(path, "manifest.json"), '{"format":"laclip-rewrites","version":1}');
  await assert.rejects(openRewritesFolder(path), /dataset/);
});

test("the fingerprint of known captions is the one that folders hold", () => {
  const known = [
    { id: "1", caption: "a dog" },
    { id: "2", caption: "zwei Hünde 🐕" },
  ];
  assert.deepEqual(captionsFingerprint(known), { count: 2, hash: "f67cf3db9b6221578eb31289355484dac30d48e7d049a4f8abc23f157ce36fd0" });
});

test("the fingerprint does not depend on order, and notices another id, caption or count", () => {
  const whole = captionsFingerprint(captions);
  assert.deepEqual(captionsFingerprint(captions.toReversed()), whole);
  const [first, ...rest] = captions;
  assert.notEqual(captionsFingerprint([{ ...first!, id: "x" }, ...rest]).hash, whole.hash);
  assert.notEqual(captionsFingerprint([...captions, first!]).hash, whole.hash);
  assert.notEqual(
    captionsFingerprint(captions.map((row, i) => (i < 2 ? { ...row, caption: captions[1 - i]!.caption } : row))).hash,
    whole.hash,
  );
});

test("a hundred thousand keys are found again, others are not", () => {
  const keys = new HashedKeys(16);
  for (let i = 0; i < 100_000; i++) keys.set(`source\nid-${i}`, i);
  for (let i = 0; i < 100_000; i++) assert.equal(keys.get(`source\nid-${i}`), i);
  for (let i = 100_000; i < 200_000; i++) assert.ok(!keys.has(`source\nid-${i}`));
  assert.equal(keys.size, 100_000);
  assert.equal(keys.intern("source\nid-7"), 7);
  assert.equal(keys.intern("another"), 100_000);
  assert.equal(keys.intern("another"), 100_000);
  keys.set("another", 4);
  assert.deepEqual([keys.get("another"), keys.size], [4, 100_001]);
});

test("weights and fits survive log and part; parts of before there were any are read without", async () => {
  const path = fresh();
  const writer = await RewritesWriter.open(path, options);
  const [plain, weighed] = [rewrite(0), { ...rewrite(1), weight: 0.125, fit: -0.25, captionCosine: 0.5, captionWeight: 0.75 }];
  await writer.append([plain, weighed]);
  writer.flush();
  assert.deepEqual(await all(path), [plain, weighed]);
  await writer.finish();
  assert.deepEqual(await all(path), [plain, weighed]);
  const { weight: _weight, fit: _fit, captionCosine: _cosine, captionWeight: _captionWeight, ...before } = rewriteColumns;
  const part = join(path, "parts", "000000.parquet");
  const columns = Object.fromEntries(Object.keys(before).map((name) => [name, [plain[name as keyof typeof before]]]));
  await writeParquet(part, before, [{ rows: 1, columns }]);
  assert.deepEqual(await all(path), [plain]);
});

test("checks are no part of a rewrite unless what they reject is asked for again; a look at images is", async () => {
  const made = (change: Partial<RewriteSource>): RewriteSource => ({
    ...source,
    checks: { "too-short": { verdict: "reject", limit: [2] } },
    ...change,
  });
  const other: Partial<RewriteSource> = { checks: { "too-short": { verdict: "reject", limit: [3] } } };
  const reopen = async (first: Partial<RewriteSource>, second: Partial<RewriteSource>): Promise<string> => {
    const path = fresh();
    (await RewritesWriter.open(path, { ...options, sources: { chatgpt: made(first) } })).close();
    try {
      (await RewritesWriter.open(path, { ...options, sources: { chatgpt: made(second) } })).close();
      return "";
    } catch (error) {
      assert.ok(error instanceof DataError);
      return error.message;
    }
  };
  assert.equal(await reopen({}, other), "");
  assert.equal(await reopen({ retries: 2 }, other), "");
  assert.equal(await reopen({ retries: 2 }, { retries: 3 }), "");
  assert.match(await reopen({ retries: 2 }, { ...other, retries: 2 }), /checks that reject: "too-short 2" there, "too-short 3" now/);
  assert.equal(
    await reopen({ retries: 2 }, { retries: 2, checks: { "too-short": { verdict: "reject", limit: [2] }, arrow: { verdict: "flag" } } }),
    "",
  );
  assert.match(await reopen({ images: { policy: "keep", delta: 0.1 } }, {}), /look at the images/);
});

test("a log that is there is left alone when it can't be asked how long it is", async (t) => {
  const path = fresh();
  const first = await RewritesWriter.open(path, options);
  await first.append([rewrite(1)]);
  first.close();
  const second = await RewritesWriter.open(path, options);
  const own = fs.fstatSync;
  const use = (one: typeof own): void => {
    fs.fstatSync = one;
    syncBuiltinESMExports();
  };
  t.after(() => use(own));
  const failing = (): never => {
    throw Object.assign(new Error("EIO: as a disk says it"), { code: "EIO" });
  };
  use(failing);
  await second.append([rewrite(2)]);
  assert.throws(() => second.flush(), /EIO/);
  use(own);
  second.close();
  assert.deepEqual(
    (await all(path)).map(({ id }) => id),
    ["id-1", "id-2"],
  );
});
