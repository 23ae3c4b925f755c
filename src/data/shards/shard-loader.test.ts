import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import sharp from "sharp";
import { TarWriter } from "../../formats/index.ts";
import { imageThreads, setImageThreads, trainingImage } from "../../images/index.ts";
import { DataError, EndpointError, Random } from "../../support/index.ts";
import { type LoaderOptions, openLoader } from "../loader.ts";
import { listShards } from "../remote/list-shards.ts";
import { openTarPairs } from "../tar-pairs.ts";
import { type Batch, batchSettings } from "../training-batches.ts";
import { openFeed, type ShardedSamples, trainingSamples } from "../training-samples.ts";
import { countSamples } from "./count-samples.ts";

// Servers of the test must be reached whatever proxy the user has.
process.env["no_proxy"] = "127.0.0.1,localhost";
const folder = mkdtempSync(join(tmpdir(), "laclip-shards-"));
after(() => rmSync(folder, { recursive: true }));
const cache = join(folder, "cache");

const lengths = [37, 20, 1, 44, 28];
const idOf = (shard: number, sample: number): string => `${shard}-${String(sample).padStart(4, "0")}`;
const images = new Map<string, Buffer>();

before(async () => {
  for (const [shard, length] of lengths.entries()) {
    const tar = await TarWriter.create(join(folder, `${shard}.tar`));
    for (let sample = 0; sample < length; sample++) {
      const id = idOf(shard, sample);
      const random = Random.of("image", id);
      const [width, height] = [20 + random.integer(20), 20 + random.integer(20)];
      const noise = Uint8Array.from({ length: width * height * 3 }, () => random.integer(256));
      const image = await sharp(noise, { raw: { width, height, channels: 3 } })
        .jpeg()
        .toBuffer();
      images.set(id, image);
      await tar.add({ name: `${id}.jpg` }, image);
      await tar.add({ name: `${id}.txt` }, Buffer.from(`caption of ${id}`));
      const json = { caption: `caption of ${id}`, caption_bard: `bard on ${id}`, caption_human: sample % 3 === 0 ? "" : `people on ${id}` };
      await tar.add({ name: `${id}.json` }, Buffer.from(JSON.stringify(json)));
    }
    await tar.finish();
  }
});

const settings = { batchSize: 6, imageSize: 12, seed: 5, choose: "uniform" as const, exactCrops: true, totalSteps: 40 };

async function sharded(more: Partial<ShardedSamples> = {}, place = folder): Promise<ShardedSamples> {
  return { shards: await countSamples(await listShards(place), { cache }), shuffle: 24, interleave: 2, ...more };
}

async function take(samples: LoaderOptions["samples"], options: Partial<LoaderOptions> = {}): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of openLoader({ samples, ...settings, ...options })) batches.push(batch);
  return batches;
}

test("batches of tars hold each sample once an epoch, with its image, its caption and its rewrites", async () => {
  const batches = await take(await sharded());
  const steps = Math.floor(130 / 6);
  const epoch = batches.slice(0, steps).flatMap(({ ids }) => ids);
  assert.equal(new Set(epoch).size, steps * 6);
  assert.deepEqual(
    batches.map(({ epoch: number }) => number),
    batches.map((_, step) => Math.floor(step / steps)),
  );
  const sources = new Set<string>();
  for (const { ids, images: pixels, texts, sources: from, epoch: number } of batches.slice(0, 4)) {
    for (const [slot, id] of ids.entries()) {
      sources.add(from[slot]!);
      const expected = { original: `caption of ${id}`, bard: `bard on ${id}`, human: `people on ${id}` }[from[slot]!];
      assert.equal(texts[slot], expected);
      const view = await trainingImage(images.get(id)!, { size: 12, random: Random.of(5, "crop", number, id) });
      assert.deepEqual(pixels.subarray(slot * 432, slot * 432 + 432), view);
    }
  }
  assert.deepEqual(sources, new Set(["original", "bard", "human"]));
});

