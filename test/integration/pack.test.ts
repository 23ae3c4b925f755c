/** A packed data set is the data set: what is read back from the tars is what was on disk, and the index says where it lies. */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { openCollection, packShards } from "../../src/curation/index.ts";
import type { PackOptions, PackReport } from "../../src/curation/index.ts";
import { readShardIndex } from "../../src/data/index.ts";
import { DataError, InterruptedError, UsageError, setLogLevel, sha256 } from "../../src/support/index.ts";
import { type CollectionRow, picture, writeCollection, writeRewrites } from "./small-collection.ts";
import { type Sample, unpackSamples } from "./webdataset-reader.ts";

setLogLevel("quiet");
const folder = mkdtempSync(join(tmpdir(), "laclip-pack-"));
after(() => rmSync(folder, { recursive: true }));

const collection = join(folder, "collection");
const rewrites = join(folder, "rewrites");
let rows: CollectionRow[];
before(async () => {
  rows = await writeCollection(collection, 60);
  await writeRewrites(collection, rewrites, [
    ...rows.slice(0, 50).map(({ id }, i) => ({ id, source: "chatgpt", text: `chat ${i} \u{1f600}` })),
    ...rows.slice(10).map(({ id }, i) => ({ id, source: "human", text: `people ${i + 10}`, weight: i % 2 === 0 ? 0.3 : 1 })),
    { id: rows[0]!.id, source: "human", text: "no good", flags: ["rejected:empty"] },
  ]);
});

let folders = 0;
const newFolder = (): string => join(folder, `packed-${folders++}`);

async function pack(options: Partial<PackOptions> & { out: string; withRewrites?: boolean; path?: string }): Promise<PackReport> {
  const { withRewrites, path = collection, ...rest } = options;
  const join = { minimumMatched: 0 };
  const { pairs } = await openCollection({ path, checkImages: false, rewrites: withRewrites ? rewrites : undefined, join });
  return await packShards({ pairs, createdWith: "test", ...rest });
}

const tarsOf = (out: string): string[] =>
  readdirSync(out)
    .filter((name) => name.endsWith(".tar"))
    .sort();
const unpack = (out: string): Sample[] => tarsOf(out).flatMap((name) => unpackSamples(join(out, name)));
const jsonOf = (sample: Sample): { id: string; caption: string; [key: string]: unknown } =>
  JSON.parse(sample.members.get("json")!.toString("utf8"));
const imageOf = ({ members }: Sample): Buffer => [...members].find(([suffix]) => suffix !== "txt" && suffix !== "json")![1];

test("every id, caption, rewrite, weight and byte of an image comes back, once", async () => {
  const out = newFolder();
  const report = await pack({ out, withRewrites: true, samplesPerShard: 25 });
  assert.deepEqual([report.shards, report.samples, report.skipped], [3, 60, 0]);
  assert.equal(report.jsonTextKey, "caption;caption_chatgpt;caption_human");
  const samples = unpack(out);
  const byId = new Map(samples.map((sample) => [jsonOf(sample).id, sample]));
  assert.equal(byId.size, rows.length);
  assert.equal(samples.length, rows.length);
  const suffixes = ["jpg", "png", "webp"];
  rows.forEach(({ id, image, caption }, i) => {
    const sample = byId.get(id)!;
    assert.deepEqual([...sample.members.keys()], [suffixes[i % 3], "txt", "json"], "the suffix says what the bytes are");
    assert.deepEqual(imageOf(sample), readFileSync(join(collection, image)));
    assert.equal(sample.members.get("txt")!.toString("utf8"), caption);
    const weighed = i >= 10 && i % 2 === 0;
    assert.deepEqual(jsonOf(sample), {
      id,
      row: i,
      caption,
      ...(i < 50 ? { caption_chatgpt: `chat ${i} \u{1f600}` } : {}),
      ...(i >= 10 ? { caption_human: `people ${i}` } : {}),
      ...(weighed ? { weights: { caption_human: 0.3 } } : {}),
    });
  });
  const keys = samples.map(({ key }) => key);
  assert.deepEqual(keys, [...keys].sort());
  assert.ok(keys.every((key) => /^\d{9}$/.test(key)));
});

test("samples are mixed by the seed, or keep the table's order", async () => {
  const [table, one, other] = [newFolder(), newFolder(), newFolder()];
  await pack({ out: table, order: "table", samplesPerShard: 30 });
  await pack({ out: one, samplesPerShard: 30 });
  await pack({ out: other, seed: 1, samplesPerShard: 30 });
  const ids = (out: string): string[] => unpack(out).map((sample) => jsonOf(sample).id);
  assert.deepEqual(
    ids(table),
    rows.map(({ id }) => id),
  );
  assert.notDeepEqual(ids(one), ids(table));
  assert.notDeepEqual(ids(one), ids(other));
  assert.deepEqual(ids(one).sort(), ids(table).sort());
});

