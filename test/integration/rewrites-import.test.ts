/** Texts of others in a rewrites folder: LaCLIP's line files, tables with ids, and what this program itself has exported. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openRewritesFolder } from "../../src/data/index.ts";
import { exportLines, exportRows, importRewrites, openCaptions, verifyRewrites } from "../../src/rewriting/index.ts";
import type { ImportOptions, ImportReport } from "../../src/rewriting/index.ts";
import { DataError, InterruptedError, UsageError } from "../../src/support/index.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-import-"));
after(() => rmSync(folder, { recursive: true }));

const write = (name: string, content: string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const captions = write(
  "captions.csv",
  'id,caption\n7,a brown dog runs\n8,\n9,a cat sleeps on a sofa\n7,a brown dog runs\n10,"boats, at sea"\n',
);

let folders = 0;
async function bring(texts: string[], options: Partial<ImportOptions> = {}): Promise<ImportReport> {
  const out = join(folder, `rewrites-${folders++}`);
  return await importRewrites({
    texts,
    captions: await openCaptions(captions),
    out,
    source: "chatgpt",
    provenance: "published",
    createdWith: "test",
    ...options,
  });
}

async function textsIn(path: string): Promise<Record<string, string>> {
  const texts = await (await openRewritesFolder(path)).texts();
  return Object.fromEntries(Array.from(texts, ([id, found]) => [id, found.map(({ source, text }) => `${source}: ${text}`).join("; ")]));
}

async function refuses(work: Promise<unknown>, pattern: RegExp): Promise<void> {
  await assert.rejects(work, (error) => error instanceof DataError && pattern.test(error.message));
}

test("lines belong to captions by their number, through the checks, several files in a row, once however often", async () => {
  const [one, two] = [write("one.txt", "the brown dog is running\nfor nobody\r\n"), write("two.txt", "x\nanother for the dog\n\n")];
  const report = await bring([one, two]);
  assert.deepEqual(
    { ...report, flags: undefined },
    { out: report.out, source: "chatgpt", captions: 3, written: 2, kept: 0, rejected: 1, missing: 1, flags: undefined },
  );
  assert.equal(report.flags["rejected:too-short"], 1);
  assert.deepEqual(await textsIn(report.out), { 7: "chatgpt: the brown dog is running" });
  const { manifest } = await openRewritesFolder(report.out);
  assert.equal(manifest.sources["chatgpt"]!.provenance, "published");
  assert.equal(manifest.sources["chatgpt"]!.model, "one.txt, two.txt");
  // A caption that is there twice has one rewrite: only the one without a text is missing.
  assert.equal((await verifyRewrites(report.out)).sources["chatgpt"]!.missing, 1);

  const again = await bring([one, two], { out: report.out });
  assert.deepEqual([again.written, again.kept], [0, 2]);
  await refuses(bring([one, write("other.txt", "a\nb\nc\n")], { out: report.out }), /made otherwise/);
  await assert.rejects(
    bring([one, two], { out: report.out, provenance: "found" }),
    (error) => error instanceof UsageError && /provenance of "chatgpt" is "published" there, "found" now/.test(error.message),
  );
  const beside = await bring([one, write("bard.txt", "a\nb\nthe boats are at sea\n")], { out: report.out, source: "bard" });
  assert.equal(beside.written, 3);
  assert.deepEqual(Object.keys((await openRewritesFolder(report.out)).manifest.sources), ["chatgpt", "bard"]);
});

test("other numbers of lines are refused with both, and nothing is written", async () => {
  const out = join(folder, "refused");
  await refuses(bring([write("four.txt", "a\nb\nc\nd\n")], { out }), /four\.txt: 4 lines for the 5 captions of .*captions\.csv/);
  await refuses(bring([write("six.txt", "a\nb\nc\nd\ne\nf\n")], { out }), /6 lines for the 5 captions/);
  await refuses(bring([join(folder, "none.txt")], { out }), /none\.txt: no such file/);
  writeFileSync(join(folder, "latin.txt"), Buffer.from("a\nb\nc\nd\ncaf\xe9\n", "latin1"));
  await refuses(bring([join(folder, "latin.txt")], { out }), /latin\.txt: line 5 is not valid UTF-8/);
  assert.ok(!existsSync(out));
});

test("tables belong by their ids; strangers, missing and ambiguous ones are refused", async () => {
  const report = await bring([write("t.csv", 'ID,Text\n10,"boats, out at sea"\n7,the dog is running\n'), write("t.jsonl", '{"id":9,"text":"a cat is\\n\\tasleep "}\n{"id":7,"text":"the dog is running"}\n')]); // prettier-ignore
  assert.deepEqual([report.written, report.missing], [3, 0]);
  assert.deepEqual(await textsIn(report.out), {
    7: "chatgpt: the dog is running",
    9: "chatgpt: a cat is asleep",
    10: "chatgpt: boats, out at sea",
  });
  const out = join(folder, "refused-too");
  await refuses(bring([write("s.csv", "id,text\n7,a dog runs\n11,a stranger\n12,x\n")], { out }), /row 2 has the id "11", which no caption of .* so have 2 rows/);
  await refuses(bring([write("e.csv", "id,text\n7,a dog runs\n,nobody\n")], { out }), /e\.csv: row 2 has no id/);
  await refuses(bring([write("d.csv", "id,text\n7,a dog runs\n7,a dog\n")], { out }), /row 2: the id "7" occurs twice with different texts/);
  await refuses(bring([write("w.csv", "id,words\n7,a dog runs\n")], { out }), /which column holds the texts\? Its columns are: id, words/);
  await refuses(bring([write("w2.csv", "id,words\n7,a dog\n")], { out, textColumn: "word" }), /no column "word"/);
  await assert.rejects(bring([join(folder, "w.csv"), join(folder, "one.txt")], { out }), UsageError);
  assert.ok(!existsSync(out));
  assert.deepEqual(readdirSync(folder).filter((name) => name.startsWith(".join-")), []); // prettier-ignore
}); // prettier-ignore

test("what was exported is brought in again, as lines and as rows of one source", async () => {
  const first = await bring([write("first.txt", "the brown dog is running\n-\nthe cat is asleep on a sofa\n-\nboats out on the sea\n")]);
  const rewrites = await openRewritesFolder(first.out);
  const lines = join(folder, "lines");
  await exportLines(rewrites, { captions: await openCaptions(captions), out: lines });
  assert.equal(
    readFileSync(join(lines, "chatgpt.txt"), "utf8"),
    "the brown dog is running\n\nthe cat is asleep on a sofa\nthe brown dog is running\nboats out on the sea\n",
  );
  const fromLines = await bring([join(lines, "chatgpt.txt")]);
  assert.deepEqual(await textsIn(fromLines.out), await textsIn(first.out));

  for (const to of ["csv", "jsonl"] as const) {
    const rows = join(folder, `rows.${to}`);
    await exportRows(rewrites, { to, out: rows });
    const fromRows = await bring([rows]);
    assert.deepEqual(await textsIn(fromRows.out), await textsIn(first.out));
    await refuses(bring([rows], { source: "bard" }), /no text of the source "bard"/);
  }
});

test("texts that were rejected when they were made stay out", async () => {
  const rows = write(
    "flags.csv",
    "id,source,text,flags\n7,chatgpt,an example's output,rejected:copies-example\n9,chatgpt,the cat is asleep,length-ratio\n",
  );
  const report = await bring([rows]);
  assert.deepEqual([report.written, report.rejected, report.missing], [1, 0, 2]);
  assert.deepEqual(await textsIn(report.out), { 9: "chatgpt: the cat is asleep" });
});

test("a stopped import goes on", async () => {
  const texts = [write("all.txt", "the dog is running\nb\nthe cat is asleep\nd\nboats out at sea\n")];
  const out = join(folder, "stopped");
  await assert.rejects(bring(texts, { out, signal: AbortSignal.abort() }), InterruptedError);
  assert.equal((await bring(texts, { out })).written, 3);
});
