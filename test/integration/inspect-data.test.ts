/** What is planted in a data set is found by looking at it, in a table and in tars alike, and the page holds no markup but its own. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { describeInspection, inspectData, openCollection, packShards, renderInspection } from "../../src/curation/index.ts";
import type { DataInspection } from "../../src/curation/index.ts";
import { csvLine } from "../../src/formats/index.ts";
import { sha256, setLogLevel } from "../../src/support/index.ts";
import { serveFolder } from "./file-server.ts";
import { type Ended, runLaclip } from "./laclip.ts";
import { picture, writeRewrites } from "./small-collection.ts";
import { writeTar } from "./tar-files.ts";

setLogLevel("quiet");
const folder = mkdtempSync(join(tmpdir(), "laclip-inspect-"));
after(() => rmSync(folder, { recursive: true }));

const table = join(folder, "table");
const rewrites = join(folder, "rewrites");
const evil = `<script>alert(1)</script><img src=x onerror='alert("2")'>`;
const long = "word ".repeat(90).trim();

/** 40 samples: 36 that are whole, 2 with a broken image; of the whole, 5 have the same caption and 3 the same image. */
before(async () => {
  mkdirSync(join(table, "images"), { recursive: true });
  const rows: [id: string, image: string, caption: string][] = [];
  for (let i = 0; i < 36; i++) {
    const image = `images/${i}.jpg`;
    // Numbers 7 to 9 are one picture.
    writeFileSync(
      join(table, image),
      await picture(i >= 7 && i <= 9 ? 7 : i, i % 2 === 0 ? "png" : "jpeg", i >= 7 && i <= 9 ? [50, 70] : [50 + i, 70]),
    );
    rows.push([`id.${i}`, image, i < 5 ? "a stock photo" : i === 5 ? long : i === 6 ? evil : `picture ${i}`]);
  }
  copyFileSync(join(table, "images/7.jpg"), join(table, "images/8.jpg"));
  copyFileSync(join(table, "images/7.jpg"), join(table, "images/9.jpg"));
  writeFileSync(join(table, "images/page.jpg"), "<html>404");
  writeFileSync(join(table, "images/empty.jpg"), "");
  rows.push(["page", "images/page.jpg", "a web page"], ["empty", "images/empty.jpg", "nothing"]);
  rows.push(["silent", "images/1.jpg", " "], ["lost", "images/lost.jpg", "not there"]);
  writeFileSync(join(table, "captions.csv"), csvLine(["id", "image", "caption"]) + rows.map((row) => csvLine(row)).join(""));
  await writeRewrites(table, rewrites, [
    ...rows.slice(0, 30).map(([id]) => ({ id, source: "chatgpt", text: `<b>${id}</b> in other words` })),
    { id: "id.31", source: "chatgpt", text: "no", flags: ["rejected:too-short"] },
    { id: "somewhere else", source: "chatgpt", text: "of another data set" },
  ]);
});

/** What table and tars must agree on. */
function found({ samples, withoutCaption, captions, images }: DataInspection): unknown {
  const { length, distinct, repeated, mostFrequent } = captions;
  return {
    samples,
    withoutCaption,
    longest: length.longest,
    truncated: Math.round(length.truncated * samples),
    counted: length.histogram.reduce((sum, count) => sum + count, 0),
    distinct,
    repeated,
    mostFrequent,
    broken: images.broken,
    formats: images.formats,
    width: images.width,
    sameFiles: [images.repeated, images.same.map(({ count }) => count)],
  };
}

const planted = {
  samples: 38,
  withoutCaption: 1,
  longest: 92,
  truncated: 1,
  counted: 38,
  distinct: 34,
  repeated: 4,
  mostFrequent: [{ text: "a stock photo", count: 5 }],
  broken: 2,
  formats: { png: 17, jpeg: 19 },
  width: { least: 50, median: 68, most: 85 },
  sameFiles: [2, [3]],
};

test("counts, lengths, broken and repeated ones of a table", async () => {
  const inspection = await inspectData({ path: table });
  assert.deepEqual(found(inspection), planted);
  assert.deepEqual([inspection.kind, inspection.rows, inspection.withoutImage], ["table", 40, 1]);
  assert.deepEqual(inspection.images.brokenExamples.map((example) => example.split(":")[0]).sort(), ["empty", "page"]);
  assert.match(inspection.images.brokenExamples.join(), /page: a web page/);
  assert.equal(inspection.shown.length, 5);
  assert.ok(inspection.shown.every(({ picture: shown }) => shown === undefined));
});

