/** Tars that lie on a server are rewritten, and exported with their rewrites, as those on the disk are. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Ended, runLaclip } from "./laclip.ts";
import { writeTar } from "./tar-files.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-addresses-"));
const shards = join(folder, "shards");
mkdirSync(shards);

let requests = 0;
let gone = "";
/** The tars as a signed, protected server gives them; every fourth answer is cut off. */
const server = createServer((request, response) => {
  const { pathname, search } = new URL(request.url!, "http://host");
  if (search !== "?signature=sesame" || request.headers.authorization !== `Basic ${Buffer.from("ann:sesame").toString("base64")}`)
    return void response.writeHead(403).end();
  if (pathname.slice(1) === gone || !existsSync(join(shards, pathname.slice(1)))) return void response.writeHead(404).end();
  const bytes = readFileSync(join(shards, pathname.slice(1)));
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  response.writeHead(from > 0 ? 206 : 200, {
    etag: '"1"',
    "content-length": bytes.length - from,
    ...(from > 0 ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
  });
  if (++requests % 4 !== 1) response.end(bytes.subarray(from));
  else response.write(bytes.subarray(from, from + 3000), () => response.destroy());
});
after(() => {
  server.close().closeAllConnections();
  rmSync(folder, { recursive: true });
});

/** Runs the program beside this process, which must answer it. @returns all that it said too */
async function laclip(...args: string[]): Promise<Ended & { text: string }> {
  const ended = await runLaclip(args, { cwd: folder, env: { no_proxy: "127.0.0.1" } });
  return { ...ended, text: ended.stdout + ended.stderr };
}

test("the same rewrites and the same tars as from the disk, over connections that break; no secret is written anywhere", async () => {
  for (const tar of [0, 1]) {
    const members = Array.from({ length: 20 }, (_, i) => [
      [`${tar}-${i}.jpg`, Buffer.alloc(1000, i)] as const,
      [`${tar}-${i}.txt`, `a small dog runs over the green field number ${i}`] as const,
    ]);
    await writeTar(join(shards, `${tar}.tar`), members.flat());
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const address = `http://ann:sesame@127.0.0.1:${port}/{0..1}.tar?signature=sesame`;
  const shown = `http://127.0.0.1:${port}/0.tar`;
  const rewritten = async (captions: string, out: string): Promise<void> => {
    const { code, text } = await laclip("rewrite", captions, "--out", out, "--llm", "eda", "--sources", "eda");
    assert.equal(code, 0, text);
    assert.doesNotMatch(text, /sesame/);
  };
  await rewritten(shards, "from-disk");
  await rewritten(address, "from-server");
  assert.ok(requests > 4, "each tar is read twice, and connections broke");
  const rows = async (out: string): Promise<string> => (await laclip("rewrites", "export", out, "--to", "jsonl")).text;
  assert.equal(await rows("from-server"), await rows("from-disk"));
  for (const entry of readdirSync(join(folder, "from-server"), { withFileTypes: true, recursive: true }))
    if (entry.isFile()) assert.ok(!readFileSync(join(entry.parentPath, entry.name)).includes("sesame"), entry.name);

  for (const [rewrites, captions, out] of [
    ["from-disk", shards, "disk-tars"],
    ["from-server", address, "server-tars"],
  ] as const) {
    const { code, text } = await laclip("rewrites", "export", rewrites, "--to", "webdataset", "--captions", captions, "--out", out);
    assert.equal(code, 0, text);
    assert.doesNotMatch(text, /sesame/);
  }
  for (const tar of ["0.tar", "1.tar"])
    assert.deepEqual(readFileSync(join(folder, "server-tars", tar)), readFileSync(join(folder, "disk-tars", tar)));

  gone = "0.tar";
  const missing = await laclip("rewrite", address, "--out", "missing", "--llm", "eda", "--sources", "eda");
  assert.equal(missing.code, 3, missing.text);
  assert.ok(missing.text.includes(`${shown}: no such file; the server answered 404`), missing.text);
  const refused = await laclip(
    "rewrite",
    address.replace("signature=sesame", "signature=opensesame"),
    "--out",
    "refused",
    "--llm",
    "eda",
    "--sources",
    "eda",
  );
  assert.equal(refused.code, 4, refused.text);
  for (const { text } of [missing, refused]) assert.doesNotMatch(text, /sesame/);
});
