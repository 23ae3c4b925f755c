/**
 * Damages good data at random and reads them as training and the tools do; run by fuzz-data.test.ts, which watches it.
 *
 *   node fuzz-data.js KIND FROM TO FOLDER
 *
 * Prints a line before each case and one with counts at the end. A case follows from its kind and number alone. What comes of bad data
 * is a DataError, or samples and skipped ones that add up; anything else ends the program with the case's number.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { openCollection, packShards, verifyTar } from "../../../src/curation/index.ts";
import {
  batchSettings,
  countSamples,
  imageInput,
  openFeed,
  openLoader,
  openPairs,
  openTarPairs,
  readShardIndex,
  shardIndexName,
  trainingSamples,
} from "../../../src/data/index.ts";
import type { Pairs, ShardedSamples } from "../../../src/data/index.ts";
import { scanTar } from "../../../src/formats/index.ts";
import { decodeImage, imageFormat, readImageHeader, trainingViewInto } from "../../../src/images/index.ts";
import { openCaptions } from "../../../src/rewriting/index.ts";
import { DataError, Random, setLogLevel } from "../../../src/support/index.ts";
import { picture, writeCollection, writeRewrites } from "../small-collection.ts";

const [kind = "", from = "0", to = "0", folder = ""] = process.argv.slice(2);
setLogLevel("quiet");
const counts: Record<string, number> = {};
const count = (what: string): void => void (counts[what] = (counts[what] ?? 0) + 1);

/** What came of a piece of work; anything but a DataError is a defect. */
async function attempt<T>(what: string, work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    const result = await work();
    count(`${what}: read`);
    return result;
  } catch (error) {
    if (!(error instanceof DataError)) throw new Error(`${what}: this is no DataError`, { cause: error });
    assert.ok(error.message.length > 0 && error.message.length < 2000, `${what}: a message of ${error.message.length} characters`);
    count(`${what}: refused`);
    return undefined;
  }
}

type Mutation = (bytes: Buffer, random: Random, unit: number) => Buffer;

const mutations: Record<string, Mutation> = {
  flip(bytes, random) {
    const copy = Buffer.from(bytes);
    for (let i = 1 + random.integer(8); i > 0 && copy.length > 0; i--) copy[random.integer(copy.length)]! ^= 1 << random.integer(8);
    return copy;
  },
  cut: (bytes, random, unit) => bytes.subarray(0, unit * random.integer(Math.floor(bytes.length / unit) + 1)),
  insert(bytes, random, unit) {
    const at = unit * random.integer(Math.floor(bytes.length / unit) + 1);
    const piece = random.integer(2) === 0 ? Buffer.alloc(unit * (1 + random.integer(3))) : slice(bytes, random, unit);
    return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
  },
  remove(bytes, random, unit) {
    const at = unit * random.integer(Math.floor(bytes.length / unit) + 1);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + unit * (1 + random.integer(4)))]);
  },
  move(bytes, random, unit) {
    const piece = slice(bytes, random, unit);
    const at = unit * random.integer(Math.floor(bytes.length / unit) + 1);
    const copy = Buffer.from(bytes);
    piece.copy(copy, at);
    return copy;
  },
  noise(bytes, random) {
    const copy = Buffer.from(bytes);
    const at = random.integer(copy.length + 1);
    for (let i = at; i < Math.min(copy.length, at + 1 + random.integer(64)); i++) copy[i] = random.integer(256);
    return copy;
  },
};

function slice(bytes: Buffer, random: Random, unit: number): Buffer {
  const at = unit * random.integer(Math.floor(bytes.length / unit) + 1);
  return bytes.subarray(at, at + unit * (1 + random.integer(4)));
}

/** @param unit bytes that are inserted, removed and moved together: a tar's are blocks of 512 */
function damage(bytes: Buffer, random: Random, unit: number): Buffer {
  const rounds = random.integer(4) === 0 ? 2 + random.integer(3) : 1;
  let damaged = bytes;
  for (let i = 0; i < rounds; i++) {
    const name = random.choice(Object.keys(mutations));
    count(`mutation: ${name}`);
    damaged = mutations[name]!(damaged, random, random.integer(4) === 0 ? 1 : unit);
  }
  return damaged;
}

