import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DataError, EndpointError, InterruptedError, Random, UsageError } from "../../support/index.ts";
import { openBytes } from "./open-bytes.ts";
import type { BytesOptions, OpenedBytes } from "./resumed-bytes.ts";

const random = Random.of("bytes from elsewhere");
const content = Buffer.from(Uint32Array.from({ length: 250_000 }, () => random.bits()).buffer);
const etag = `"${createHash("sha256").update(content).digest("hex")}"`;
/** Nothing is silent for so long, however busy the machine is that is server and reader at once. */
const quick = { stallSeconds: 60, firstWaitSeconds: 0.01, longestWaitSeconds: 2 } as const;
/** For servers that are to fall silent. */
const silence = { ...quick, stallSeconds: 1 } as const;

// These must reach this machine whatever proxy its user has.
process.env["no_proxy"] = "127.0.0.1,localhost";

const servers: Server[] = [];
after(() => servers.forEach((server) => server.close().closeAllConnections()));

interface Stand {
  url: string;
  /** Requests so far, with their Range. */
  readonly ranges: (string | undefined)[];
  /** Connections that were made so far. */
  readonly connections: () => number;
}

/** A server on loopback; `answer` gets the number of the request. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse, count: number) => void): Promise<Stand> {
  const ranges: (string | undefined)[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    ranges.push(request.headers.range);
    answer(request, response, ranges.length);
  });
  server.on("connection", () => connections++);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/data/00000.tar`, ranges, connections: () => connections };
}

interface SendOptions {
  body?: Buffer;
  /** Response headers beside lengths; an ETag unless this has one of its own or says null. */
  headers?: Record<string, string>;
  tagged?: boolean;
  ranged?: boolean;
  /** Bytes of the body after which the connection is cut, or left open in silence. */
  cut?: number;
  stall?: number;
  chunked?: boolean;
}

/** Answers as a well-behaved file server does, apart from what `options` say. */
function send(request: IncomingMessage, response: ServerResponse, options: SendOptions = {}): void {
  const { body = content, headers = {}, tagged = true, ranged = true, cut, stall, chunked = false } = options;
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const tag = tagged ? etag : undefined;
  const condition = request.headers["if-range"];
  let [from, to, status] = [0, body.length, 200];
  if (range && ranged && (condition === undefined || condition === (headers["etag"] ?? tag))) {
    [from, to, status] = [Number(range[1]), range[2] === "" ? body.length : Number(range[2]) + 1, 206];
    if (from >= body.length) return void response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
    response.setHeader("content-range", `bytes ${from}-${to - 1}/${body.length}`);
  }
  if (!chunked) response.setHeader("content-length", to - from);
  if (tag !== undefined) response.setHeader("etag", tag);
  response.writeHead(status, headers);
  const part = body.subarray(from, to);
  if (cut === undefined && stall === undefined) return void response.end(part);
  response.write(part.subarray(0, cut ?? stall), () => {
    if (cut !== undefined) response.destroy();
  });
}

async function read(bytes: OpenedBytes): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function assertReads(url: string, options: BytesOptions = {}): Promise<OpenedBytes> {
  const bytes = openBytes(url, { ...quick, ...options });
  const got = await read(bytes);
  assert.ok(got.equals(content.subarray(options.from ?? 0, options.to)), `${got.length} bytes, but not those of the file`);
  return bytes;
}

async function assertFails(url: string, kind: new (...args: never[]) => Error, pattern: RegExp, options: BytesOptions = {}): Promise<void> {
  await assert.rejects(read(openBytes(url, { ...quick, ...options })), (error: Error) => {
    assert.ok(error instanceof kind, `${error.name}: ${error.message}`);
    assert.match(error.message, pattern);
    return true;
  });
}