test("the index has size, hash and places of every tar", async () => {
  const many = join(folder, "many");
  mkdirSync(many);
  const bytes = await picture(1, "jpeg");
  writeFileSync(join(many, "one.jpg"), bytes);
  writeFileSync(
    join(many, "captions.csv"),
    `id,image,caption\n${Array.from({ length: 700 }, (_, i) => `n${i},one.jpg,text ${i}\n`).join("")}`,
  );
  const out = newFolder();
  await pack({ out, path: many, samplesPerShard: 600 });
  const index = readShardIndex(out)!;
  assert.deepEqual(
    index.shards.map(({ name, samples, offsets }) => [name, samples, offsets.length]),
    [
      ["00000.tar", 600, 3],
      ["00001.tar", 100, 1],
    ],
  );
  for (const { name, bytes: size, sha256: hash, offsets, samples } of index.shards) {
    const tar = readFileSync(join(out, name));
    assert.equal(tar.length, size);
    assert.equal(sha256(tar), hash);
    const inTar = unpackSamples(join(out, name));
    assert.equal(inTar.length, samples);
    offsets.forEach((offset, i) => {
      const header = tar.subarray(offset, offset + 100).toString("latin1");
      assert.equal(header.slice(0, header.indexOf("\0")), `${inTar[i * index.stride]!.key}.jpg`);
    });
  }
});

test("tars end before they are larger than --shard-bytes", async () => {
  const out = newFolder();
  const report = await pack({ out, shardBytes: 30_000 });
  assert.ok(report.shards > 3);
  const sizes = readShardIndex(out)!.shards.map(({ bytes }) => bytes);
  assert.ok(
    sizes.every((size) => size <= 30_000),
    String(sizes),
  );
  assert.equal(unpack(out).length, rows.length);
});

test("--resize makes larger images JPEGs of that shorter side and leaves the others as they are", async () => {
  const large = join(folder, "large");
  mkdirSync(large);
  const small = await picture(1, "png", [50, 20]);
  writeFileSync(join(large, "small.png"), small);
  writeFileSync(join(large, "wide.png"), await picture(2, "png", [400, 100]));
  writeFileSync(join(large, "tall.webp"), await picture(3, "webp", [60, 90]));
  writeFileSync(join(large, "captions.csv"), "image,caption\nsmall.png,one\nwide.png,two\ntall.webp,three\n");
  const out = newFolder();
  const report = await pack({ out, path: large, resize: 30, quality: 90, order: "table" });
  assert.equal(report.resized, 2);
  const [first, second, third] = unpack(out);
  assert.deepEqual(first!.members.get("png"), small);
  for (const [sample, width, height] of [
    [second!, 120, 30],
    [third!, 30, 45],
  ] as const) {
    const { format, ...size } = await sharp(sample.members.get("jpg")).metadata();
    assert.deepEqual([format, size.width, size.height], ["jpeg", width, height]);
  }
  const [there, made] = await Promise.all(
    [await picture(2, "png", [120, 30]), second!.members.get("jpg")!].map(async (bytes) => await sharp(bytes).raw().toBuffer()),
  );
  const difference = there!.reduce((sum, value, i) => sum + Math.abs(value - made![i]!), 0) / there!.length;
  assert.ok(difference < 12, `the picture is another one: ${difference}`);
});

