/** Shards: which one a process is to do, that together they are the whole, and what a merge and a verification find wrong. */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { RewritesWriter, openRewritesFolder, rewriteColumns } from "../../data/index.ts";
import type { Rewrite } from "../../data/index.ts";
import { writeParquet } from "../../formats/index.ts";
import { DataError, InterruptedError, UsageError, setLogLevel } from "../../support/index.ts";
import {
  EdaEngine,
  checkRewrites,
  chooseShard,
  mergeShards,
  openCaptions,
  refuseOtherCut,
  rewriteCaptions,
  shardFolder,
  verifyRewrites,
} from "../index.ts";
import type { RewriteOptions, RewriteSummary } from "../index.ts";
import { shardRows } from "./shards.ts";

setLogLevel("quiet");
const folder = mkdtempSync(join(tmpdir(), "laclip-shards-"));
after(() => rmSync(folder, { recursive: true }));
let places = 0;
const place = (name: string): string => join(folder, `${places++}-${name}`);

function captionsFile(count: number, word = "dog"): string {
  const path = place("captions.csv");
  // Empty captions and repeated rows have no place among the captions that shards are cut from.
  const rows = Array.from({ length: count }, (_, i) => `id-${i},a photo of a big ${word} number ${i} on the grass`);
  writeFileSync(path, `id,caption\n${rows.join("\n")}\nempty,\n${rows[0]}\n`);
  return path;
}
const captions = captionsFile(100);

async function write(out: string, change: Partial<RewriteOptions> = {}, file = captions): Promise<RewriteSummary> {
  const input = await openCaptions(file);
  return await rewriteCaptions({ captions: input, engine: new EdaEngine(), sources: [], seed: 1, createdWith: "test", out, ...change });
}

async function writeShards(out: string, numbers: readonly number[], of: number, change: Partial<RewriteOptions> = {}): Promise<void> {
  for (const number of numbers) await write(shardFolder(out, { number, of }), { shard: { number, of }, ...change });
}

async function rows(path: string): Promise<Rewrite[]> {
  const all: Rewrite[] = [];
  for await (const batch of (await openRewritesFolder(path)).read()) all.push(...batch);
  return all.sort((a, b) => (a.id + a.source < b.id + b.source ? -1 : 1));
}

const merge = async (shards: readonly string[], out: string, partial = false): ReturnType<typeof mergeShards> =>
  await mergeShards({ shards, out, partial, createdWith: "test", rowsPerPart: 60 });

test("the shard is told by numbers, by the variables of a Slurm array, or by those of a Kubernetes Indexed Job", () => {
  const chosen = (text: string, environment: Record<string, string> = {}): string => {
    const { number, of } = chooseShard(text, environment);
    return `${number}/${of}`;
  };
  const slurm = { SLURM_ARRAY_TASK_ID: "7", SLURM_ARRAY_TASK_COUNT: "4", SLURM_ARRAY_TASK_MIN: "5", SLURM_ARRAY_TASK_MAX: "8" };
  assert.equal(chosen("3/16", slurm), "3/16");
  assert.equal(chosen("auto", slurm), "3/4");
  assert.equal(chosen("auto", { ...slurm, SLURM_ARRAY_TASK_MIN: "1", SLURM_ARRAY_TASK_MAX: "7", SLURM_ARRAY_TASK_STEP: "2" }), "4/4");
  assert.equal(chosen("auto/16", slurm), "8/16");
  assert.equal(chosen("auto/16", { JOB_COMPLETION_INDEX: "0" }), "1/16");
  assert.equal(chosen("auto", { JOB_COMPLETION_INDEX: "15", JOB_COMPLETIONS: "16" }), "16/16");
  assert.match(chooseShard("auto", slurm).from, /SLURM_ARRAY_TASK_ID=7, SLURM_ARRAY_TASK_COUNT=4/);
  const refused: readonly [RegExp, string, Record<string, string>?][] = [
    [/expected number\/count/, "3"],
    [/expected number\/count/, "3/16/2"],
    [/expected number\/count/, "-1/16"],
    [/counted from 1/, "0/16"],
    [/counted from 1/, "17/16"],
    [/1 to 1000000 shards/, "1/0"],
    [/neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX/, "auto"],
    [/Kubernetes does not tell/, "auto", { JOB_COMPLETION_INDEX: "3" }],
    [/out of range/, "auto/2", { JOB_COMPLETION_INDEX: "2" }],
    [/expected a whole number/, "auto/2", { JOB_COMPLETION_INDEX: "x" }],
    [/with gaps/, "auto", { ...slurm, SLURM_ARRAY_TASK_COUNT: "2" }],
    [/SLURM_ARRAY_TASK_COUNT and/, "auto", { SLURM_ARRAY_TASK_ID: "1" }],
  ];
  for (const [message, text, environment = {}] of refused) {
    assert.throws(
      () => chooseShard(text, environment),
      (error) => error instanceof UsageError && message.test(error.message),
      text,
    );
  }
});

