import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, symlinkSync, writeSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TarWriter, scanTar } from "../../formats/index.ts";
import { listShards } from "../remote/list-shards.ts";
import type { FedSample } from "../sample-feed.ts";
import { type CountedShard, countSamples } from "./count-samples.ts";
import { probeShards } from "./probe-shards.ts";
import { ShardFeed, type ShardFeedOptions } from "./shard-feed.ts";

// Servers of the test must be reached whatever proxy the user has.
process.env["no_proxy"] = "127.0.0.1,localhost";
const folder = mkdtempSync(join(tmpdir(), "laclip-feed-"));
after(() => rmSync(folder, { recursive: true }));

async function write(name: string, ids: readonly string[], image = (_id: string): Buffer => Buffer.from("an image")): Promise<void> {
  const tar = await TarWriter.create(join(folder, name));
  for (const id of ids) {
    await tar.add({ name: `${id}.jpg` }, image(id));
    await tar.add({ name: `${id}.txt` }, Buffer.from(`caption of ${id}`));
  }
  await tar.finish();
}

const names = (tar: number, count: number): string[] => Array.from({ length: count }, (_, i) => `${tar}-${String(i).padStart(3, "0")}`);

/** A tar with a known place at every fourth sample. */
async function counted(name: string): Promise<CountedShard> {
  const begins: number[] = [];
  for await (const { name: member, headerOffset } of scanTar(join(folder, name))) if (member.endsWith(".jpg")) begins.push(headerOffset);
  return { address: join(folder, name), samples: begins.length, offsets: begins.filter((_, i) => i % 4 === 0), stride: 4 };
}

before(async () => {
  for (const [tar, count] of [40, 60, 30].entries()) await write(`${tar}.tar`, names(tar, count));
});

const options = { batchSize: 4, seed: 7, shuffle: 8, interleave: 2 };

async function take(feed: ShardFeed, from: number, to: number): Promise<FedSample[][]> {
  const batches: FedSample[][] = [];
  for (let step = from; step < to; step++) batches.push([...(await feed.batch(step)).samples]);
  await feed.close();
  return batches;
}

