import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { DataError } from "../support/index.ts";
import { TarWriter, readTar } from "./tar.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-tar-"));
after(() => rmSync(folder, { recursive: true }));

const big = Buffer.alloc(3_000_001, "pixels ");
const long = `${"deep/".repeat(40)}${"name".repeat(30)}.é.txt`;
const contents: Readonly<Record<string, Buffer>> = {
  "a.jpg": big,
  "a.txt": Buffer.from("a dog"),
  [long]: Buffer.from("a cat"),
  "empty.txt": Buffer.alloc(0),
};

/** A tar by the system's own program. */
function tarOf(name: string, files: Readonly<Record<string, Buffer>>, ...flags: string[]): string {
  const source = mkdtempSync(join(folder, "files-"));
  for (const [file, bytes] of Object.entries(files)) {
    mkdirSync(join(source, file, ".."), { recursive: true });
    writeFileSync(join(source, file), bytes);
  }
  const path = join(folder, name);
  const { status, stderr } = spawnSync("tar", [...flags, "-cf", path, "-C", source, ...Object.keys(files)], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return path;
}

async function read(path: string, wanted: (name: string) => boolean = () => true): Promise<Record<string, Buffer>> {
  const found: Record<string, Buffer> = {};
  for await (const { name, bytes } of readTar(path)) if (wanted(name)) found[name] = await bytes();
  return found;
}

const refused = (pattern: RegExp) => (error: unknown) => error instanceof DataError && pattern.test(error.message);

test("members of a GNU tar, a pax tar and a compressed one are read, long names and all; what is not asked for is passed over", async () => {
  for (const [name, flag] of [
    ["gnu.tar", "--format=gnu"],
    ["pax.tar", "--format=pax"],
    ["packed.tar.gz", "-z"],
  ] as const) {
    const path = tarOf(name, contents, flag);
    assert.deepEqual(await read(path), contents);
    assert.deepEqual(await read(path, (member) => member.endsWith(".txt") && member !== "empty.txt"), {
      "a.txt": contents["a.txt"],
      [long]: contents[long],
    });
  }
});

test("what is written is what the system's program unpacks, and nothing is there before the end", async () => {
  const path = join(folder, "written.tar");
  const writer = await TarWriter.create(path);
  for await (const { name, header, chunks } of readTar(tarOf("from.tar", contents))) {
    if (name === long) await writer.add({ ...header, name: "new.json" }, Buffer.from('{"a": 1}'));
    await writer.add(header, chunks());
  }
  assert.ok(!readdirSync(folder).includes("written.tar"));
  await writer.finish();
  const target = mkdtempSync(join(folder, "unpacked-"));
  assert.equal(spawnSync("tar", ["-xf", path, "-C", target]).status, 0);
  for (const [name, bytes] of Object.entries(contents)) assert.deepEqual(readFileSync(join(target, name)), bytes);
  assert.equal(readFileSync(join(target, "new.json"), "utf8"), '{"a": 1}');
  assert.deepEqual(Object.keys(await read(path)), ["a.jpg", "a.txt", "new.json", long, "empty.txt"]);
});

test("a tar that was cut off anywhere is refused, even between two members", async () => {
  const whole = tarOf("whole.tar", { "a.txt": Buffer.from("a dog"), "b.txt": Buffer.alloc(700, "b") });
  const bytes = readFileSync(whole);
  for (const length of [100, 512, 700, 1024, 1300, 1536, 2000]) {
    const path = join(folder, "cut.tar");
    writeFileSync(path, bytes.subarray(0, length));
    await assert.rejects(read(path), refused(/cut\.tar: this (tar is damaged|is no tar)/), `${length} bytes`);
  }
  const packed = join(folder, "cut.tar.gz");
  writeFileSync(packed, gzipSync(bytes).subarray(0, 90));
  await assert.rejects(read(packed), refused(/cut\.tar\.gz: this /));
  truncateSync(whole, 0);
  await assert.rejects(read(whole), refused(/whole\.tar: this /));
  writeFileSync(whole, "<html>not found</html>".repeat(100));
  await assert.rejects(read(whole), refused(/this is no tar archive/));
  await assert.rejects(read(join(folder, "none.tar")), refused(/no such file/));
});
