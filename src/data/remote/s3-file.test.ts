import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, beforeEach, test } from "node:test";
import { gzipSync } from "node:zlib";
import { TarWriter } from "../../formats/index.ts";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataError, EndpointError, Random, UsageError } from "../../support/index.ts";
import { listShards } from "./list-shards.ts";
import { openBytes } from "./open-bytes.ts";
import { readShard } from "./read-shard.ts";
import { ResumedBytes } from "./resumed-bytes.ts";
import { S3File } from "./s3-file.ts";
import { S3Store } from "./s3-store.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-s3-"));
const random = Random.of("objects");
const content = Buffer.from(Uint32Array.from({ length: 100_000 }, () => random.bits()).buffer);
const objects = new Map<string, Buffer>([["shards/big.tar", content]]);
for (let i = 11; i >= 0; i--) objects.set(`shards/${String(i).padStart(5, "0")}.tar`, Buffer.alloc(i));
for (const other of ["shards/notes.md", "shards/old/00000.tar", "shards-2/00000.tgz", "shards/z ä&<.tar.gz"])
  objects.set(other, Buffer.alloc(1));

/** Nothing is silent for so long, however busy the machine is that is store and reader at once. */
const quick = { stallSeconds: 60, firstWaitSeconds: 0.01, longestWaitSeconds: 2 } as const;
const keyId = "AKIAEXAMPLEEXAMPLE00";

/** What came in, and what to do about it instead of answering well. */
let asked: { method: string; key: string; query: URLSearchParams; headers: IncomingMessage["headers"] }[] = [];
let trouble: ((response: ServerResponse, count: number) => boolean) | undefined;
let connections = 0;
let cut: ((count: number) => number | undefined) | undefined;