test("the ranges of all shards are the whole, each caption once, also where there are more shards than captions", () => {
  for (const [of, total] of [
    [1, 10],
    [3, 10],
    [16, 5],
    [7, 0],
    [8000, 400_000_001],
  ] as const) {
    let next = 0;
    for (let number = 1; number <= of; number++) {
      const { from, to } = shardRows({ number, of }, total);
      assert.equal(from, next);
      assert.ok(to - from >= Math.floor(total / of) && to - from <= Math.ceil(total / of));
      next = to;
    }
    assert.equal(next, total);
  }
});

test("merged shards hold what one process writes, and merging again changes nothing", async () => {
  const [out, whole, merged] = [place("out"), place("whole"), place("merged")];
  await write(whole, { rounds: 2 });
  await writeShards(out, [3, 1, 2], 3, { rounds: 2 });
  const report = await merge([out], merged);
  assert.deepEqual(report, {
    out: merged,
    dataset: report.dataset,
    shards: 3,
    of: 3,
    rewrites: 200,
    sources: { eda: 100, "eda-2": 100 },
    missing: { eda: 0, "eda-2": 0 },
  });
  assert.deepEqual(await rows(merged), await rows(whole));
  const { manifest } = await openRewritesFolder(merged);
  assert.equal(manifest.shard, undefined);
  assert.deepEqual(manifest.sources, (await openRewritesFolder(whole)).manifest.sources);

  const contents = (): Map<string, Buffer> =>
    new Map(readdirSync(join(merged, "parts")).map((name) => [name, readFileSync(join(merged, "parts", name))]));
  const before = contents();
  assert.ok(before.size > 1);
  // Named one by one and in another order, and each twice.
  await merge([shardFolder(out, { number: 2, of: 3 }), out], merged);
  assert.deepEqual(contents(), before);
  const input = await openCaptions(captions);
  assert.deepEqual((await verifyRewrites(merged, { captions: input })).faults, []);
  assert.deepEqual((await verifyRewrites(out, { captions: input })).faults, []);
  assert.deepEqual((await verifyRewrites(out)).faults, []);
  // The merged folder is an ordinary one: another run finds everything done.
  assert.equal((await write(merged, { rounds: 2 })).kept, 200);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith(".")),
    [],
  );
});

test("what does not belong together is refused and named, and nothing is written", async () => {
  const [out, merged] = [place("out"), place("merged")];
  await writeShards(out, [1, 2], 3);
  await assert.rejects(merge([out], merged), /1 of 3 shards are not there: 3\./);
  const third = shardFolder(out, { number: 3, of: 3 });
  await assert.rejects(write(third, { shard: { number: 3, of: 3 }, seed: 2 }), /seed: "1" there, "2" now/);
  await assert.rejects(write(third, { shard: { number: 3, of: 3 } }, captionsFile(100, "cat")), /the captions are others/);
  const elsewhere = place("elsewhere");
  const other = shardFolder(elsewhere, { number: 3, of: 3 });
  const cases: readonly [RegExp, Partial<RewriteOptions>, string?][] = [
    [/seed: "1" there, "2" now/, { seed: 2 }],
    [/a shard of .*fingerprint/, {}, captionsFile(100, "cat")],
    [/different --limit/, { limit: 50 }],
  ];
  for (const [message, change, file] of cases) {
    await write(other, { shard: { number: 3, of: 3 }, ...change }, file);
    await assert.rejects(merge([out, other], merged), message);
    assert.ok(!existsSync(merged));
    rmSync(elsewhere, { recursive: true });
  }
  await write(other, { shard: { number: 3, of: 3 } });
  cpSync(other, third, { recursive: true });
  await assert.rejects(merge([out, other], merged), /is there twice/);
  await merge([out], merged);

  const whole = place("whole");
  await write(whole);
  await assert.rejects(merge([whole], place("merged")), /not a shard/);
  await assert.rejects(merge([out], whole), /not what an earlier merge left/);
  assert.equal((await rows(whole)).length, 100);
  await assert.rejects(merge([place("nothing")], merged), /no such rewrites folder/);
  await assert.rejects(openRewritesFolder(out), (error) => error instanceof DataError && /merge/.test(error.mend!));
  assert.throws(() => refuseOtherCut(out, { of: 4 }), UsageError);
  assert.throws(() => refuseOtherCut(whole, { of: 4 }), DataError);
  refuseOtherCut(out, { of: 3 });
});