/** Every third time whole members or lines change their places, come twice or are lost; else, or also, bytes are damaged. */
function damagePieces(pieces: readonly Buffer[], random: Random, unit: number): Buffer {
  const changed = [...pieces];
  const way = random.integer(9);
  // The last piece is what ends a tar.
  const one = random.integer(changed.length - 1);
  const other = random.integer(changed.length - 1);
  if (way === 0) [changed[one], changed[other]] = [changed[other]!, changed[one]!];
  else if (way === 1) changed.splice(other, 0, changed[one]!);
  else if (way === 2) changed.splice(one, 1);
  if (way < 3) count(`mutation: ${["swapped", "repeated", "lost"][way]} piece`);
  const bytes = Buffer.concat(changed);
  return way < 3 && random.integer(4) > 0 ? bytes : damage(bytes, random, unit);
}

function addsUp({ rows, skipped, samples, rowOf }: Pairs): void {
  assert.equal(samples.length + skipped.emptyCaptions + skipped.missingImages, rows, "samples and skipped ones are all rows");
  assert.equal(rowOf.size, samples.length, "each sample has an id of its own");
  const numbers = new Set<number>();
  for (let row = 0; row < samples.length; row++) {
    const { id, captions } = samples.at(row);
    assert.ok(id !== "" && captions[0]!.text.trim() !== "", "a sample has an id and a caption");
    numbers.add(rowOf.get(id)!);
  }
  assert.equal(numbers.size, samples.length, "each row is another sample");
}

/** Reads a tar in every way there is: all must say the same of it. */
async function readTar(path: string, goodCount: number, withLoader: boolean): Promise<void> {
  const verified = await verifyTar(path, { decode: true });
  const damaged = (verified.counts.damaged ?? 0) > 0;
  const pairs = await attempt("table", async () => await openTarPairs([path], { name: path, maximumSkipped: 1 }));
  if (pairs) {
    assert.ok(!damaged, "what is opened is not damaged");
    assert.equal(pairs.rows, verified.samples, "all ways see the same number of samples");
    addsUp(pairs);
    for (let row = 0; row < pairs.samples.length; row++)
      await attempt("image in a tar", async () => {
        const { width, height, data } = await decodeImage(await imageInput(pairs.samples.image(row)));
        assert.equal(data.length, width * height * 3);
      });
  }
  const counted = await attempt("count", async () => await countSamples([{ address: path }], { cache: join(folder, "cache") }));
  assert.equal(counted === undefined, damaged, "counting and verifying agree on what is damaged");
  if (counted) assert.equal(counted[0]!.samples, verified.samples - (verified.counts["no-image"] ?? 0));
  const survey = await attempt("captions", async () => await (await openCaptions(path)).survey());
  if (survey && pairs) assert.deepEqual(survey.fingerprint, pairs.fingerprint, "rewriting and training see the same captions");

  // As after an index that is right was written: what it says is no longer so.
  const shards: ShardedSamples = { shards: [{ address: path, samples: goodCount }], shuffle: 8 };
  await attempt("feed", async () => {
    const feed = openFeed(trainingSamples(shards).samples, batchSettings({ batchSize: 4, imageSize: 8, seed: 1, choose: "uniform" }));
    const seen = new Set<number>();
    let usable = 0;
    for (let step = 0; step < feed.stepsPerEpoch; step++) {
      for (const { number, problem, captions, id } of (await feed.batch(step)).samples) {
        seen.add(number);
        if (problem === undefined) usable++;
        assert.equal(problem === undefined, captions.length > 0 && id !== "");
      }
    }
    assert.equal(seen.size, feed.stepsPerEpoch * 4, "each sample comes once, usable or not");
    assert.ok(usable <= verified.samples);
    await feed.close();
  });
  if (!withLoader) return;
  await attempt("loader", async () => {
    const steps = Math.floor(goodCount / 4);
    const loader = openLoader({
      samples: shards,
      batchSize: 4,
      imageSize: 8,
      seed: 1,
      choose: "uniform",
      totalSteps: steps,
      maximumSkipped: 1,
    });
    let batches = 0;
    for await (const { ids, images } of loader) {
      assert.equal(images.length, ids.length * 8 * 8 * 3);
      assert.equal(ids.length, 4);
      batches++;
    }
    assert.equal(batches, steps, "every batch comes, with others in place of what can't be read");
  });
}