test("a file, and any part of it; a server that knows no ranges too", async () => {
  for (const ranged of [true, false]) {
    const { url, connections } = await serve((request, response) => send(request, response, { ranged }));
    const { size, version } = await assertReads(url);
    assert.deepEqual([size, version], [content.length, etag]);
    await assertReads(url, { from: 123_456 });
    for (let i = 0; i < 6; i++) await assertReads(url);
    assert.ok(connections() < 4, "a connection that was read to its end serves the next file");
    await assertReads(url, { from: 123_456, to: 123_457 });
    await assertReads(url, { to: 70_000, version: etag });
    await assertReads(url, { from: 5, to: 5 });
    await assertFails(url, DataError, /changed.*version "old" before/, { version: '"old"' });
    await assertFails(url, DataError, /asked for were those up to 9000000/, { from: 10, to: 9_000_000 });
    await assertFails(url, DataError, /byte 8000000/, { from: 8_000_000 });
  }
});

test("connections that are cut at any byte: the bytes are the file's, and only what is missing is asked for", async () => {
  for (const how of ["range", "no range", "no size", "weak", "date", "size alone"]) {
    const conditions: (string | undefined)[] = [];
    const { url, ranges } = await serve((request, response, count) => {
      conditions.push(request.headers["if-range"] as string | undefined);
      send(request, response, {
        ranged: how !== "no range",
        chunked: how === "no size",
        tagged: !["weak", "date", "size alone"].includes(how),
        headers: how === "weak" ? { etag: 'W/"1"' } : how === "date" ? { "last-modified": "Sat, 28 Nov 2026 10:00:00 GMT" } : {},
        // Without ranges each try must come further than the one before to come to an end.
        ...(count > 6 ? {} : { cut: how === "no range" ? count * 150_000 : random.integer(150_000) }),
      });
    });
    await assertReads(url, { from: 1000 });
    assert.ok(ranges.length > 3, how);
    const starts = ranges.slice(1).map((range) => Number(/^bytes=(\d+)-$/.exec(range!)![1]));
    assert.deepEqual(
      starts,
      starts.toSorted((a, b) => a - b),
      how,
    );
    if (how !== "range") continue;
    assert.ok(starts.at(-1)! > 1000);
    assert.deepEqual(new Set(conditions), new Set([undefined, etag]), "the server is told which file the rest must be of");
  }
});

test("a connection that falls silent is left for another one; a slow reader is no silence", async () => {
  const silent = await serve((request, response, count) =>
    count < 3 ? send(request, response, { stall: 40_000 }) : send(request, response),
  );
  await assertReads(silent.url, silence);
  assert.equal(silent.ranges.length, 3);
  const mute = await serve((request, response, count) => void (count > 1 && send(request, response)));
  await assertReads(mute.url, silence);
  const { url, ranges } = await serve((request, response) => send(request, response));
  let [count, rested] = [0, false];
  for await (const chunk of openBytes(url, silence)) {
    count += chunk.length;
    if (!rested) await new Promise((resolve) => setTimeout(resolve, 1500));
    rested = true;
  }
  assert.deepEqual([count, ranges.length], [content.length, 1]);
  const dead = await serve((request, response, time) => send(request, response, { stall: time === 1 ? 10_000 : 0 }));
  await assertFails(dead.url, EndpointError, /no byte came for 1 s; 10000 bytes came of 1000000, and 2 more tries/, {
    ...silence,
    retries: 2,
  });
  assert.equal(dead.ranges.length, 3);
});

