import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { RewritesWriter, openRewritesFolder } from "../../data/index.ts";
import type { Rewrite, RewritesFolder } from "../../data/index.ts";
import { readTable } from "../../formats/index.ts";
import { DataError, UsageError } from "../../support/index.ts";
import { openCaptions } from "../captions/captions-input.ts";
import { exportLines, exportRows } from "./export-rewrites.ts";
import { rewritesStatistics } from "../statistics/statistics.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-export-"));
after(() => rmSync(folder, { recursive: true }));

const captions = join(folder, "captions.csv");
writeFileSync(captions, 'id,caption\n2,a cat\n1,"a dog,\nrunning"\n,\n3,a cow\n');
const source = { engine: "test", model: "m", modelHash: "", promptHash: "", provenance: "a test", sampling: {}, seed: 0 };
const rewrite = (id: string, name: string, text: string, flags: string[] = []): Rewrite => ({
  id,
  source: name,
  text,
  flags,
  finish: "stop",
  tokens: 3,
  seed: 5,
  examples: ["x/1", "x/2"],
});

async function prepare(): Promise<RewritesFolder> {
  const path = join(folder, `rewrites-${Math.random()}`);
  const input = await openCaptions(captions);
  const writer = await RewritesWriter.open(path, {
    dataset: "captions.csv",
    fingerprint: (await input.survey()).fingerprint,
    sources: { bard: source, human: source },
    createdWith: "test",
  });
  await writer.append([
    rewrite("1", "bard", 'one "dog", running'),
    rewrite("2", "bard", "x", ["rejected:too-short"]),
    rewrite("3", "bard", "the cow"),
    rewrite("1", "human", "One dog - running!"),
    rewrite("2", "human", "a cat sits"),
  ]);
  await writer.finish();
  return await openRewritesFolder(path);
}

test("lines stand in the order of the captions, with the original where there is no usable rewrite", async () => {
  const out = join(folder, "lines");
  const report = await exportLines(await prepare(), { captions: await openCaptions(captions), out });
  assert.deepEqual(report.originals, { bard: 2, human: 2 });
  assert.equal(report.lines, 4);
  assert.equal(readFileSync(join(out, "bard.txt"), "utf8"), 'a cat\none "dog", running\n\nthe cow\n');
  assert.equal(readFileSync(join(out, "human.txt"), "utf8"), "a cat sits\nOne dog - running!\n\na cow\n");
  assert.deepEqual(readdirSync(out), ["bard.txt", "human.txt"]);
});

test("lines for other captions are refused", async () => {
  const other = join(folder, "other.csv");
  writeFileSync(other, "id,caption\n1,a dog\n2,a cat\n");
  await assert.rejects(
    exportLines(await prepare(), { captions: await openCaptions(other), out: join(folder, "no") }),
    (error) => error instanceof DataError && /belong to another data set/.test(error.message),
  );
});

test("csv and jsonl rows are read back as they were", async () => {
  const rewrites = await prepare();
  for (const to of ["csv", "jsonl"] as const) {
    const out = join(folder, `rows.${to}`);
    assert.equal(await exportRows(rewrites, { to, out }), 5);
    const texts: unknown[] = [];
    for await (const batch of readTable(out, { columns: ["text", "source"] })) texts.push(...batch.columns["text"]!);
    assert.ok(texts.includes('one "dog", running'));
    assert.equal(texts.length, 5);
    for await (const { rows, columns } of readTable(out, { columns: ["weight"] }))
      assert.deepEqual(
        columns["weight"]!.map(Number),
        Array.from({ length: rows }, () => 1),
      );
  }
  assert.equal(await exportRows(rewrites, { to: "csv", out: join(folder, "human.csv"), sources: ["human"] }), 2);
});

test("a place that can't be written is an error about that place", async () => {
  writeFileSync(join(folder, "file"), "");
  await assert.rejects(
    exportRows(await prepare(), { to: "csv", out: join(folder, "none", "rows.csv") }),
    (error) => error instanceof UsageError && /rows\.csv: there is no folder .* to write it to/.test(error.message),
  );
  await assert.rejects(
    exportLines(await prepare(), { captions: await openCaptions(captions), out: join(folder, "file") }),
    (error) => error instanceof UsageError && /a file lies where a folder belongs/.test(error.message),
  );
});

test("statistics count what is usable, missing, flagged, and said twice", async () => {
  const { rewrites, sources } = await rewritesStatistics(await prepare());
  assert.equal(rewrites, 5);
  const [bard, human] = sources;
  assert.deepEqual([bard!.rewrites, bard!.usable, bard!.missing, bard!.flags], [3, 2, 1, { "rejected:too-short": 1 }]);
  assert.deepEqual([human!.usable, human!.missing, human!.duplicates], [2, 1, 1]);
  assert.equal(human!.meanWords, 3.5);
});