test("the same of tars, plain and compressed, here and on a server; ids are the keys", async () => {
  const server = await serveFolder(folder);
  after(() => server.close());
  for (const name of ["plain.tar", "compressed.tar.gz"]) {
    const { pairs } = await openCollection({ path: table, maximumSkipped: 1 });
    const members: [string, string | Buffer][] = Array.from({ length: pairs.samples.length }, (_, row): [string, string | Buffer][] => [
      [`s/${row}.jpg`, readFileSync(pairs.samples.image(row) as string)],
      [`s/${row}.txt`, pairs.samples.caption(row)],
    ]).flat();
    members.push(["silent.jpg", await picture(1, "png")], ["__meta__", "x"]);
    const path = await writeTar(join(folder, name), members);
    const inspection = await inspectData({ path, show: 40, pictures: true });
    const elsewhere = await inspectData({ path: `${server.host}/${name}?key=sesame`, show: 40, pictures: true });
    assert.deepEqual(elsewhere, { ...inspection, path: `${server.host}/${name}` });
    assert.deepEqual(found(inspection), planted);
    assert.deepEqual([inspection.kind, inspection.rows, inspection.tars], ["tars", 39, 1]);
    assert.deepEqual(
      inspection.shown.map(({ id }) => id),
      Array.from({ length: 38 }, (_, row) => `s/${row}`),
    );
    assert.equal(inspection.shown.filter(({ picture: shown }) => shown?.jpeg).length, 36);
    assert.equal(inspection.shown[10]!.picture!.about.split(",")[1], " 60\u00d770");
  }
});

test("packed tars are known by the ids in their .json, with the rewrites that stand there", async () => {
  const out = join(folder, "packed");
  const { pairs } = await openCollection({ path: table, maximumSkipped: 1, rewrites, join: { minimumMatched: 0 } });
  await packShards({ pairs, out, maximumSkipped: 1, samplesPerShard: 10, createdWith: "test" });
  const inspection = await inspectData({ path: out, rewrites, show: 100 });
  assert.deepEqual([inspection.tars, inspection.samples, inspection.images.broken], [4, 36, 0]);
  assert.deepEqual(inspection.packed, { chatgpt: 30 });
  assert.deepEqual([inspection.rewrites!.matched, inspection.rewrites!.sameCaptions], [30, true]);
  const one = inspection.shown.find(({ id }) => id === "id.12")!;
  assert.deepEqual([one.caption, one.rewrites], ["picture 12", [{ source: "chatgpt", text: "<b>id.12</b> in other words" }]]);
  const alone = await inspectData({ path: out, show: 100 });
  assert.deepEqual(alone.shown.find(({ id }) => id === "id.12")!.rewrites, [{ source: "chatgpt", text: "<b>id.12</b> in other words" }]);
  const twice = await inspectData({ path: `${out}/00000.tar::${out}/00000.tar` });
  assert.equal(twice.repeatedIds, 10);
  assert.match(describeInspection(twice), /10 ids were there before/);
  // A tar that breaks off is told of, and the others are looked at.
  truncateSync(join(out, "00000.tar"), 20_000);
  const damaged = await inspectData({ path: out });
  assert.equal(damaged.damaged.length, 1);
  assert.ok(damaged.samples > 26 && damaged.samples < 36);
});

test("a rewrites folder is held against the data by id", async () => {
  const { rewrites: held, shown } = await inspectData({ path: table, rewrites, show: 38 });
  assert.deepEqual(
    { ...held, folder: "" },
    {
      folder: "",
      texts: { chatgpt: 30 },
      matched: 30,
      unmatched: 8,
      firstUnmatched: ["id.30", "id.31", "id.32", "id.33", "id.34"],
      foreign: 1,
      firstForeign: ["somewhere else"],
      unusable: 1,
      // The row whose image is lost has a caption, and belongs to what was rewritten.
      sameCaptions: true,
    },
  );
  assert.equal(shown[3]!.rewrites[0]!.text, "<b>id.3</b> in other words");
});

test("large sets are looked at by a sample that the seed draws, and it is said", async () => {
  const [one, again, other] = await Promise.all(
    [0, 0, 1].map(async (seed) => await inspectData({ path: table, sample: 10, show: 3, seed })),
  );
  assert.equal(one!.images.looked, 10);
  assert.deepEqual(one, again);
  assert.notDeepEqual(
    one!.shown.map(({ id }) => id),
    other!.shown.map(({ id }) => id),
  );
  assert.match(renderInspection(one!), /measured on 10/);
});