test("the order is the same whatever runs ahead or side by side, and from any step on", async () => {
  const samples = await sharded();
  const batches = await take(samples);
  for (const [prefetch, inFlight] of [
    [1, 1],
    [2, 4],
    [9, 32],
  ] as const) {
    assert.deepEqual(await take(samples, { prefetch, inFlight }), batches);
  }
  const threads = imageThreads();
  for (const count of [1, 2, 4]) {
    setImageThreads(count);
    assert.deepEqual(await take(samples), batches, `${count} threads for images`);
  }
  if (threads > 0) setImageThreads(threads);
  for (let step = 1; step < 40; step += 3) {
    const rest = await take(samples, { startStep: step, totalSteps: Math.min(40, step + 5) });
    assert.deepEqual(rest, batches.slice(step, step + 5), `from step ${step}`);
  }
  // Which samples come, after a stop at any step.
  const { samples: source } = trainingSamples(samples);
  for (let step = 0; step < 40; step++) {
    const feed = openFeed(source, batchSettings(settings));
    const fed = await feed.batch(step);
    assert.deepEqual(
      Array.from(fed.samples, ({ id }) => id),
      batches[step]!.ids,
      `from step ${step}`,
    );
    await feed.close();
  }
});

test("two ranks together see each sample once", async () => {
  const samples = await sharded();
  const ranks = await Promise.all([0, 1].map(async (rank) => await take(samples, { rank, ranks: 2, totalSteps: 10 })));
  const seen = ranks.flat().flatMap(({ ids }) => ids);
  assert.equal(seen.length, 120);
  assert.equal(new Set(seen).size, 120);
});

test("more ranks than tars: each has as many batches as the others, and none of their samples", async () => {
  const samples = await sharded();
  const ranks = await Promise.all(
    Array.from({ length: 8 }, async (_, rank) => await take(samples, { rank, ranks: 8, totalSteps: Math.floor(130 / 48) })),
  );
  const seen = ranks.flat().flatMap(({ ids }) => ids);
  assert.deepEqual([seen.length, new Set(seen).size], [96, 96]);
});

test("counts come from the headers, from img2dataset's statistics, and from the cache; wrong ones are noticed", async () => {
  const shards = await listShards(folder);
  assert.deepEqual(
    (await countSamples(shards, { cache })).map(({ samples }) => samples),
    lengths,
  );
  assert.deepEqual(
    (await countSamples(shards, { cache: join(folder, "0.tar", "none") })).map(({ samples }) => samples),
    lengths,
  );
  const other = mkdtempSync(join(folder, "stats-"));
  copyFileSync(join(folder, "0.tar"), join(other, "00000.tar"));
  writeFileSync(join(other, "00000_stats.json"), JSON.stringify({ count: 50, successes: 40 }));
  const counted = await countSamples(await listShards(other), { cache });
  assert.deepEqual(counted, [{ address: join(other, "00000.tar"), samples: 40 }]);
  const loader = openLoader({ samples: { shards: counted, shuffle: 12 }, ...settings, totalSteps: 6, maximumSkipped: 0.1 });
  for await (const { ids } of loader) assert.equal(new Set(ids).size, 6);
  assert.ok(loader.skipped.examples.every((reason) => /37 samples with an image, where 40 were counted/.test(reason)));
});

