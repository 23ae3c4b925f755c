import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";
import { DataError, UsageError } from "../../support/index.ts";
import { absoluteShards, listShards, namesTars, shownShards } from "./list-shards.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-shards-"));
after(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, "empty"));
for (const [i, name] of ["b.tar", "00001.tar", "00000.tar", "c.TGZ", "notes.md", "odd::name.tar"].entries())
  writeFileSync(join(folder, name), Buffer.alloc(i));
// The list on this machine must be reached whatever proxy its user has.
process.env["no_proxy"] = "127.0.0.1";
const at = (name: string): string => join(folder, name);

const addresses = async (text: string): Promise<string[]> => (await listShards(text)).map(({ address }) => address);

test("local: a tar, a folder in the order of names, braces, several of these; with sizes", async () => {
  assert.deepEqual(await listShards(folder), [
    { address: at("00000.tar"), size: 2 },
    { address: at("00001.tar"), size: 1 },
    { address: at("b.tar"), size: 0 },
    { address: at("c.TGZ"), size: 3 },
    { address: at("odd::name.tar"), size: 5 },
  ]);
  assert.deepEqual(
    await addresses(`${at("{00000..00001}.tar")}::${at("b.tar")}::file://${at("{c.TGZ,b.tar}")}`),
    ["00000.tar", "00001.tar", "b.tar", "c.TGZ", "b.tar"].map(at),
  );
  assert.deepEqual(await addresses(at("odd::name.tar")), [at("odd::name.tar")]);
  await assert.rejects(
    listShards(at("{00000..00003}.tar")),
    (error) => error instanceof DataError && /2 of 4 tars are missing\. First: .*00002\.tar/.test(error.message),
  );
  await assert.rejects(listShards(at("empty")), /there is no tar in this folder/);
  await assert.rejects(listShards(at("none.txt")), /no such file/);
});

test("addresses: braces are expanded, nothing is asked for; what can't be listed is refused", async () => {
  assert.deepEqual(await addresses("https://host/x/{00009..00011}.tar?a={1,2}::http://[::1]:80/{a,b}.tgz"), [
    "https://host/x/00009.tar?a=1",
    "https://host/x/00009.tar?a=2",
    "https://host/x/00010.tar?a=1",
    "https://host/x/00010.tar?a=2",
    "https://host/x/00011.tar?a=1",
    "https://host/x/00011.tar?a=2",
    "http://[::1]:80/a.tgz",
    "http://[::1]:80/b.tgz",
  ]);
  assert.deepEqual(await addresses("https://mirror{1..2}.org/a.tar::s3://{a,b}c/a.tar"), [
    "https://mirror1.org/a.tar",
    "https://mirror2.org/a.tar",
    "s3://ac/a.tar",
    "s3://bc/a.tar",
  ]);
  for (const [text, pattern] of [
    ["https://ann:sesame@host/folder/?sesame", /^https:\/\/host\/folder\/: a folder of a web server can't be listed/],
    ["pipe:cat x.tar", /commands are not run/],
    ["hdfs://host/x.tar", /of this kind/],
    ["", /empty text/],
    ["https://a b/{0..1}.tar", /no address/],
    ["s3://{a..b", /names no bucket/],
    ["s3://bucket/{0000000..2000000}.tar", /stands for more than 1000000 tars/],
  ] as const)
    await assert.rejects(listShards(text), (error) => error instanceof UsageError && pattern.test(error.message), text);
});

test("as many tars as the largest data sets have, with addresses as long as signed ones, are all there", async () => {
  const found = await addresses(`https://host/laion/{000000..231348}.tar?signature=${"s".repeat(100)}`);
  assert.equal(found.length, 231_349);
  assert.equal(found.at(-1), `https://host/laion/231348.tar?signature=${"s".repeat(100)}`);
});

test("lists: a line each, patterns and all, from a file or an address; paths belong to the list's folder", async (t) => {
  const list = at("shards.txt");
  writeFileSync(list, `\ufeff# all of them\r\n{00000..00001}.tar\r\n\r\n${at("b.tar")}\r\nhttps://host/{0..1}.tar::c.TGZ`);
  assert.deepEqual(await addresses(list), [
    at("00000.tar"),
    at("00001.tar"),
    at("b.tar"),
    "https://host/0.tar",
    "https://host/1.tar",
    at("c.TGZ"),
  ]);
  const lists: Record<string, string> = {
    "/a.txt": "https://host/0.tar\nhttps://host/1.tar\n",
    "/paths.txt": "a.tar\n",
    "/deep.txt": "https://host/a.txt",
    "/empty.txt": "\n# none\n",
  };
  const server = createServer((request, response) => void response.end(lists[request.url!]));
  t.after(() => server.close().closeAllConnections());
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  assert.deepEqual(await addresses(`${base}/a.txt`), ["https://host/0.tar", "https://host/1.tar"]);
  for (const [name, pattern] of [
    ["paths", /expected an address in each line, got "a\.tar"/],
    ["deep", /can't hold another one/],
    ["empty", /this list is empty/],
  ] as const)
    await assert.rejects(listShards(`${base}/${name}.txt`), (error) => error instanceof DataError && pattern.test(error.message));
});

test("what names tars, how it is shown, and what it means elsewhere", () => {
  for (const text of [
    "a.tar",
    "x/{0..3}.tgz",
    "s3://bucket",
    "s3://bucket/folder/",
    "s3://bucket/a.tar.gz",
    "https://host/a.tar?sig=x.csv",
    "a.tar::s3://b/",
    "pipe:x",
  ])
    assert.ok(namesTars(text), text);
  for (const text of ["a.csv", "captions", "s3://bucket/folder", "https://host/a.csv?x=.tar", "https://host/", "a.tar::b.csv", ""])
    assert.ok(!namesTars(text), text);
  assert.equal(
    shownShards("https://ann:sesame@host/{0..1}.tar?sig=sesame::s3://b/what?.tar::a#1.tar"),
    "https://host/{0..1}.tar::s3://b/what?.tar::a#1.tar",
  );
  assert.equal(absoluteShards("x/{0..1}.tar::s3://b/"), `${resolve("x/{0..1}.tar")}::s3://b/`);
  assert.equal(absoluteShards("captions.csv"), resolve("captions.csv"));
});
