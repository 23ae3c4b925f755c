import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HeldImages, RewritesWriter, captionsFingerprint, imageInput, openRewritesFolder } from "../../data/index.ts";
import type { Rewrite, RewritesFolder } from "../../data/index.ts";
import { DataError, InterruptedError, LaclipError, UsageError } from "../../support/index.ts";
import { openCaptions } from "../captions/captions-input.ts";
import { withSecondCaptions } from "../captions/second-captions.ts";
import { checkRewrites } from "./check-rewrites.ts";
import type { CheckRewritesOptions } from "./check-rewrites.ts";
import { rewritesByCaption } from "./rewrites-by-caption.ts";
import { defaultChecks, setCheck } from "./checks.ts";
import { builtInSources, fusionSource } from "../pairs/pairs.ts";
import { rewritesStatistics } from "../statistics/statistics.ts";
import type { ImagePolicy, ImageTextScorer } from "./image-policies.ts";

const temporary = mkdtempSync(join(tmpdir(), "laclip-check-"));
after(() => rmSync(temporary, { recursive: true }));

let places = 0;
const fresh = (): string => join(temporary, `place-${places++}`);

async function folderOf(
  captions: readonly { id: string; caption: string }[],
  rows: readonly (Pick<Rewrite, "id" | "source" | "text"> & Partial<Rewrite>)[],
  { prompt }: { prompt?: string } = {},
): Promise<RewritesFolder> {
  const path = fresh();
  const made = {
    engine: "test",
    model: "m",
    modelHash: "",
    promptHash: "",
    provenance: "a test",
    sampling: {},
    seed: 1,
    ...(prompt ? { prompt } : {}),
  };
  const writer = await RewritesWriter.open(path, {
    dataset: "captions",
    fingerprint: captionsFingerprint(captions),
    sources: Object.fromEntries([...new Set(rows.map(({ source }) => source))].map((source) => [source, made])),
    createdWith: "test",
    rowsPerPart: 50,
  });
  await writer.append(rows.map((row) => ({ flags: [], finish: "stop", tokens: 5, seed: 1, examples: ["x/1"], ...row })));
  await writer.finish();
  return await openRewritesFolder(path);
}

async function rowsOf(path: string): Promise<Rewrite[]> {
  const rows: Rewrite[] = [];
  for await (const batch of (await openRewritesFolder(path)).read()) rows.push(...batch);
  return rows.sort((a, b) => (`${a.id} ${a.source}` < `${b.id} ${b.source}` ? -1 : 1));
}

/** Names and contents of all files. */
function contents(path: string): string {
  const files = readdirSync(path, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(path, name)).isFile());
  return files
    .toSorted()
    .map(
      (name) =>
        `${name} ${createHash("sha256")
          .update(readFileSync(join(path, name)))
          .digest("hex")}`,
    )
    .join("\n");
}

const captions = [
  { id: "a", image: "a.jpg", caption: "a brown dog on green grass" },
  { id: "b", image: "b.jpg", caption: "two dogs in Prague" },
  { id: "c", image: "", caption: "a cat" },
];
const file = join(temporary, "captions.jsonl");
writeFileSync(file, captions.map((row) => `${JSON.stringify(row)}\n`).join(""));

async function check(folder: RewritesFolder, out: string, options: Partial<CheckRewritesOptions> = {}): ReturnType<typeof checkRewrites> {
  return await checkRewrites({ folder, captions: await openCaptions(file), out, createdWith: "test", ...options });
}