test("a tar that is cut off or vanishes costs its samples, which are replaced and counted, up to the limit", async () => {
  const other = mkdtempSync(join(folder, "broken-"));
  for (const shard of lengths.keys()) copyFileSync(join(folder, `${shard}.tar`), join(other, `${shard}.tar`));
  const samples = await sharded({}, other);
  const whole = await take(samples, { totalSteps: 21 });
  truncateSync(join(other, "1.tar"), Math.floor(readFileSync(join(other, "1.tar")).length / 2));
  unlinkSync(join(other, "2.tar"));
  const loader = openLoader({ samples, ...settings, totalSteps: 21, maximumSkipped: 0.2 });
  const batches: Batch[] = [];
  for await (const batch of loader) batches.push(batch);
  assert.ok(loader.skipped.count >= 8 && loader.skipped.count <= 12, String(loader.skipped.count));
  assert.ok(loader.skipped.examples.some((reason) => /1\.tar/.test(reason)));
  assert.equal(new Set(loader.skipped.examples).size, loader.skipped.examples.length, "what is wrong with a tar is said once");
  for (const [step, batch] of batches.entries()) {
    assert.equal(new Set(batch.ids).size, 6);
    whole[step]!.ids.forEach((id, slot) => {
      if (!/^[12]-/.test(id)) assert.equal(batch.ids[slot], id, "other samples keep their places");
    });
  }
  assert.deepEqual(await take(samples, { totalSteps: 21, maximumSkipped: 0.2, inFlight: 1, prefetch: 1 }), batches);
  await assert.rejects(take(samples, { totalSteps: 21, maximumSkipped: 0.01 }), (error) => {
    assert.ok(error instanceof DataError);
    assert.match(error.message, /of 130 images can't be read/);
    return true;
  });
});

test("tars on a server give the same batches as those on disk; one that fails for good ends the loading", async () => {
  let failing = false;
  const server = createServer((request, response) => {
    const path = join(folder, request.url!.slice(1));
    if (failing || !/^\/\d\.tar$/.test(request.url!)) return void response.writeHead(failing ? 500 : 404).end();
    const bytes = readFileSync(path);
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const part = bytes.subarray(from);
    const headers = { "Content-Length": part.length, ETag: '"1"', "Accept-Ranges": "bytes" };
    if (request.headers.range)
      response.writeHead(206, { ...headers, "Content-Range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` });
    else response.writeHead(200, headers);
    // The first half only, now and then: the reader has to ask for the rest.
    if (request.headers.range === undefined && part.length > 20_000) {
      response.write(part.subarray(0, part.length >> 1), () => response.destroy());
    } else response.end(part);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const patience = { firstWaitSeconds: 0.01, retries: 2 };
    const shards = await countSamples(await listShards(`http://127.0.0.1:${port}/{0..4}.tar`), { cache, ...patience });
    assert.deepEqual(
      shards.map(({ samples }) => samples),
      lengths,
    );
    const remote: ShardedSamples = { shards, shuffle: 24, interleave: 2, patience };
    assert.deepEqual(await take(remote, { totalSteps: 25 }), await take(await sharded(), { totalSteps: 25 }));
    failing = true;
    await assert.rejects(take(remote, { totalSteps: 25 }), EndpointError);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("with replacement, an epoch has the length that was asked for", async () => {
  const batches = await take(await sharded({ resample: { samplesPerEpoch: 60 } }), { totalSteps: 25 });
  assert.deepEqual(
    batches.map(({ epoch }) => epoch),
    batches.map((_, step) => Math.floor(step / 10)),
  );
});

test("the same tars as a table: every sample with its texts, in the order of a table", async () => {
  const pairs = await openTarPairs(
    lengths.map((_, shard) => join(folder, `${shard}.tar`)),
    { name: folder },
  );
  assert.equal(pairs.samples.length, 130);
  const sample = pairs.samples.at(40);
  assert.deepEqual(
    sample.captions.map(({ source }) => source),
    ["original", "bard"],
  );
  assert.equal(sample.id, idOf(1, 3));
  assert.ok("rewrites" in pairs && pairs.rewrites.matched === 130);
  const [batch] = await take(pairs, { totalSteps: 1 });
  const view = await trainingImage(images.get(batch!.ids[0]!)!, { size: 12, random: Random.of(5, "crop", 0, batch!.ids[0]!) });
  assert.deepEqual(batch!.images.subarray(0, 432), view);
});