/** Serves the folder, in a single piece each; counts what is asked for. */
async function serve(): Promise<{ at: string; requests: () => number; sent: () => number; server: Server }> {
  let [asked, sent] = [0, 0];
  const server = createServer((request, response) => {
    asked++;
    if (!request.url!.endsWith(".tar")) return void response.writeHead(404).end();
    const bytes = readFileSync(join(folder, request.url!));
    const [, from = "0", last = bytes.length - 1] = /bytes=(\d+)-(\d+)?/.exec(request.headers.range ?? "") ?? [];
    const part = bytes.subarray(Number(from), Number(last) + 1);
    const headers = { ETag: '"1"', "Content-Range": `bytes ${from}-${last}/${bytes.length}`, "Content-Length": part.length };
    sent += part.length;
    response.writeHead(206, headers).end(part);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { at: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests: () => asked, sent: () => sent, server };
}

test("a tar that is damaged in its middle gives the same samples wherever a run goes on", async () => {
  copyFileSync(join(folder, "1.tar"), join(folder, "damaged.tar"));
  const shards = await Promise.all(["0.tar", "damaged.tar", "2.tar"].map(counted));
  const file = openSync(join(folder, "damaged.tar"), "r+");
  writeSync(file, Buffer.alloc(512, 7), 0, 512, shards[1]!.offsets![5]! + 1024);
  closeSync(file);
  const feed: ShardFeedOptions = { ...options, shards };
  const all = await take(new ShardFeed(feed), 0, 32);
  const problems = all.flat().flatMap(({ problem }) => problem ?? []);
  assert.ok(problems.length >= 4 && problems.length < 16, `${problems.length} of the tar's 60 samples`);
  for (const problem of problems) assert.match(problem, /damaged\.tar: this tar is damaged, the last whole member is 1-020\.jpg/);
  for (let step = 0; step < 32; step++)
    assert.deepEqual(await take(new ShardFeed(feed), step, Math.min(32, step + 3)), all.slice(step, step + 3));
});

test("ids that two tars share are noticed, and before anything is trained", async () => {
  await write("same.tar", names(0, 40));
  const shards = await Promise.all(["0.tar", "same.tar"].map(counted));
  const samples = (await take(new ShardFeed({ ...options, shards }), 0, 20)).flat();
  const ids = samples.flatMap(({ id, problem }) => (problem === undefined ? [id] : []));
  assert.equal(new Set(ids).size, ids.length);
  const repeated = samples.filter((sample) => sample.repeated);
  assert.equal(repeated.length, 40);
  assert.match(repeated[0]!.problem!, /(same|0)\.tar, sample 0-\d\d\d: another sample has the id "0-\d\d\d" too/);
  const probe = await probeShards({ shards, shuffle: 8 }, 30);
  assert.ok(probe.repeated > 0 && probe.repeated === probe.unusable);
  // Drawn with replacement, it is the same sample that comes again.
  const drawn = await take(new ShardFeed({ ...options, shards: shards.slice(0, 1), resample: { samplesPerEpoch: 80 } }), 0, 20);
  assert.ok(drawn.flat().every(({ problem }) => problem === undefined));
});

test("a member that is too long costs its sample and not those after it", async () => {
  const ids = names(9, 12);
  await write("long.tar", ids, (id) => (id === ids[3] ? Buffer.alloc((64 << 20) + 1) : Buffer.from("an image")));
  const { at, server } = await serve();
  try {
    const here = await counted("long.tar");
    for (const address of [here.address, `${at}/long.tar`]) {
      const samples = (await take(new ShardFeed({ ...options, shards: [{ ...here, address }] }), 0, 3)).flat();
      const problems = samples.flatMap(({ problem }) => problem ?? []);
      assert.equal(problems.length, 1);
      assert.match(problems[0]!, /long\.tar, sample 9-003: the member 9-003\.jpg has 67108865 bytes/);
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("tars elsewhere are read on, not anew: when a sample is replaced, and when a tar is drawn twice", async () => {
  const { at, requests, server } = await serve();
  try {
    const shards = [0, 1, 2].map((tar) => ({ address: `${at}/${tar}.tar`, samples: [40, 60, 30][tar]! }));
    const feed = new ShardFeed({ ...options, shards });
    // Three batches under way, as the loader has them, and the first one's samples are replaced last.
    const underWay: ReturnType<ShardFeed["batch"]>[] = [];
    for (let step = 0; step < 34; step++) {
      if (step < 32) underWay.push(feed.batch(step));
      if (step < 2) continue;
      const batch = await underWay.shift()!;
      const taken = new Set(batch.samples.map(({ id }) => id));
      for (const { id } of batch.replacements(2)) assert.ok(!taken.has(id));
    }
    await feed.close();
    // Once each for the first epoch, and what the block ahead needs.
    assert.ok(requests() <= 3 + 2, `${requests()} requests`);
    const before = requests();
    const drawn = new ShardFeed({ ...options, shards: shards.slice(0, 1), resample: { samplesPerEpoch: 80 } });
    await take(drawn, 0, 20);
    assert.ok(requests() - before <= 3, `${requests() - before} requests`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("what was counted on a web server is kept as long as the server says that the tar is the same", async () => {
  const { at, sent, server } = await serve();
  try {
    const cache = join(folder, "cache");
    const shards = await listShards(`${at}/{0..2}.tar`);
    const first = await countSamples(shards, { cache });
    assert.deepEqual(
      first.map(({ samples }) => samples),
      [40, 60, 30],
    );
    const before = sent();
    assert.deepEqual(await countSamples(shards, { cache }), first);
    assert.ok(sent() - before < 10, `${sent() - before} bytes`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("a link that leads nowhere is told of as a tar that is not there", async () => {
  const linked = mkdtempSync(join(folder, "linked-"));
  symlinkSync("nowhere.tar", join(linked, "link.tar"));
  await assert.rejects(countSamples(await listShards(linked), { cache: join(folder, "cache") }), {
    name: "DataError",
    message: /link\.tar: no such file/,
  });
});