test("flags are found again, carried over, or dropped; nothing else changes, and the folder stays as it is", async () => {
  const rows = [
    { id: "a", source: "one", text: "dog", flags: ["length-ratio"] },
    { id: "a", source: "two", text: "A dog, brown, on the green grass", flags: ["same-as-caption", "regenerated"] },
    { id: "a", source: "three", text: "a DOG brown on the green grass" },
    { id: "b", source: "one", text: "two dogs somewhere", flags: ["rejected:control-characters", "caption-shortened"] },
    { id: "b", source: "two", text: "two dogs in Prague in town", flags: ["rejected:copies-example"], finish: "length", weight: 0.5 },
    { id: "c", source: "one", text: "one two three four five six", flags: ["of-another-program"] },
  ];
  const folder = await folderOf(captions, rows);
  const before = contents(folder.path);
  const out = fresh();
  const summary = await check(folder, out);
  const checked = await rowsOf(out);
  assert.deepEqual(
    checked.map(({ id, source, flags }) => [id, source, flags.join()]),
    [
      ["a", "one", "rejected:too-short,length-ratio"],
      ["a", "three", "duplicate"],
      ["a", "two", "regenerated"],
      ["b", "one", "rejected:control-characters,names-lost,caption-shortened"],
      ["b", "two", "rejected:copies-example,cut-at-limit"],
      ["c", "one", "length-ratio,few-shared-words,numbers-invented,of-another-program"],
    ],
  );
  const plain = (list: readonly Rewrite[]): unknown[] => list.map(({ flags: _flags, ...rest }) => rest);
  assert.deepEqual(plain(checked), plain(await rowsOf(folder.path)));
  assert.equal(contents(folder.path), before);
  assert.deepEqual([summary.rewrites, summary.usableBefore, summary.usable], [6, 4, 3]);
  assert.deepEqual(summary.sources["one"]!.usable, 1);
  assert.deepEqual((await openRewritesFolder(out)).manifest.sources["one"]!.checks!["too-short"], { verdict: "reject", limit: [2] });
});

test("what a second caption says is not made up where the two were merged, and it must be at hand", async () => {
  const text = "two dogs in Prague with 7 people from Rome";
  const folder = await folderOf(captions, [{ id: "b", source: "fusion", text }], { prompt: "fusion" });
  await assert.rejects(check(folder, fresh()), (error) => error instanceof UsageError && /merged of two captions/.test(error.message));
  const table = join(temporary, "seconds.jsonl");
  const second = (id: string): string => (id === "b" ? "7 people walk in Rome" : "");
  writeFileSync(table, captions.map((row) => `${JSON.stringify({ ...row, blip: second(row.id) })}\n`).join(""));
  const [out, input] = [fresh(), await openCaptions(table, { secondColumn: "blip" })];
  await check(folder, out, { captions: input });
  assert.deepEqual((await rowsOf(out))[0]!.flags, []);
  const { sources } = await rewritesStatistics(folder, { captions: input });
  assert.deepEqual(sources[0]!.measures!["names-invented"], { mean: 0, texts: 1 });
  assert.deepEqual(sources[0]!.measures!["numbers-invented"], { mean: 0, texts: 1 });
});

test("copies of example pairs are found in each built-in source, also in one that was written beside another", async () => {
  const [merged] = fusionSource.triples!;
  const [pair] = builtInSources[0]!.pairs!;
  const folder = await folderOf(captions, [
    { id: "a", source: "fusion", text: merged!.at(-1)! },
    { id: "a", source: "chatgpt.hot", text: pair![1] },
  ]);
  const out = fresh();
  await check(folder, out);
  for (const { source, flags } of await rowsOf(out)) assert.ok(flags.includes("rejected:copies-example"), source);
});

test("many captions are dealt into small files and come out the same", async () => {
  const many = Array.from({ length: 300 }, (_, i) => ({ id: `n${i}`, caption: `dog number ${i} on the grass` }));
  const rows = many.flatMap(({ id }, i) => [
    { id, source: "two", text: `grass with dog ${i}` },
    { id, source: "one", text: i % 3 === 0 ? `grass with dog ${i}` : `"grüne" Wiese\t${i % 7}\u2028und mehr` },
  ]);
  const table = join(temporary, "many.jsonl");
  writeFileSync(
    table,
    many
      .toReversed()
      .map((row) => `${JSON.stringify(row)}\n`)
      .join(""),
  );
  const folder = await folderOf(many, rows);
  const options = { captions: await openCaptions(table) };
  const [whole, dealt] = [fresh(), fresh()];
  await check(folder, whole, options);
  await check(folder, dealt, { ...options, captionsAtOnce: 20 });
  assert.deepEqual(await rowsOf(dealt), await rowsOf(whole));
  // Sources stand in the manifest's order: "two" was there first, so "one" repeats it.
  assert.equal((await rowsOf(dealt)).filter(({ source, flags }) => source === "one" && flags.includes("duplicate")).length, 100);
  assert.ok(!existsSync(join(dealt, "working")));
});

