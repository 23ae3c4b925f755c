import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { DataError } from "../support/index.ts";
import { TarWriter, noPassedOver, readTar } from "./tar.ts";
import type { ReadTarOptions, TarMember } from "./tar.ts";

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

/** The bytes in pieces of any size, as a network gives them. */
async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function list(source: Parameters<typeof readTar>[0], options?: ReadTarOptions): Promise<[TarMember, Buffer][]> {
  const found: [TarMember, Buffer][] = [];
  for await (const member of readTar(source, options)) found.push([member, await member.bytes()]);
  return found;
}

test("bytes in pieces give what the file gives, packed or not, and its places; reading can begin and end at any member", async () => {
  for (const flag of ["--format=gnu", "--format=pax"]) {
    const path = tarOf("pieces.tar", contents, flag);
    const bytes = readFileSync(path);
    const whole = await list(path);
    assert.deepEqual(
      whole.map(([{ name }]) => name),
      Object.keys(contents),
    );
    for (const [{ offset, size }, content] of whole) assert.deepEqual(bytes.subarray(offset, offset + size), content);
    const places = (found: [TarMember, Buffer][]): unknown =>
      found.map(([{ name, size, offset, headerOffset }, content]) => [name, size, offset, headerOffset, content]);
    assert.deepEqual(places(await list(pieces(bytes, 1000))), places(whole));
    assert.deepEqual(places(await list(pieces(gzipSync(bytes), 99))), places(whole));
    for (const [i, [{ headerOffset }]] of whole.entries()) {
      assert.deepEqual(places(await list(path, { from: headerOffset })), places(whole.slice(i)));
      assert.deepEqual(places(await list(pieces(bytes.subarray(headerOffset), 700), { from: headerOffset })), places(whole.slice(i)));
      for (const source of [path, pieces(bytes, 700)])
        assert.deepEqual(places(await list(source, { to: headerOffset })), places(whole.slice(0, i)));
    }
  }
});

test("a failure of the source comes out as it is, and a damaged tar names its last whole member", async () => {
  const bytes = readFileSync(
    tarOf("named.tar", { "a.txt": Buffer.from("a dog"), "b.txt": Buffer.alloc(700, "b"), "c.txt": Buffer.alloc(9) }),
  );
  const lost = new DataError("the line is dead");
  async function* dying(): AsyncGenerator<Buffer> {
    yield bytes.subarray(0, 1200);
    throw lost;
  }
  await assert.rejects(list(dying()), (error) => error === lost);
  const name = "https://host/x.tar";
  await assert.rejects(
    list(pieces(bytes.subarray(0, 1700), 500), { name }),
    refused(/^https:\/\/host\/x\.tar: .* in or after the member b\.txt, the last whole member is a\.txt/),
  );
  await assert.rejects(list(pieces(bytes.subarray(0, 2560), 500), { name }), refused(/damaged, the last whole member is b\.txt: the mark/));
  const damaged = Buffer.from(bytes);
  damaged[2560] = 7;
  await assert.rejects(list(pieces(damaged, 500), { name }), refused(/the last whole member is a\.txt: invalid tar header/));
  // Zeros that belong to a file are no end mark.
  const zeros = readFileSync(tarOf("zeros.tar", { "a.txt": Buffer.from("a dog"), "z.bin": Buffer.alloc(4096) }));
  await assert.rejects(list(pieces(zeros.subarray(0, 1536 + 4096), 500)), refused(/the mark that ends a tar is missing/));
});

test("links, folders, devices and names that point elsewhere are passed over and counted; twice the same name is two files", async () => {
  const path = join(folder, "odd.tar");
  const { pack } = await import("tar-stream");
  const tar = pack();
  for (const [name, type] of [
    ["folder/", "directory"],
    ["hard.jpg", "link"],
    ["soft.jpg", "symlink"],
    ["null", "character-device"],
    ["pipe", "fifo"],
  ] as const)
    tar.entry({ name, type, ...(type.endsWith("link") ? { linkname: "/etc/passwd" } : {}) });
  for (const name of ["/etc/passwd", "../a.txt", "a/../../b.txt", "C:\\a.txt", "a..b.txt", "./c.txt", "c.txt", "c.txt"])
    tar.entry({ name }, name);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
  writeFileSync(path, Buffer.concat(chunks));
  const passedOver = noPassedOver();
  const found = await list(path, { passedOver });
  assert.deepEqual(
    found.map(([{ name }, bytes]) => [name, bytes.toString()]),
    ["a..b.txt", "./c.txt", "c.txt", "c.txt"].map((name) => [name, name]),
  );
  assert.deepEqual(passedOver, { folders: 1, links: 2, others: 2, unsafeNames: 4 });
  await assert.rejects(list(path, { longest: 7 }), refused(/the member a\.\.b\.txt has 8 bytes; no more than 7/));
});

test("a process that has no open files left ends with that reason, and takes no tar for damaged", () => {
  const program = `
    import { openSync } from "node:fs";
    const { readTar } = await import(${JSON.stringify(new URL("./tar.js", import.meta.url).href)});
    for await (const _ of readTar(process.argv[1])); // what is loaded later is there now
    try { for (;;) openSync("/dev/null"); } catch { /* all are taken */ }
    try { for await (const _ of readTar(process.argv[1])); } catch (error) { console.log(error.constructor.name, error.message); }`;
  const words = [process.execPath, "--input-type=module", "--eval", program, tarOf("whole.tar", { "a.txt": Buffer.from("a dog") })];
  const { stdout, stderr } = spawnSync("sh", ["-c", 'ulimit -n 200; exec "$@"', "sh", ...words], { encoding: "utf8" });
  assert.match(stdout, /^LaclipError .*whole\.tar: this process has too many open files to read it\.\n$/, stderr);
});