test("busy servers are asked again, no sooner than they say; those that ask for too long are an error, as are those that never answer", async () => {
  const times: number[] = [];
  const busy = await serve((request, response, count) => {
    times.push(performance.now());
    if (count === 1) response.writeHead(503, { "retry-after": "1" }).end("busy");
    else if (count < 4) response.writeHead(count === 2 ? 500 : 429).end();
    else send(request, response);
  });
  await assertReads(busy.url);
  assert.ok(times[1]! - times[0]! >= 990, "asked again before the time that the server gave");
  const { url } = await serve((_, response) => response.writeHead(429, { "retry-after": "3600" }).end());
  await assertFails(url, EndpointError, /answered 429, and the server asks to wait for 3600 s/);
  const failing = await serve((_, response) => response.writeHead(502).end());
  await assertFails(failing.url, EndpointError, /answered 502; nothing came, and 5 more tries/);
  assert.equal(failing.ranges.length, 6);
  const closed = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => closed.once("listening", resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  await assertFails(`http://127.0.0.1:${port}/a.tar`, EndpointError, /connection refused/, { retries: 1 });
});

test("a file that changes meanwhile is an error, and never a mixture", async () => {
  const other = Buffer.from(content.toReversed());
  for (const [label, again] of [
    ["another ETag", { body: other, headers: { etag: '"new"' } }],
    ["another ETag in an answer to a range", { body: other, headers: { etag: '"new"' } }],
    ["another size", { body: content.subarray(0, 900_000), tagged: false }],
    ["shorter than what came", { body: content.subarray(0, 90_000), tagged: false }],
  ] as const) {
    const { url } = await serve((request, response, count) => {
      if (count === 1) return send(request, response, { cut: 100_000, tagged: "headers" in again });
      if (label.endsWith("range")) delete request.headers["if-range"];
      send(request, response, again);
    });
    await assertFails(url, DataError, /changed|fewer|90000 bytes/);
  }
  const bare = await serve((request, response, count) =>
    send(request, response, { tagged: false, chunked: true, ranged: false, ...(count === 1 ? { cut: 9 } : {}) }),
  );
  await assertFails(bare.url, EndpointError, /says nothing \(no ETag, date or size\)/);
});

test("what a server must not do is refused at once", async () => {
  const answers: [Record<string, string>, number, RegExp, typeof EndpointError | typeof DataError][] = [
    [{}, 404, /no such file; the server answered 404/, DataError],
    [{}, 403, /answered 403/, EndpointError],
    [{ "content-type": "text/html; charset=utf-8" }, 200, /expected a file, the server sent a web page/, EndpointError],
    [{ "content-encoding": "gzip" }, 200, /packs it on the way \(Content-Encoding: gzip\)/, EndpointError],
    [{ "content-range": "bytes 7-9/10" }, 206, /sent others \(Content-Range: bytes 7-9\/10\)/, EndpointError],
    [{}, 206, /sent others \(Content-Range: none\)/, EndpointError],
    [{ location: "ftp://127.0.0.1/x" }, 302, /not as safe/, EndpointError],
    [{}, 302, /without saying where/, EndpointError],
    [{ location: "/again" }, 302, /more than 5 times, at last to http:\/\/127\.0\.0\.1:\d+\/again/, EndpointError],
  ];
  for (const [headers, status, pattern, kind] of answers) {
    const { url, ranges } = await serve((_, response) => response.writeHead(status, headers).end("text"));
    await assertFails(url, kind, pattern, { from: 5 });
    assert.equal(ranges.length, headers["location"] === "/again" ? 6 : 1);
  }
});

test("redirects are followed, again after a break; a password goes to its own server only, and none is ever shown", async () => {
  const seen: (string | undefined)[] = [];
  const store = await serve((request, response, count) => {
    seen.push(request.headers.authorization);
    send(request, response, count === 1 ? { cut: 5000 } : {});
  });
  const front = await serve((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(307, { location: `${store.url}?signature=sesame` }).end();
  });
  const address = front.url.replace("http://", "http://ann:open%20sesame@");
  await assertReads(address);
  const basic = `Basic ${Buffer.from("ann:open sesame").toString("base64")}`;
  assert.deepEqual(seen, [basic, undefined, basic, undefined]);
  const { url } = await serve((_, response) => response.writeHead(403).end());
  for (const secret of [url.replace("http://", "http://ann:sesame@"), `${url}?signature=sesame#sesame`])
    await assert.rejects(
      read(openBytes(secret, quick)),
      ({ message, mend }: EndpointError) => message.includes(url) && !`${message}${mend}`.includes("sesame"),
    );
});

test("a stop ends a wait, a silence and a reading; a reader that leaves closes its connection", async () => {
  for (const stall of [0, 10_000]) {
    const { url } = await serve((request, response) => send(request, response, { stall }));
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    await assertFails(url, InterruptedError, /Stopped/, { signal: controller.signal, stallSeconds: 30 });
  }
  const { url: busy } = await serve((_, response) => response.writeHead(503, { "retry-after": "200" }).end());
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 50);
  await assertFails(busy, InterruptedError, /Stopped/, { signal: controller.signal, longestWaitSeconds: 300 });
  let closed: Promise<unknown> | undefined;
  const { url } = await serve((request, response) => {
    closed = new Promise((resolve) => response.once("close", resolve));
    send(request, response, { stall: 10_000 });
  });
  for await (const chunk of openBytes(url)) {
    assert.ok(chunk.length > 0);
    break;
  }
  await closed;
});