/** Cosines by the text: a stand-in for a model, whose own test is in evaluation. */
class TableScorer implements ImageTextScorer {
  readonly model = "table";
  readonly modelHash = "1";
  constructor(
    readonly cosines: Readonly<Record<string, number>>,
    readonly onScore: () => void = () => {},
  ) {}
  async score(items: Parameters<ImageTextScorer["score"]>[0]): ReturnType<ImageTextScorer["score"]> {
    this.onScore();
    return items.map(({ image, texts }) =>
      image.endsWith("b.jpg") ? { unreadable: `${image}: gone` } : { cosines: texts.map((text) => this.cosines[text]!) },
    );
  }
}

const imageRows = [
  { id: "a", source: "one", text: "a dog in the grass" },
  { id: "a", source: "two", text: "a wet dog in the grass", weight: 0.3, flags: ["rejected:unlike-image"] },
  { id: "a", source: "three", text: "a dog and a cat" },
  { id: "a", source: "four", text: "dog" },
  { id: "b", source: "one", text: "two dogs in Prague today" },
];
const scorer = new TableScorer({
  "a brown dog on green grass": 0.3,
  "a dog in the grass": 0.32,
  "a wet dog in the grass": 0.26,
  "a dog and a cat": 0.2,
});

for (const [policy, expected] of [
  [
    { kind: "keep", delta: 0.05 },
    { one: 1, two: 1, three: "rejected:unlike-image" },
  ],
  [
    { kind: "best-of", count: 1 },
    { one: 1, two: "rejected:not-among-best", three: "rejected:not-among-best" },
  ],
  [
    { kind: "down-weight", softness: 0.1 },
    { one: 1, two: 0.6703, three: 0.3679 },
  ],
] as const satisfies readonly (readonly [ImagePolicy, Record<string, unknown>])[]) {
  test(`the policy ${policy.kind} does what it says, and what an earlier one did is gone`, async () => {
    const out = fresh();
    const summary = await check(await folderOf(captions, imageRows), out, { comparison: { scorer, policy, maximumSkipped: 1 } });
    const rows = await rowsOf(out);
    const found = rows.filter(({ id, source }) => id === "a" && source !== "four");
    assert.deepEqual(
      Object.fromEntries(
        found.map(({ source, flags, weight = 1 }) => [source, flags.find((flag) => flag.startsWith("rejected:")) ?? weight]),
      ),
      expected,
    );
    // Rejected for its words, it is not compared; an image that can't be read changes nothing.
    assert.deepEqual(rows.find(({ source }) => source === "four")!.flags, ["rejected:too-short", "length-ratio"]);
    assert.deepEqual(rows.find(({ id }) => id === "b")!.flags, []);
    const { images, unreadable, compared } = summary.images!;
    assert.deepEqual([images, unreadable, compared], [1, 1, 3]);
    assert.ok(Math.abs(summary.images!.fits[3]! + 0.04) < 1e-9, "the middle one of -0.1, -0.04 and 0.02");
    const { model, policy: kind } = (await openRewritesFolder(out)).manifest.sources["one"]!.images!;
    assert.deepEqual([model, kind], ["table", policy.kind]);
  });
}