test("a shard that was stopped halfway is missing rewrites; with partial it is merged as far as it came", async () => {
  const [out, merged] = [place("out"), place("merged")];
  await writeShards(out, [1], 2);
  const stop = new AbortController();
  class Stopping extends EdaEngine {
    override async *rewrite(...args: Parameters<EdaEngine["rewrite"]>): ReturnType<EdaEngine["rewrite"]> {
      let count = 0;
      for await (const outcome of super.rewrite(...args)) {
        yield outcome;
        if (++count === 20) stop.abort();
      }
    }
  }
  const second = shardFolder(out, { number: 2, of: 2 });
  await assert.rejects(writeShards(out, [2], 2, { engine: new Stopping(), signal: stop.signal }), InterruptedError);
  await assert.rejects(merge([out], merged), /0002-of-0002: \d+ rewrites from eda are missing/);
  assert.equal((await verifyRewrites(out)).faults.length, 1);
  const done = (await rows(second)).length;
  assert.ok(done >= 20 && done < 50);
  assert.deepEqual((await merge([out], merged, true)).missing, { eda: 50 - done });
  assert.equal((await rows(merged)).length, 50 + done);
  // Later, when all is there, the same folder is replaced.
  await writeShards(out, [2], 2);
  assert.equal((await merge([out], merged)).rewrites, 100);
  // But not when somebody has written into it since.
  await write(merged, { rounds: 2 });
  await assert.rejects(merge([out], merged), /not what an earlier merge left/);
  assert.equal((await rows(merged)).length, 200);
});

test("a shard is not begun again as another part of the data set", async () => {
  const out = place("out");
  await writeShards(out, [1], 2);
  const first = shardFolder(out, { number: 1, of: 2 });
  await assert.rejects(write(first), /begun for shard 1\/2 \(captions 1 to 50\), not for all/);
  await assert.rejects(write(first, { shard: { number: 1, of: 2 }, limit: 50 }), /captions 1 to 25/);
});