test("a folder of images by class, and one without a single image that can be read", async () => {
  const classes = join(folder, "classes");
  mkdirSync(join(classes, "hat"), { recursive: true });
  writeFileSync(join(classes, "hat", "a.jpg"), "no image");
  const inspection = await inspectData({ path: classes, pictures: true });
  assert.deepEqual([inspection.kind, inspection.samples, inspection.images.broken], ["classes", 1, 1]);
  assert.equal(inspection.shown[0]!.caption, "a photo of a hat");
  assert.match(renderInspection(inspection), /not an image of a known format/);
  assert.match(describeInspection(inspection), /can't be decoded +1 of 1 \(100\.0 %\)\n  broken/, "sizes of no image are not told of");
});

test("a table whose images lie elsewhere: the flag that says where, and no numbers of nothing", async () => {
  const away = join(folder, "away.csv");
  writeFileSync(away, "id,image,caption\na,nowhere/a.jpg,a dog\n");
  const text = describeInspection(await inspectData({ path: away }));
  assert.match(text, /no row has both a caption and an image\. Say with --images which folder/);
  assert.doesNotMatch(text, /tokens|pixels/);
});

test("captions and rewrites of any content stand on the page as text", async () => {
  const inspection = await inspectData({ path: table, rewrites, show: 38, pictures: true });
  const page = renderInspection({ ...inspection, leftOut: [evil], damaged: [evil], path: `/x/${evil}` });
  assert.ok(page.includes("&lt;script&gt;alert(1)&lt;/script&gt;"));
  assert.ok(!page.includes("<script"));
  assert.ok(!page.includes("<img src=x"));
  assert.ok(!page.includes("<b>id."));
  assert.equal([...page.matchAll(/<img src="data:image\/jpeg;base64,[A-Za-z0-9+/=]+" alt="[^"<>]*"/g)].length, 36);
  const [, style] = /<style>([\s\S]*?)<\/style>/.exec(page)!;
  assert.ok(page.includes(`sha256-${Buffer.from(sha256(style!), "hex").toString("base64")}`), "the style sheet is the one that is allowed");
});

test("the command prints text or JSON, and writes the page", async () => {
  const run = async (...args: string[]): Promise<Ended> => await runLaclip(["inspect", "data", table, ...args]);
  const text = await run("--rewrites", rewrites);
  assert.equal(text.code, 0, text.stderr);
  assert.match(text.stdout, /40 rows of a table, 38 of them with both caption and image/);
  assert.match(text.stdout, /! 5\.3 % of the images can't be decoded/);
  const page = join(folder, "page.html");
  const json = await run("--json", "--html", page);
  assert.equal(json.code, 0, json.stderr);
  assert.deepEqual(found(JSON.parse(json.stdout) as DataInspection), planted);
  assert.doesNotMatch(json.stdout, /picture"/);
  assert.match(readFileSync(page, "utf8"), /<h1>38 samples of table<\/h1>/);
  assert.equal((await run("--sample", "0")).code, 2);
  assert.equal((await runLaclip(["inspect", "data", join(folder, "nowhere.csv")])).code, 3);
});

test("images that lie in a parquet file are looked at, as those that the table names", async () => {
  const file = join(folder, "held.parquet");
  const { DuckDBInstance } = await import("@duckdb/node-api");
  const connection = await (await DuckDBInstance.create()).connect();
  const rows = Array.from({ length: 12 }, (_, i) => i);
  const image = (i: number): string => `(SELECT content FROM read_blob('${join(table, `images/${i}.jpg`)}'))`;
  const values = rows.map((i) => `('id.${i}', ${i === 11 ? "'<html>404'::BLOB" : image(i)}, 'picture ${i}')`).join(", ");
  const columns = "id, {'bytes': bytes, 'path': id || '.jpg'} AS image, text";
  await connection.run(`COPY (SELECT ${columns} FROM (VALUES ${values}) rows(id, bytes, text)) TO '${file}'`);
  connection.closeSync();
  const { samples, images, shown } = await inspectData({ path: file, show: 12, pictures: true });
  assert.equal(samples, 12);
  assert.deepEqual([images.broken, images.formats, images.repeated], [1, { jpeg: 6, png: 5 }, 2]);
  assert.equal(shown.filter(({ picture: small }) => small?.jpeg !== undefined).length, 11);
});