test("another policy takes what was measured, without a model; where nothing was, it is refused", async () => {
  const [weighed, kept, direct] = [fresh(), fresh(), fresh()];
  const folder = await folderOf(captions, imageRows);
  await check(folder, weighed, { comparison: { scorer, policy: { kind: "down-weight", softness: 0.1 }, maximumSkipped: 1 } });
  const keep = { kind: "keep", delta: 0.05 } as const;
  await check(await openRewritesFolder(weighed), kept, { comparison: { policy: keep } });
  await check(folder, direct, { comparison: { scorer, policy: keep, maximumSkipped: 1 } });
  assert.deepEqual(await rowsOf(kept), await rowsOf(direct));
  assert.deepEqual(
    (await openRewritesFolder(kept)).manifest.sources["one"]!.images,
    (await openRewritesFolder(direct)).manifest.sources["one"]!.images,
  );
  const fits = Object.fromEntries((await rowsOf(kept)).map(({ id, source, fit }) => [`${id} ${source}`, fit]));
  assert.deepEqual(fits, { "a one": 0.02, "a two": -0.04, "a three": -0.1, "a four": undefined, "b one": undefined });
  await assert.rejects(async () => await check(folder, fresh(), { comparison: { policy: keep } }), UsageError);
});

test("without a look at images, weights and flags of an earlier one stay", async () => {
  const [weighed, again] = [fresh(), fresh()];
  const comparison = { scorer, policy: { kind: "down-weight", softness: 0.1 }, maximumSkipped: 1 } as const;
  await check(await folderOf(captions, imageRows), weighed, { comparison });
  await check(await openRewritesFolder(weighed), again);
  assert.deepEqual(await rowsOf(again), await rowsOf(weighed));
  assert.equal((await openRewritesFolder(again)).manifest.sources["one"]!.images!["policy"], "down-weight");
});

test("a row of a parquet file without its image has none, though a file is called as it says; also where captions are dealt", async () => {
  const table = join(temporary, "held.parquet");
  writeFileSync(join(temporary, "c.jpg"), "not that one");
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const connection = await (await DuckDBInstance.create()).connect();
  const values = captions.map(({ id, caption }) => `('${id}', ${id === "c" ? "NULL" : `'${id}'::BLOB`}, '${caption}')`).join(", ");
  const columns = "id, {'bytes': bytes, 'path': id || '.jpg'} AS image, caption";
  await connection.run(`COPY (SELECT ${columns} FROM (VALUES ${values}) rows(id, bytes, caption)) TO '${table}'`);
  connection.closeSync();
  const texts = captions.map(({ id, caption }) => ({ id, source: "one", text: `${caption} there` }));
  const folder = await folderOf(captions, texts);
  const withSeconds = await withSecondCaptions(await openCaptions(table), folder, "one");
  for await (const batch of withSeconds.rowsWithImages!(new HeldImages()))
    for (const { id, second } of batch) assert.equal(second, texts.find((one) => one.id === id)!.text);
  for await (const batch of (await openCaptions(table, { secondColumn: "id" })).rowsWithImages!(new HeldImages()))
    for (const { id, second } of batch) assert.equal(second, id);
  for (const captionsAtOnce of [100, 1]) {
    const seen: string[] = [];
    const score: ImageTextScorer["score"] = async (items) => {
      for (const { source } of items) seen.push(String(await imageInput(source!)));
      return items.map(() => ({ cosines: [0.2, 0.3] }));
    };
    const { images } = await check(folder, fresh(), {
      captions: await openCaptions(table),
      comparison: { policy: { kind: "keep", delta: 0.05 }, scorer: { model: "m", modelHash: "1", score }, maximumSkipped: 0.5 },
      captionsAtOnce,
    });
    assert.deepEqual(seen.toSorted(), ["a", "b"]);
    assert.deepEqual([images!.images, images!.unreadable], [2, 1]);
  }
});

test("too many unreadable images end the work", async () => {
  const comparison = { scorer, policy: { kind: "keep", delta: 0.1 } } as const;
  await assert.rejects(
    async () => await check(await folderOf(captions, imageRows), fresh(), { comparison }),
    (error) => error instanceof DataError && /1 of 3 images can't be read.*b\.jpg: gone/s.test(error.message),
  );
});