const xml = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Enough of S3 for reading: GET with Range and If-Match, and ListObjectsV2 by pages of five. Requests must be signed. */
const server = createServer((request, response) => {
  const url = new URL(request.url!, "http://store");
  const [, bucket, ...rest] = decodeURIComponent(url.pathname).split("/");
  const key = rest.join("/");
  asked.push({ method: request.method!, key, query: url.searchParams, headers: request.headers });
  const fail = (status: number, code: string, headers = {}): void =>
    void response
      .writeHead(status, { "content-type": "application/xml", ...headers })
      .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`);
  if (trouble?.(response, asked.length)) return;
  const signed = new RegExp(
    `^AWS4-HMAC-SHA256 Credential=${keyId}/\\d{8}/[a-z0-9-]+/s3/aws4_request, SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, Signature=[0-9a-f]{64}$`,
  );
  if (bucket !== "public" && !signed.test(request.headers.authorization ?? "")) return fail(403, "AccessDenied");
  if (bucket === "public" && request.headers.authorization !== undefined) return fail(403, "InvalidAccessKeyId");
  if (bucket !== "data" && bucket !== "public") return fail(404, "NoSuchBucket");
  if (key === "") {
    const prefix = url.searchParams.get("prefix") ?? "";
    const keys = [...objects.keys()].filter((name) => name.startsWith(prefix)).toSorted();
    const from = Number(url.searchParams.get("continuation-token") ?? 0);
    const next = from + 5 < keys.length ? `<NextContinuationToken>${from + 5}</NextContinuationToken>` : "";
    const contents = keys
      .slice(from, from + 5)
      .map((name) => `<Contents><Key>${xml(name)}</Key><Size>${objects.get(name)!.length}</Size></Contents>`);
    response.setHeader("content-type", "application/xml");
    return void response.end(
      `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>data</Name><IsTruncated>${next !== ""}</IsTruncated>${next}${contents.join("")}</ListBucketResult>`,
    );
  }
  const body = objects.get(key);
  if (!body) return fail(404, "NoSuchKey");
  const etag = `"${createHash("md5").update(body).digest("hex")}"`;
  const expected = request.headers["if-match"];
  if (expected !== undefined && expected !== etag) return fail(412, "PreconditionFailed");
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const [from, to] = range ? [Number(range[1]), range[2] === "" ? body.length : Number(range[2]) + 1] : [0, body.length];
  if (range && from >= body.length) return fail(416, "InvalidRange");
  response.writeHead(range ? 206 : 200, {
    etag,
    "content-length": to - from,
    ...(range ? { "content-range": `bytes ${from}-${to - 1}/${body.length}` } : {}),
  });
  const end = cut?.(asked.length);
  if (end === undefined) response.end(body.subarray(from, to));
  else response.write(body.subarray(from, Math.min(to, from + end)), () => response.destroy());
});
server.on("connection", () => connections++);
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
after(() => {
  server.close().closeAllConnections();
  rmSync(folder, { recursive: true });
});

// What the real client library reads. No profile of whoever runs the tests may come in between.
for (const name of Object.keys(process.env)) if (name.startsWith("AWS_") || name.startsWith("LACLIP_S3")) delete process.env[name];
Object.assign(process.env, {
  AWS_ENDPOINT_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  AWS_ACCESS_KEY_ID: keyId,
  AWS_SECRET_ACCESS_KEY: "open/sesame",
  AWS_CONFIG_FILE: join(folder, "none"),
  AWS_SHARED_CREDENTIALS_FILE: join(folder, "none"),
  AWS_EC2_METADATA_DISABLED: "true",
});

beforeEach(() => {
  [asked, trouble, cut] = [[], undefined, undefined];
});

async function read(bytes: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const fails = async (work: Promise<unknown>, kind: new (...args: never[]) => Error, pattern: RegExp): Promise<void> =>
  await assert.rejects(work, (error: Error) => {
    assert.ok(error instanceof kind, `${error.name}: ${error.message}`);
    assert.match(error.message, pattern);
    assert.doesNotMatch(error.message, /sesame/);
    return true;
  });

test("an object and any part of it, with signed requests; cut connections are gone on with where they broke", async () => {
  const bytes = openBytes("s3://data/shards/big.tar", quick);
  assert.ok((await read(bytes)).equals(content));
  assert.equal(bytes.size, content.length);
  connections = 0;
  for (let i = 0; i < 6; i++) await read(openBytes("s3://data/shards/big.tar", quick));
  assert.ok(connections < 3, "a connection that was read to its end serves the next file");
  assert.ok((await read(openBytes("s3://data/shards/big.tar", { ...quick, from: 77, to: 99_999 }))).equals(content.subarray(77, 99_999)));
  asked = [];
  cut = (count) => (count < 5 ? count * 20_000 : undefined);
  assert.ok((await read(openBytes("s3://data/shards/big.tar", quick))).equals(content));
  assert.equal(asked.length, 5);
  assert.equal(asked[0]!.headers.range, undefined);
  for (const { headers } of asked.slice(1)) {
    assert.match(headers.range!, /^bytes=[1-9]\d*-$/);
    assert.equal(headers["if-match"], bytes.version);
  }
});

test("a busy or silent store is asked again; what stays is an error of the right kind at once", async () => {
  trouble = (response, count) => {
    if (count === 1)
      response.writeHead(503, { "content-type": "application/xml", "retry-after": "0" }).end("<Error><Code>SlowDown</Code></Error>");
    else if (count === 2) response.writeHead(500).end();
    return count <= 3;
  };
  assert.ok((await read(openBytes("s3://data/shards/big.tar", { ...quick, stallSeconds: 2 }))).equals(content));
  assert.equal(asked.length, 4);
  trouble = (response) => (response.writeHead(503).end(), true);
  await fails(read(openBytes("s3://data/shards/big.tar", { ...quick, retries: 1 })), EndpointError, /the store answered 503/);
  trouble = undefined;
  asked = [];
  await fails(read(openBytes("s3://data/none.tar", quick)), DataError, /s3:\/\/data\/none\.tar: no such file/);
  await fails(read(openBytes("s3://elsewhere/none.tar", quick)), DataError, /no bucket "elsewhere"/);
  await fails(read(openBytes("s3://public/shards/big.tar", quick)), EndpointError, /answered 403 \(InvalidAccessKeyId\)/);
  await fails(read(openBytes("s3://data/shards/00003.tar", { ...quick, from: 9 })), DataError, /byte 9 was asked for/);
  assert.equal(asked.length, 4);
  assert.throws(() => openBytes("s3:///key"), UsageError);
});

test("an object that changes meanwhile is an error", async () => {
  cut = (count) => (count === 1 ? 50_000 : undefined);
  objects.set("changing.tar", content);
  const bytes = openBytes("s3://data/changing.tar", quick);
  await fails(
    (async () => {
      for await (const _ of bytes) objects.set("changing.tar", Buffer.from(content.toReversed()));
    })(),
    DataError,
    /changed while it was read/,
  );
});

test("a folder of a bucket is listed page by page: its tars, sorted, with their sizes", async () => {
  trouble = (response, count) => count === 2 && (response.writeHead(503).end(), true);
  const shards = await listShards("s3://data/shards/", quick);
  assert.deepEqual(
    shards,
    [...objects]
      .filter(([key]) => /^shards\/[^/]*\.(tar|tar\.gz|tgz)$/.test(key))
      .map(([key, { length }]) => ({ address: `s3://data/${key}`, size: length }))
      .toSorted((a, b) => (a.address < b.address ? -1 : 1)),
  );
  assert.equal(shards.length, 14);
  assert.equal(asked.length, 5);
  assert.ok(asked.every(({ query }) => query.get("list-type") === "2"));
  // A key with signs of its own is the object that was listed.
  assert.equal((await read(openBytes(shards.at(-1)!.address))).length, 1);
  await fails(listShards("s3://data/empty/"), DataError, /no tar in this folder of the bucket/);
  await fails(listShards("s3://elsewhere/"), DataError, /no bucket/);
  assert.deepEqual(await listShards("s3://data/shards/{00002..00000}.tar::s3://data/shards-2/"), [
    ...["00002", "00001", "00000"].map((name) => ({ address: `s3://data/shards/${name}.tar` })),
    { address: "s3://data/shards-2/00000.tgz", size: 1 },
  ]);
});