test("verification lists everything that is wrong at once", async () => {
  const input = await openCaptions(captions);
  const out = place("out");
  await writeShards(out, [1, 2, 3], 3, { rowsPerPart: 10 });
  const part = (number: number, name: string): string => join(shardFolder(out, { number, of: 3 }), "parts", name);
  writeFileSync(part(1, "000000.parquet"), readFileSync(part(1, "000000.parquet")).subarray(0, 300));
  cpSync(part(2, "000001.parquet"), part(2, "000009.parquet"));
  renameSync(part(3, "000002.parquet"), part(2, "000010.parquet"));
  const { faults, sources, mends } = await verifyRewrites(out, { captions: input });
  const said = faults.join("\n");
  assert.match(mends.join("\n"), /^Delete .*0001-of-0003\/parts\/000000\.parquet, then start the same `laclip rewrite` again/m);
  assert.match(mends.join("\n"), /^Delete .*0002-of-0003\/parts\/000009\.parquet, a copy/m);
  assert.match(mends.at(-1)!, /^What is missing is written by starting/);
  assert.match(said, /0001-of-0003\/parts\/000000\.parquet: this table can't be read/);
  assert.match(said, /0002-of-0003\/parts\/000009\.parquet: 10 of its 10 rewrites are there twice, such as that of "id-\d+" from eda\./);
  assert.match(said, /0002-of-0003: a rewrite of "id-\d+", which belongs to another shard/);
  assert.match(said, /and 5 more of the same kind \(other shard\)/);
  assert.match(said, /20 of 100 captions have no rewrite from eda, such as "id-\d+", "id-\d+", "id-\d+"/);
  assert.equal(sources["eda"]!.missing, 20);
  await assert.rejects(merge([out], place("merged")), DataError);

  const others = await openCaptions(captionsFile(50, "cat"));
  const whole = place("whole");
  await write(whole);
  await assert.rejects(
    verifyRewrites(whole, { captions: others }),
    (error) => error instanceof DataError && /another data set/.test(error.message),
  );
  const some = await openCaptions(captionsFile(20));
  await assert.rejects(
    verifyRewrites(out, { captions: some }),
    (error) => error instanceof DataError && /another data set/.test(error.message),
  );
  await assert.rejects(verifyRewrites(place("nothing")), DataError);
  assert.deepEqual((await verifyRewrites(whole, { captions: input })).faults, []);
  assert.deepEqual((await verifyRewrites(whole)).faults, []);
  const trial = place("trial");
  await write(trial, { limit: 10 });
  assert.deepEqual((await verifyRewrites(trial, { captions: input })).faults, []);
  assert.deepEqual((await verifyRewrites(trial)).faults, []);
  const writer = await RewritesWriter.open(whole, {
    dataset: "x",
    fingerprint: (await input.survey()).fingerprint,
    sources: { more: { ...(await openRewritesFolder(whole)).manifest.sources["eda"]! } },
    createdWith: "test",
  });
  await writer.finish();
  assert.match((await verifyRewrites(whole)).faults.join("\n"), /100 of 100 captions have no rewrite from more/);
});

test("a part that repeats some rewrites and holds others is not called a copy, and its others are not lost", async () => {
  const [out, checked] = [place("out"), place("checked")];
  await write(out);
  const part = (name: string): string => join(out, "parts", `${name}.parquet`);
  // Of 100 rewrites, one is in a part of its own, before all of them.
  const [first] = await rows(out);
  renameSync(part("000000"), part("000001"));
  const columns = Object.fromEntries(Object.keys(rewriteColumns).map((name) => [name, [first![name as keyof Rewrite] ?? null]]));
  await writeParquet(part("000000"), rewriteColumns, [{ rows: 1, columns }]);
  const { faults, mends } = await verifyRewrites(out);
  assert.match(faults.join("\n"), /000001\.parquet: 1 of its 100 rewrites are there twice/);
  assert.doesNotMatch(mends.join("\n"), /Delete|copy/);
  assert.match(mends[0]!, /^Keep .*000001\.parquet: not all of it is there twice\. `laclip rewrites check .* --out FOLDER`/);
  const input = await openCaptions(captions);
  await checkRewrites({ folder: await openRewritesFolder(out), captions: input, out: checked, createdWith: "test" });
  assert.deepEqual((await verifyRewrites(checked, { captions: input })).faults, []);
  assert.equal((await rows(checked)).length, 100);
});

test("a stray first shard is named as the one that does not fit, and hides nothing of the others", async () => {
  const [out, elsewhere] = [place("out"), place("elsewhere")];
  const cats = captionsFile(100, "cat");
  await writeShards(out, [2, 3], 3);
  await write(shardFolder(elsewhere, { number: 1, of: 3 }), { shard: { number: 1, of: 3 } }, cats);
  cpSync(shardFolder(elsewhere, { number: 1, of: 3 }), shardFolder(out, { number: 1, of: 3 }), { recursive: true });
  for (const file of [captions, undefined]) {
    const report = await verifyRewrites(out, file === undefined ? {} : { captions: await openCaptions(file) });
    const said = report.faults.join("\n");
    assert.match(said, /0001-of-0003: a shard of .*; .*0002-of-0003 is one of/);
    assert.match(said, /1 of 3 shards are not there: 1\./);
    assert.equal(report.rewrites, 67);
    assert.match(report.mends.join("\n"), /^Keep only shards of one run in the folder/m);
  }
  const input = await openCaptions(cats);
  assert.match((await verifyRewrites(out, { captions: input })).faults.join("\n"), /0002-of-0003: a shard of .*; .*0001-of-0003 is one of/);
  const others = await openCaptions(captionsFile(50, "cat"));
  await assert.rejects(verifyRewrites(out, { captions: others }), /another data set/);
});