test("stopped anywhere, it goes on and ends as if it had not been", async () => {
  const many = Array.from({ length: 3000 }, (_, i) => ({ id: `n${i}`, image: "a.jpg", caption: `dog number ${i} on the grass` }));
  const table = join(temporary, "stopped.jsonl");
  writeFileSync(table, many.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const folder = await folderOf(
    many,
    many.map(({ id }, i) => ({ id, source: "one", text: `grass with dog ${i}` })),
  );
  const stop = new AbortController();
  const cosines = Object.fromEntries(
    many.flatMap(({ caption }, i) => [
      [caption, 0.3],
      [`grass with dog ${i}`, i / 3000],
    ]),
  );
  const policy = { kind: "down-weight", softness: 0.1 } as const;
  const options = { captions: await openCaptions(table), captionsAtOnce: 500 };
  const [whole, stopped] = [fresh(), fresh()];
  await check(folder, whole, { ...options, comparison: { scorer: new TableScorer(cosines), policy } });
  let rounds = 0;
  const scorerThatStops = new TableScorer(cosines, () => ++rounds === 3 && stop.abort());
  await assert.rejects(
    async () => await check(folder, stopped, { ...options, comparison: { scorer: scorerThatStops, policy }, signal: stop.signal }),
    InterruptedError,
  );
  const part = (await rowsOf(stopped)).length;
  assert.ok(part > 0 && part < 3000, String(part));
  const summary = await check(folder, stopped, { ...options, comparison: { scorer: new TableScorer(cosines), policy } });
  assert.deepEqual([summary.kept, summary.rewrites], [part, 3000 - part]);
  assert.deepEqual(await rowsOf(stopped), await rowsOf(whole));
});

test("other settings, the folder itself and other captions are refused", async () => {
  const folder = await folderOf(captions, imageRows);
  const out = fresh();
  await check(folder, out);
  const refused = async (options: Partial<CheckRewritesOptions>, kind: typeof LaclipError, says: RegExp): Promise<void> => {
    await assert.rejects(
      async () => await check(folder, options.out ?? out, options),
      (error) => error instanceof kind && says.test(error.message),
    );
  };
  await refused({ checks: setCheck(defaultChecks, "too-short=3") }, DataError, /made with other checks/);
  await refused({ comparison: { scorer, policy: { kind: "keep", delta: 0.1 } } }, DataError, /another look at the images/);
  await refused({ out: folder.path }, UsageError, /is the folder that is to be checked/);
  const other = join(temporary, "other.csv");
  writeFileSync(other, "id,caption\nx,a house\n");
  await refused({ out: fresh(), captions: await openCaptions(other) }, DataError, /belong to another data set/);
});

test("left early, no small file stays open", { skip: process.platform !== "linux" && "needs /proc" }, async () => {
  // So many, and so long, that a small file is not read to its end while its first captions are looked at.
  const many = Array.from({ length: 10_000 }, (_, i) => ({ id: `id-${i}`, caption: `a dog ${i} ${"in the grass ".repeat(10)}` }));
  const folder = await folderOf(
    many,
    many.map(({ id }) => ({ id, source: "human", text: "a dog" })),
  );
  const [table, working] = [`${fresh()}.csv`, fresh()];
  writeFileSync(table, `id,caption\n${many.map(({ id, caption }) => `${id},${caption}`).join("\n")}\n`);
  const open = (): string[] =>
    readdirSync("/proc/self/fd").flatMap((file) => {
      try {
        const path = readlinkSync(join("/proc/self/fd", file));
        return path.startsWith(working) ? [path] : [];
      } catch {
        return []; // the folder's own
      }
    });
  for await (const _ of rewritesByCaption(folder, await openCaptions(table), { captionsAtOnce: 8000, working })) {
    await sleep(100);
    assert.equal(open().length, 1);
    break;
  }
  // The system closes it when it comes to that; a minute is more than any machine takes.
  for (let i = 0; i < 600 && open().length > 0; i++) await sleep(100);
  assert.deepEqual(open(), []);
});