test("local files by path and by file://; commands and other addresses are refused", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "laclip-bytes-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "a.tar");
  writeFileSync(path, content);
  for (const address of [path, `file://${path}`]) {
    assert.equal((await assertReads(address)).size, content.length);
    await assertReads(address, { from: 999, to: 1000 });
    await assertReads(address, { from: 7, to: 7 });
    await assertFails(address, DataError, /has 1000000 bytes; asked for was byte 1000001/, { from: 1_000_001 });
  }
  const { version } = await assertReads(path);
  writeFileSync(path, "other");
  await assertFails(path, DataError, /has changed/, { version });
  await assertFails(join(folder, "none.tar"), DataError, /no such file/);
  await assertFails(folder, DataError, /this is a folder/);
  assert.throws(() => openBytes("pipe:curl https://host/x.tar"), UsageError);
  assert.throws(() => openBytes("gs://bucket/x.tar"), /of this kind are not read/);
  assert.throws(() => openBytes("https://"), UsageError);
});

test("https: only with a certificate that is trusted, and never on to http", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "laclip-https-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const [key, certificate] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
  const made = spawnSync(
    "openssl",
    [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "2",
      "-subj",
      "/CN=localhost",
      "-addext",
      "subjectAltName=DNS:localhost",
      "-keyout",
      key,
      "-out",
      certificate,
    ],
    { encoding: "utf8" },
  );
  if (made.error) return t.skip("no openssl here");
  assert.equal(made.status, 0, made.stderr);
  const plain = await serve((request, response) => send(request, response));
  let count = 0;
  const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, response) => {
    count++;
    if (request.url === "/down.tar") response.writeHead(302, { location: plain.url }).end();
    else send(request, response, count === 1 ? { cut: 5000 } : {});
  });
  t.after(() => server.close().closeAllConnections());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = `https://localhost:${(server.address() as AddressInfo).port}`;
  await assertFails(`${base}/a.tar`, EndpointError, /certificate is not trusted/);
  assert.equal(count, 0);
  // Which certificates are trusted is settled when a process starts.
  const program = `
    import { createHash } from "node:crypto";
    const { openBytes } = await import(${JSON.stringify(new URL("open-bytes.js", import.meta.url).href)});
    for (const name of ["a", "down"]) {
      const hash = createHash("sha256");
      try {
        for await (const chunk of openBytes("${base}/" + name + ".tar")) hash.update(chunk);
        console.log(hash.digest("hex"));
      } catch (error) { console.log(error.name, error.message); }
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    env: { ...process.env, NODE_EXTRA_CA_CERTS: certificate },
  });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (piece: string) => (said += piece));
  await new Promise((resolve) => child.once("close", resolve));
  const [read, refused] = said.split("\n");
  assert.equal(`"${read}"`, etag);
  assert.match(refused!, /^EndpointError .*not as safe as the address/);
  assert.equal(plain.ranges.length, 0);
});