test("public buckets are read without keys, and without keys others say what is missing", async () => {
  delete process.env["AWS_ACCESS_KEY_ID"];
  const keyless = await S3Store.fromEnvironment();
  await fails(
    read(new ResumedBytes(new S3File("s3://data/shards/big.tar", Promise.resolve(keyless)), quick)),
    UsageError,
    /no keys for S3 were found/,
  );
  assert.equal(asked.length, 0);
  process.env["LACLIP_S3_ANONYMOUS"] = "1";
  const open = Promise.resolve(await S3Store.fromEnvironment());
  assert.ok((await read(new ResumedBytes(new S3File("s3://public/shards/big.tar", open), quick))).equals(content));
  delete process.env["LACLIP_S3_ANONYMOUS"];
  process.env["AWS_ACCESS_KEY_ID"] = keyId;
});

test("the members of a tar in a bucket, packed or not, through cut connections; a lying name is found out", async () => {
  const path = join(folder, "a.tar");
  const writer = await TarWriter.create(path);
  const members: [string, Buffer][] = Array.from({ length: 40 }, (_, i) => [`${i}.jpg`, content.subarray(i * 9000, (i + 1) * 9000)]);
  for (const [name, bytes] of members) await writer.add({ name }, bytes);
  await writer.finish();
  objects.set("a.tar", readFileSync(path));
  objects.set("a.tar.gz", gzipSync(readFileSync(path)));
  objects.set("page.tar", Buffer.from("<html>sign in</html>".repeat(99)));
  for (const name of ["a.tar", "a.tar.gz"]) {
    asked = [];
    cut = (count) => (count < 5 ? random.integer(90_000) : undefined);
    const found: [string, Buffer][] = [];
    for await (const member of readShard(`s3://data/${name}`, quick)) found.push([member.name, await member.bytes()]);
    assert.deepEqual(found, members);
  }
  cut = undefined;
  const places: number[] = [];
  for await (const { headerOffset } of readShard("s3://data/a.tar")) places.push(headerOffset);
  for await (const member of readShard("s3://data/a.tar", { from: places[17]! })) {
    assert.deepEqual([member.name, member.headerOffset, await member.bytes()], ["17.jpg", places[17], members[17]![1]]);
    break;
  }
  await fails(readShard("s3://data/page.tar").next(), DataError, /s3:\/\/data\/page\.tar: this is no tar archive/);
  writeFileSync(join(folder, "list.txt"), "# two of them\ns3://data/a.tar\n\n a.tar \n");
  assert.deepEqual(await listShards(join(folder, "list.txt")), [
    { address: "s3://data/a.tar" },
    { address: path, size: readFileSync(path).length },
  ]);
});

test("whoever leaves a tar in the middle closes its connection, though the store is silent", { timeout: 20_000 }, async () => {
  let closed: Promise<unknown> | undefined;
  trouble = (response) => {
    closed = new Promise((resolve) => response.once("close", resolve));
    response.writeHead(200, { "content-length": 90_000 }).write(objects.get("a.tar")!.subarray(0, 12_000));
    return true;
  };
  for await (const { name } of readShard("s3://data/a.tar", { stallSeconds: 3600 })) {
    assert.equal(name, "0.jpg");
    break;
  }
  await closed;
});

test("where the client library is not installed, the message says what to install", () => {
  const hooks = `export async function resolve(name, context, next) {
    if (name.startsWith("@aws-sdk/")) throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" });
    return await next(name, context);
  }`;
  const program = `
    import { register } from "node:module";
    register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hooks)}));
    const { openBytes } = await import(${JSON.stringify(new URL("open-bytes.js", import.meta.url).href)});
    const bytes = openBytes("s3://data/shards/big.tar");
    try { for await (const _ of bytes); } catch (error) { console.log(error.name, error.message, error.mend); }`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  assert.match(stdout, /^UsageError .* need the package @aws-sdk\/client-s3, which is not installed\. `npm install @aws-sdk\/client-s3`/);
});
