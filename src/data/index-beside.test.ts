import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { DataError, EndpointError } from "../support/index.ts";
import { besideTar, defaultIdColumn, folderOfTar } from "./index-beside.ts";
import { shardIndexName } from "./shard-index.ts";

// Servers of the test must be reached whatever proxy the user has.
process.env["no_proxy"] = "127.0.0.1,localhost";
const index = {
  format: "laclip-shards",
  version: 1,
  createdWith: "test",
  dataset: { name: "x", count: 0, hash: "" },
  samples: 0,
  skipped: 0,
  textKeys: [],
  stride: 256,
  shards: [],
};
const asked: string[] = [];
const server = createServer((request, response) => {
  asked.push(request.url!);
  const [, folder] = request.url!.split("/");
  if (folder === "packed") response.end(JSON.stringify(index));
  else if (folder === "damaged") response.end("{");
  else if (folder === "page") response.writeHead(200, { "content-type": "text/html" }).end("<html>");
  else response.writeHead(Number(folder)).end();
});
let host = "";
before(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => server.close().closeAllConnections());

test("the place beside a tar", () => {
  assert.equal(besideTar("a/b/0.tar", "x.json"), "a/b/x.json");
  assert.equal(besideTar("http://host/a/0.tar?key=a/b#c", "x.json"), "http://host/a/x.json?key=a/b");
  assert.equal(besideTar("s3://bucket/what?/0.tar", "x.json"), "s3://bucket/what?/x.json");
  assert.equal(folderOfTar("https://ann:sesame@host/a/0.tar?key=1"), "https://host/a/");
});

test("a server's index says where ids are; whatever else it answers, there is none", async () => {
  assert.equal(await defaultIdColumn([`${host}/packed/0.tar?key=1`, `${host}/packed/1.tar?key=1`]), "id");
  assert.deepEqual(asked, [`/packed/${shardIndexName}?key=1`]);
  for (const answer of ["404", "403", "page"]) assert.equal(await defaultIdColumn([`${host}/${answer}/0.tar`]), undefined, answer);
});

test("a server that fails is no server without an index: ids must not depend on its mood", async () => {
  const patience = { retries: 1, firstWaitSeconds: 0.001 };
  await assert.rejects(defaultIdColumn([`${host}/503/0.tar`], patience), EndpointError);
  await assert.rejects(defaultIdColumn([`http://127.0.0.1:1/0.tar`], patience), EndpointError);
  await assert.rejects(defaultIdColumn([`${host}/damaged/0.tar`], patience), DataError);
});