async function fuzzTars(run: (work: (n: number, random: Random) => Promise<void>) => Promise<void>): Promise<void> {
  const collection = join(folder, "collection");
  const rows = await writeCollection(collection, 12);
  const rewrites = join(folder, "rewrites");
  await writeRewrites(
    collection,
    rewrites,
    rows.map(({ id }, i) => ({ id, source: i % 2 === 0 ? "human" : "chatgpt", text: `again ${id}` })),
  );
  const { pairs } = await openCollection({ path: collection, rewrites });
  await packShards({ pairs, out: join(folder, "packed"), createdWith: "test" });
  const tar = join(folder, "packed", "00000.tar");
  const good = readFileSync(tar);
  const begins: number[] = [];
  for await (const { headerOffset } of scanTar(tar)) begins.push(headerOffset);
  begins.push(good.length - 1024);
  const members = begins.map((at, i) => good.subarray(at, begins[i + 1]));
  const index = readFileSync(join(folder, "packed", shardIndexName));
  mkdirSync(join(folder, "damaged"));
  await run(async (n, random) => {
    const path = join(folder, "case.tar");
    writeFileSync(path, damagePieces(members, random, 512));
    await readTar(path, 12, n % 25 === 0);
    writeFileSync(join(folder, "damaged", shardIndexName), damage(index, random, 8));
    await attempt("index", () => readShardIndex(join(folder, "damaged")));
  });
}

async function fuzzTables(run: (work: (n: number, random: Random) => Promise<void>) => Promise<void>): Promise<void> {
  const rows = Array.from({ length: 30 }, (_, i) => ({
    id: `a/${i}`,
    image: "x.jpg",
    caption: i % 9 === 0 ? " " : `a "dog", ${i}\u{1f600}`,
  }));
  const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
  const separated = (separator: string): string =>
    [["id", "image", "caption"], ...rows.map((row) => Object.values(row).map(quoted))].map((line) => `${line.join(separator)}\n`).join("");
  const annotations = rows.map(({ id: image_id, caption }) => ({ image_id, caption, subreddit: "dogs" }));
  const tables: Record<string, string> = {
    "csv.csv": separated(","),
    "tsv.tsv": separated("\t"),
    "jsonl.jsonl": rows.map((row) => `${JSON.stringify(row)}\n`).join(""),
    "json.json": JSON.stringify({ annotations }),
  };
  writeFileSync(join(folder, "x.jpg"), await picture(1, "jpeg"));
  await run(async (_n, random) => {
    const name = random.choice(Object.keys(tables));
    const file = join(folder, name);
    const lines = tables[name]!.split(/(?<=\n|\},)/).map((line) => Buffer.from(line));
    writeFileSync(file, damagePieces(lines, random, 16));
    const open = { file, images: folder, maximumSkipped: 1, checkImages: false, workFolder: folder };
    const pairs = await attempt(name.slice(0, name.indexOf(".")), async () => await openPairs(open));
    if (!pairs) return;
    addsUp(pairs);
    pairs.samples.close();
  });
}

async function fuzzImages(run: (work: (n: number, random: Random) => Promise<void>) => Promise<void>): Promise<void> {
  const gray = sharp(await picture(3, "png", [40, 60])).toColourspace("b-w");
  const good: Record<string, Buffer> = {
    jpeg: await picture(1, "jpeg", [90, 70]),
    png: await picture(2, "png", [50, 40]),
    webp: await picture(3, "webp", [60, 80]),
    gif: await gray.clone().gif().toBuffer(),
    tiff: await gray.clone().tiff().toBuffer(),
    progressive: await gray.clone().jpeg({ progressive: true }).toBuffer(),
    palette: await sharp(await picture(5, "png", [40, 40])).png({ palette: true }).toBuffer(),
    cmyk: await sharp(await picture(6, "png", [40, 40])).toColourspace("cmyk").jpeg().toBuffer(),
    avif: await sharp(await picture(7, "png", [32, 32])).avif({ effort: 0 }).toBuffer(),
  }; // prettier-ignore
  await run(async (n, random) => {
    const name = random.choice(Object.keys(good));
    const bytes = damage(good[name]!, random, 8);
    imageFormat(bytes);
    const header = await attempt(`${name} header`, async () => await readImageHeader(bytes));
    const pixels = await attempt(name, async () => await decodeImage(bytes, { maxPixels: 1e6 }));
    if (pixels) assert.equal(pixels.data.length, pixels.width * pixels.height * 3, "three bytes for each pixel");
    const size = 1 + random.integer(12);
    await attempt(`${name} view`, async () => {
      await trainingViewInto(bytes, { size, random: Random.of(n), maxPixels: 1e6 }, new Uint8Array(size * size * 3));
    });
    if (header && pixels) assert.deepEqual([header.width, header.height], [pixels.width, pixels.height], "header and pixels agree");
  });
}

const kinds = { tar: fuzzTars, table: fuzzTables, image: fuzzImages };
await kinds[kind as keyof typeof kinds](async (work) => {
  for (let n = Number(from); n < Number(to); n++) {
    process.stdout.write(`case ${n}\n`);
    await work(n, Random.of("fuzz", kind, n));
    count("cases");
  }
});
process.stdout.write(`${JSON.stringify(counts)}\n`);