test("unreadable images are left out and listed, up to the allowed share; formats that others don't know become PNGs", async () => {
  const broken = join(folder, "broken");
  mkdirSync(broken);
  const names = ["a.jpg", "cut.jpg", "empty.jpg", "page.jpg", "missing.jpg", "moving.gif"];
  writeFileSync(join(broken, "a.jpg"), await picture(1, "jpeg"));
  writeFileSync(join(broken, "cut.jpg"), (await picture(2, "jpeg", [300, 300])).subarray(0, 1500));
  writeFileSync(join(broken, "empty.jpg"), "");
  writeFileSync(join(broken, "page.jpg"), "<!doctype html><title>404</title>");
  const gif = await picture(3, "gif");
  writeFileSync(join(broken, "moving.gif"), gif);
  writeFileSync(join(broken, "captions.csv"), `image,caption\n${names.map((name) => `${name},words of ${name}\n`).join("")}`);
  const out = newFolder();
  const open = { out, path: broken, samplesPerShard: 1 };
  await assert.rejects(
    pack({ ...open, maximumSkipped: 0.5 }),
    (error: Error) => error instanceof DataError && /4 of 6 images/.test(error.message),
  );
  // Going on with another share is no other packing.
  const report = await pack({ ...open, maximumSkipped: 0.7 });
  assert.deepEqual([report.samples, report.skipped, report.converted], [2, 4, 1]);
  const listed = readFileSync(join(out, "skipped.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { id: string; reason: string });
  assert.deepEqual(listed.map(({ id }) => id).sort(), ["cut.jpg", "empty.jpg", "missing.jpg", "page.jpg"]);
  const reasons = Object.fromEntries(listed.map(({ id, reason }) => [id, reason]));
  assert.match(reasons["cut.jpg"]!, /cut short/);
  assert.match(reasons["empty.jpg"]!, /empty/);
  assert.match(reasons["page.jpg"]!, /web page/);
  assert.match(reasons["missing.jpg"]!, /no such file/);
  const png = unpack(out).find((sample) => sample.members.has("png"))!;
  assert.deepEqual(await sharp(png.members.get("png")).raw().toBuffer(), await sharp(gif).removeAlpha().raw().toBuffer());
  const headers = await pack({ ...open, out: newFolder(), decode: false, maximumSkipped: 0.7 });
  assert.equal(headers.skipped, 3, "with headers alone, what is cut short is not found");
});

test("a folder of images by class is packed with captions made from the classes", async () => {
  const classes = join(folder, "classes");
  for (const name of ["t_shirt", "hat"]) mkdirSync(join(classes, name), { recursive: true });
  copyFileSync(join(collection, rows[0]!.image), join(classes, "t_shirt", "x.jpg"));
  copyFileSync(join(collection, rows[1]!.image), join(classes, "hat", "x.jpg"));
  const out = newFolder();
  const { pairs, kind } = await openCollection({ path: classes, caption: "one {class}, a {class}" });
  assert.equal(kind, "classes");
  await packShards({ pairs, out, createdWith: "test", order: "table" });
  assert.deepEqual(unpack(out).map(jsonOf), [
    { id: "hat/x.jpg", row: 0, caption: "one hat, a hat" },
    { id: "t_shirt/x.jpg", row: 1, caption: "one t shirt, a t shirt" },
  ]);
  await assert.rejects(openCollection({ path: classes, caption: "a photo" }), UsageError);
  await assert.rejects(openCollection({ path: collection, caption: "a {class}" }), UsageError);
  await assert.rejects(openCollection({ path: out, images: folder }), UsageError);
  await assert.rejects(openCollection({ path: classes, images: folder }), UsageError);
  await assert.rejects(openCollection({ path: join(folder, "nowhere"), caption: "a {class}" }), DataError);
});

test("tars are packed again: resized, cut otherwise, with the rewrites that they have or with others; ids and captions stay", async () => {
  const first = newFolder();
  await pack({ out: first, withRewrites: true, samplesPerShard: 25 });
  const again = newFolder();
  const report = await pack({ out: again, path: first, samplesPerShard: 40, order: "table", resize: 16 });
  assert.deepEqual([report.shards, report.samples, report.jsonTextKey], [2, 60, "caption;caption_chatgpt;caption_human"]);
  assert.ok(report.resized > 0);
  const inOrder = (out: string): Sample[] => unpack(out).sort((a, b) => Number(jsonOf(a)["row"]) - Number(jsonOf(b)["row"]));
  assert.deepEqual(unpack(again).map(jsonOf), inOrder(first).map(jsonOf), "in the order that the table had");
  assert.deepEqual(readShardIndex(again)!.dataset.hash, readShardIndex(first)!.dataset.hash);

  const other = join(folder, "other-rewrites");
  await writeRewrites(
    collection,
    other,
    rows.map(({ id }) => ({ id, source: "bard", text: `bard ${id}` })),
  );
  const out = newFolder();
  const { pairs } = await openCollection({ path: join(first, "{00000..00002}.tar"), rewrites: other });
  await packShards({ pairs, out, order: "table", createdWith: "test" });
  assert.deepEqual(
    unpack(out).map(jsonOf),
    inOrder(first).map((sample) => {
      const { id, row, caption } = jsonOf(sample);
      return { id, row, caption, caption_bard: `bard ${id}` };
    }),
  );
  const images = inOrder(first).map(imageOf);
  assert.deepEqual(unpack(out).map(imageOf), images);

  await assert.rejects(pack({ out: first, path: first }), DataError, "not into the folder that it is read from");
  await assert.rejects(openCollection({ path: "http://127.0.0.1:1/{0..1}.tar" }), UsageError);
  const compressed = join(folder, "compressed.tar.gz");
  writeFileSync(compressed, gzipSync(readFileSync(join(first, "00000.tar"))));
  await assert.rejects(openCollection({ path: compressed }), UsageError);
});

test("a packing goes on with what is missing, and ends with the same bytes", async () => {
  const whole = newFolder();
  await pack({ out: whole, withRewrites: true, samplesPerShard: 7 });
  const out = newFolder();
  const stop = new AbortController();
  const packing = pack({ out, withRewrites: true, samplesPerShard: 7, signal: stop.signal, inFlight: 1 });
  let ended = false;
  void packing.catch(() => {}).then(() => (ended = true)); // how, is looked at below
  while (!ended && (!existsSync(out) || tarsOf(out).length < 3)) await new Promise((resolve) => setTimeout(resolve, 1));
  stop.abort();
  await assert.rejects(packing, InterruptedError);
  const before = tarsOf(out);
  assert.ok(before.length < 9);
  assert.deepEqual(
    readdirSync(out).filter((name) => !name.endsWith(".tar")),
    ["laclip-pack.jsonl"],
  );
  // As a crash may leave it: a line cut in two, half a tar, a tar lost, another one cut short.
  writeFileSync(join(out, "laclip-pack.jsonl"), '{"shard":', { flag: "a" });
  writeFileSync(join(out, "00007.tar.tmp-1"), "half");
  rmSync(join(out, "00000.tar"));
  truncateSync(join(out, "00001.tar"), 1000);
  const report = await pack({ out, withRewrites: true, samplesPerShard: 7 });
  assert.equal(report.kept, before.length - 2);
  assert.deepEqual(tarsOf(out), tarsOf(whole));
  for (const name of [...tarsOf(out), "laclip.index.json"])
    assert.deepEqual(readFileSync(join(out, name)), readFileSync(join(whole, name)), name);
  const again = await pack({ out, withRewrites: true, samplesPerShard: 7 });
  assert.equal(again.kept, again.shards);
});

test("a damaged line of the record is named, and so is one that lacks; the tars from there on are made again", async () => {
  const out = newFolder();
  const again = async (): ReturnType<typeof pack> => await pack({ out, withRewrites: true, samplesPerShard: 7 });
  await again();
  const tars = tarsOf(out);
  const before = readFileSync(join(out, tars[1]!));
  const record = join(out, "laclip-pack.jsonl");
  const lines = readFileSync(record, "utf8").split("\n");
  for (const [damaged, says, mend] of [
    [lines.with(2, lines[2]!.slice(0, 20)), /laclip-pack\.jsonl: line 3 is not valid JSON/, /Remove that line and all lines after it/],
    [lines.with(2, '{"shard":1}'), /laclip-pack\.jsonl: line 3 is no finished tar: from: /, /Remove that line and all lines after it/],
    [lines.toSpliced(2, 1), /lacks 00001\.tar, though it has others/, /after that of 00000\.tar/],
    [lines.toSpliced(1, 1), /lacks 00000\.tar, though it has others/, /after the first line/],
    [lines.with(0, "half a head"), /this record of a packing is damaged/, /another folder/],
  ] as const) {
    writeFileSync(record, damaged.join("\n"));
    await assert.rejects(again(), (error) => {
      assert.ok(error instanceof DataError);
      assert.match(error.message, says);
      assert.match(error.mend!, mend);
      return true;
    });
  }
  writeFileSync(record, `${lines.slice(0, 2).join("\n")}\n`);
  const report = await again();
  assert.deepEqual([report.kept, tarsOf(out)], [1, tars]);
  assert.deepEqual(readFileSync(join(out, tars[1]!)), before);
});

test("other settings, captions, rewrites or files are refused", async () => {
  const out = newFolder();
  const settings = { out, withRewrites: true, samplesPerShard: 20 };
  await pack(settings);
  const refused = async (change: Partial<PackOptions> & { withRewrites?: boolean; path?: string }, says: RegExp): Promise<void> => {
    await assert.rejects(pack({ ...settings, ...change }), (error: Error) => error instanceof DataError && says.test(error.message));
  };
  await refused({ samplesPerShard: 21 }, /samplesPerShard \(20 there, 21 now\)/);
  await refused({ resize: 16 }, /resize \(none there, 16 now\)/);
  await refused({ seed: 3 }, /seed/);
  await refused({ order: "table" }, /order/);
  await refused({ withRewrites: false }, /rewrites/);
  const other = join(folder, "other");
  await writeCollection(other, 59);
  await refused({ path: other, withRewrites: false }, /captions \(60 there, 59 now\)/);
  await assert.rejects(pack({ ...settings, shardBytes: 5 }), UsageError);
  writeFileSync(join(collection, "mine.tmp-1"), "of someone else");
  await assert.rejects(pack({ out: collection }), UsageError);
  assert.ok(existsSync(join(collection, "mine.tmp-1")), "nothing is removed from a folder with other files");
});
