/** Rewrites in others' forms: each is read back as those who use it read it. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openRewritesFolder } from "../../src/data/index.ts";
import type { Rewrite, RewritesFolder } from "../../src/data/index.ts";
import { RewritesWriter } from "../../src/data/index.ts";
import { readTable } from "../../src/formats/index.ts";
import { exportLines, exportParquet, exportWebdataset, openCaptions } from "../../src/rewriting/index.ts";
import { DataError, InterruptedError, Random, UsageError } from "../../src/support/index.ts";
import { writeTar } from "./tar-files.ts";
import { drawCaption, unpackSamples } from "./webdataset-reader.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-export-"));
after(() => rmSync(folder, { recursive: true }));

const picture = Buffer.from(Array.from({ length: 5000 }, (_, i) => i % 251));
const shards = join(folder, "shards");
const oddJson = '{\n  "key": "000000001", "SAMPLE_ID": 9007199254740993123, "similarity": NaN,\t"caption": "from the json"  }\n';

before(async () => {
  mkdirSync(shards);
  await writeTar(join(shards, "00000.tar"), [
    ["000000000.jpg", picture],
    ["000000000.json", { caption: "a dog", width: 3 }],
    ["000000000.txt", "a dog"],
    ["README", "no member of a sample"],
    ["000000001.jpg", picture.subarray(0, 512)],
    ["000000001.txt", "a cat"],
    ["000000001.json", oddJson],
  ]);
  await writeTar(join(shards, "00001.tar"), [
    ["sub.dir/000010000.png", picture.subarray(1)],
    ["sub.dir/000010000.txt", "a caf\u00e9 \u2028 at night\n"],
    ["000010001.jpg", picture],
    ["000010001.txt", "   "],
  ]);
});

async function rewritesOf(captions: string, rewrites: readonly (readonly [id: string, source: string, text: string, ...flags: string[]])[]): Promise<RewritesFolder> {
  const path = mkdtempSync(join(folder, "rewrites-"));
  const { fingerprint, numbers } = await (await openCaptions(captions)).survey();
  const made = { engine: "people", model: "people", modelHash: "", promptHash: "", provenance: "test", sampling: {}, seed: 0 };
  const writer = await RewritesWriter.open(path, {
    dataset: "test",
    fingerprint,
    numbers,
    sources: { chatgpt: made, human: made },
    createdWith: "test",
  });
  await writer.append(
    rewrites.map(([id, source, text, ...flags]): Rewrite => ({ id, source, text, flags, finish: "none", tokens: 0, seed: 0, examples: [] })),
  );
  await writer.finish();
  return await openRewritesFolder(path);
} // prettier-ignore

const shardRewrites = async (): Promise<RewritesFolder> =>
  await rewritesOf(shards, [
    ["000000000", "chatgpt", 'one "dog", \\ running'],
    ["000000000", "human", "this is a dog"],
    ["000000001", "chatgpt", "bad", "rejected:too-short"],
    ["000000001", "human", "a cat sits"],
    ["sub.dir/000010000", "chatgpt", "\u00e9 \ud83d\ude00 coffee"],
  ]);

test("webdataset: rewrites are read with open_clip's rules, all else is as it was", async () => {
  const rewrites = await shardRewrites();
  const out = join(folder, "with-rewrites");
  const report = await exportWebdataset(rewrites, { captions: await openCaptions(shards), out });
  assert.deepEqual(report, {
    out,
    tars: 2,
    kept: 0,
    samples: 4,
    otherCaptions: 1,
    jsonTextKey: "caption;caption_chatgpt;caption_human",
    jsonTextKeyProbs: [1, 1, 1],
  });
  assert.deepEqual(readdirSync(out).sort(), ["00000.tar", "00001.tar", "laclip-export.json"]);

  const texts: Record<string, string[]> = {
    "000000000": ["a dog", 'one "dog", \\ running', "this is a dog"],
    "000000001": ["from the json", "a cat sits"],
    "sub.dir/000010000": ["a caf\u00e9 \u2028 at night", "\u00e9 \ud83d\ude00 coffee"],
    "000010001": [""],
  };
  for (const tar of ["00000.tar", "00001.tar"]) {
    const [were, are] = [unpackSamples(join(shards, tar)), unpackSamples(join(out, tar))];
    assert.deepEqual(
      are.map(({ key }) => key),
      were.map(({ key }) => key),
    );
    for (const [i, sample] of are.entries()) {
      for (const [suffix, bytes] of were[i]!.members) if (suffix !== "json") assert.deepEqual(sample.members.get(suffix), bytes);
      const json = sample.members.get("json")!.toString("utf8");
      if (sample.key === "000000001") {
        assert.ok(json.startsWith(oddJson.trimEnd().slice(0, -1).trimEnd()), json);
        sample.members.set("json", Buffer.from(json.replace("NaN", "null")));
      }
      if (sample.key === "000000000") assert.equal((JSON.parse(json) as { width: number }).width, 3);
      const random = Random.of("draw", sample.key);
      const drawn = new Map<string, number>();
      for (let n = 0; n < 3000; n++) {
        const text = drawCaption(sample, report.jsonTextKey, report.jsonTextKeyProbs, random);
        drawn.set(text, (drawn.get(text) ?? 0) + 1);
      }
      const expected = texts[sample.key]!;
      assert.deepEqual([...drawn.keys()].sort(), [...expected].sort());
      // Five standard deviations of a fair draw.
      for (const count of drawn.values()) assert.ok(Math.abs(count - 3000 / expected.length) < 5 * Math.sqrt(3000 / 4));
      assert.equal(drawCaption(sample, "caption_human;caption", undefined, random), expected.at(-1) === texts["sub.dir/000010000"]![1] ? expected[0] : expected.at(-1)); // prettier-ignore
    }
  }

  // What was exported can be rewritten again, and has the same ids and captions.
  const again = await openCaptions(out);
  assert.deepEqual((await again.survey()).fingerprint, (await (await openCaptions(shards)).survey()).fingerprint);
});

test("webdataset: a stopped export goes on with the tars that are missing, and refuses other rewrites", async () => {
  const rewrites = await shardRewrites();
  const out = join(folder, "stopped");
  const captions = await openCaptions(shards);
  await exportWebdataset(rewrites, { captions, out });
  const first = readFileSync(join(out, "00000.tar"));
  const second = readFileSync(join(out, "00001.tar"));
  rmSync(join(out, "00001.tar"));
  writeFileSync(join(out, "00001.tar.tmp-1"), "half");
  const { tars, kept } = await exportWebdataset(rewrites, { captions, out });
  assert.deepEqual([tars, kept], [1, 1]);
  assert.deepEqual(readFileSync(join(out, "00000.tar")), first);
  assert.deepEqual(readFileSync(join(out, "00001.tar")), second);
  assert.deepEqual(readdirSync(out).sort(), ["00000.tar", "00001.tar", "laclip-export.json"]);

  const fewer = await rewritesOf(shards, [["000000000", "chatgpt", "one dog"]]);
  await assert.rejects(
    exportWebdataset(fewer, { captions, out }),
    (error) => error instanceof DataError && /holds tars with other rewrites/.test(error.message),
  );
  // The tars that were written are captions again; the same texts may come to lie in them twice, others not.
  await exportWebdataset(rewrites, { captions: await openCaptions(out), out: join(folder, "twice") });
  await assert.rejects(
    exportWebdataset(fewer, { captions: await openCaptions(out), out: join(folder, "thrice") }),
    (error) => error instanceof DataError && /000000000\.json has a key "caption_chatgpt" already, with another text/.test(error.message),
  );
  assert.deepEqual(readdirSync(join(folder, "thrice")), ["laclip-export.json"]);
});

test("webdataset: other captions, other folders and a stop leave everything as it was", async () => {
  const rewrites = await shardRewrites();
  const captions = await openCaptions(shards);
  const refuses = async (work: Promise<unknown>, kind: abstract new (...args: never[]) => Error, pattern: RegExp): Promise<void> =>
    await assert.rejects(work, (error) => error instanceof kind && pattern.test(error.message));
  await refuses(exportWebdataset(rewrites, { captions, out: shards }), UsageError, /lie in this folder/);
  const other = await openCaptions(join(shards, "00000.tar"));
  await refuses(exportWebdataset(rewrites, { captions: other, out: join(folder, "other") }), DataError, /belong to another data set/);
  const table = join(folder, "table.csv");
  writeFileSync(table, "id,caption\n1,a dog\n");
  await refuses(exportWebdataset(rewrites, { captions: await openCaptions(table), out: join(folder, "x") }), UsageError, /not in tars/);
  const taken = join(folder, "taken");
  mkdirSync(taken);
  writeFileSync(join(taken, "mine.txt"), "");
  await refuses(exportWebdataset(rewrites, { captions, out: taken }), DataError, /holds other files \("mine\.txt"\)/);
  const out = join(folder, "interrupted");
  await refuses(exportWebdataset(rewrites, { captions, out, signal: AbortSignal.abort() }), InterruptedError, /Stopped/);
  assert.deepEqual(readdirSync(out), []);
  assert.deepEqual(readdirSync(shards), ["00000.tar", "00001.tar"]);
});

test("parquet: a row for each sample in the order of the captions, null where there is no rewrite", async () => {
  const out = join(folder, "wide.parquet");
  const captions = join(folder, "captions.csv");
  writeFileSync(captions, 'id,caption\nb,"a cat"\na,a dog\nc,\nb,a cat\n');
  const rewrites = await rewritesOf(captions, [
    ["a", "human", "this is a dog"],
    ["b", "human", "bad", "rejected:too-short"],
    ["b", "chatgpt", "a \u2028 cat"],
  ]);
  const report = await exportParquet(rewrites, { captions: await openCaptions(captions), out, sources: ["human", "chatgpt"] });
  assert.deepEqual(report, { file: out, rows: 4, columns: ["id", "caption", "caption_human", "caption_chatgpt"] });
  const rows: unknown[] = [];
  for await (const { rows: count, columns } of readTable(out))
    for (let i = 0; i < count; i++) rows.push(Object.values(columns).map((values) => values[i]));
  const cat = ["b", "a cat", null, "a \u2028 cat"];
  assert.deepEqual(rows, [cat, ["a", "a dog", "this is a dog", null], ["c", "", null, null], cat]);
  await assert.rejects(
    exportParquet(rewrites, { captions: await openCaptions(captions), out: join(folder, "none", "x.parquet") }),
    (error) => error instanceof UsageError && /there is no folder .*none to write it to/.test(error.message),
  );
});

test("lines: what LaCLIP's loader checks holds, and every image gets its own rewrite", async () => {
  const captions = join(folder, "laclip.csv");
  const rows = Array.from(
    { length: 50 },
    (_, i) => [`images/${i}.jpg`, i % 7 === 0 ? `caption "${i}",\nin two lines` : `caption of ${i}`] as const,
  );
  writeFileSync(captions, rows.map(([image, caption]) => `${image},"${caption.replaceAll('"', '""')}"\n`).join(""));
  const made = rows.flatMap(([id], i) => (i % 3 === 0 ? [] : [[id, "chatgpt", `new words\rfor ${i}\u2028\u0085`] as const]));
  const rewrites = await rewritesOf(captions, made);
  const out = join(folder, "texts");
  const { files } = await exportLines(rewrites, { captions: await openCaptions(captions), out });

  // Each file is split as Python's readlines() does; all have the same number of lines, as many as the csv has images in lower-case
  // .png, .jpg or .jpeg (others would shift every line after them), and line i belongs to image i.
  const texts = files.map((file) => readFileSync(file, "utf8").split(/\r\n|\r|\n/).slice(0, -1)); // prettier-ignore
  assert.deepEqual(
    new Set(texts.map((lines) => lines.length)),
    new Set([rows.filter(([image]) => /\.(png|jpg|jpeg)$/.test(image)).length]),
  );
  for (const [i, [, caption]] of rows.entries()) {
    const [chatgpt, human] = texts.map((lines) => lines[i]!);
    assert.equal(chatgpt, i % 3 === 0 ? caption.replaceAll("\n", " ") : `new words for ${i} `);
    assert.equal(human, caption.replaceAll("\n", " "));
  }
  assert.ok(existsSync(out));
});
