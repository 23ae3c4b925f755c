import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DataError } from "../support/index.ts";
import { scanTar } from "./scan-tar.ts";
import { noPassedOver, readTar } from "./tar.ts";
import type { PassedOver, TarPlace } from "./tar.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-scan-"));
after(() => rmSync(folder, { recursive: true }));

const long = `${"deep/".repeat(18)}${"n".repeat(90)}.é.txt`;
const source = join(folder, "source");
for (const [name, content] of [
  ["a.jpg", Buffer.alloc(100_001, "pixels")],
  ["a.txt", "a dog"],
  ["a.json", "{}"],
  [long, "a cat"],
  ["sub/empty.txt", ""],
  ["sub/exact.bin", Buffer.alloc(1024)],
  ["z.txt", "last"],
] as const) {
  mkdirSync(join(source, name, ".."), { recursive: true });
  writeFileSync(join(source, name), content);
}
symlinkSync("a.txt", join(source, "soft.txt"));
linkSync(join(source, "a.txt"), join(source, "hard.txt"));

async function collect(places: AsyncIterable<TarPlace>): Promise<TarPlace[]> {
  const found: TarPlace[] = [];
  for await (const { name, size, offset, headerOffset } of places) found.push({ name, size, offset, headerOffset });
  return found;
}

async function assertAgree(path: string, label: string): Promise<TarPlace[]> {
  const [scanned, read]: PassedOver[] = [noPassedOver(), noPassedOver()];
  const places = await collect(scanTar(path, { passedOver: scanned! }));
  assert.deepEqual(places, await collect(readTar(path, { passedOver: read! })), label);
  assert.deepEqual(scanned, read, label);
  return places;
}

test("GNU tar: the places that reading gives, in each of its formats", async () => {
  for (const format of ["gnu", "oldgnu", "pax", "ustar"]) {
    const path = join(folder, `${format}.tar`);
    const made = spawnSync("tar", [`--format=${format}`, "--sort=name", "-cf", path, "-C", source, "."], { encoding: "utf8" });
    assert.equal(made.status, 0, made.stderr);
    const places = await assertAgree(path, format);
    assert.equal(places.length, 7, format);
    const bytes = readFileSync(path);
    for (const { name, offset, size } of places)
      assert.deepEqual(bytes.subarray(offset, offset + size), readFileSync(join(source, name)), `${format}: ${name}`);
  }
});

test("Python's tarfile, as webdataset writes: the places that reading gives, sizes in pax headers and names of any length included", async (t) => {
  const program = `
import io, sys, tarfile
for name in ("USTAR", "GNU", "PAX"):
    with tarfile.open(sys.argv[1] + "/python-" + name + ".tar", "w", format=getattr(tarfile, name + "_FORMAT")) as tar:
        for i, key in enumerate(["00", "é1", "long" * 24 if name == "USTAR" else "long/" * 80 + "x"]):
            for suffix in ("jpg", "txt"):
                info = tarfile.TarInfo(key + "." + suffix)
                info.size = 700 * i
                if name == "PAX": info.pax_headers = {"size": str(info.size), "comment": "ü=ü\\n"}
                tar.addfile(info, io.BytesIO(bytes([i]) * info.size))
`;
  const made = spawnSync("python3", ["-c", program, folder], { encoding: "utf8" });
  if (made.error) return t.skip("no python3 here");
  assert.equal(made.status, 0, made.stderr);
  for (const format of ["USTAR", "GNU", "PAX"]) {
    const places = await assertAgree(join(folder, `python-${format}.tar`), format);
    assert.deepEqual(
      places.map(({ size }) => size),
      [0, 0, 700, 700, 1400, 1400],
    );
    assert.equal(places[2]!.name, "é1.jpg");
  }
});

test("two tars one after the other are one; a tar that is cut off or damaged fails where reading fails", async () => {
  const bytes = readFileSync(join(folder, "pax.tar"));
  const path = join(folder, "changed.tar");
  writeFileSync(path, Buffer.concat([bytes, bytes]));
  assert.equal((await assertAgree(path, "twice")).length, 14);
  const { offset } = (await collect(scanTar(join(folder, "pax.tar")))).at(-1)!;
  for (const length of [0, 100, 512, 1024, 1536, 3000, offset - 512, offset - 100, offset, offset + 2, offset + 512, offset + 1024]) {
    writeFileSync(path, bytes.subarray(0, length));
    await assert.rejects(collect(scanTar(path)), DataError, `${length} bytes`);
    await assert.rejects(collect(readTar(path)), DataError, `${length} bytes`);
  }
  const damaged = Buffer.from(bytes);
  damaged[offset - 512] = 7;
  writeFileSync(path, damaged);
  for (const places of [scanTar(path), readTar(path)])
    await assert.rejects(collect(places), /changed\.tar: this tar is damaged.*invalid tar header/);
  await assert.rejects(collect(scanTar(join(folder, "none.tar"))), /no such file/);
  await assert.rejects(collect(scanTar(folder)), /this is a folder/);
});

test("a file of eight GiB and more has its size in another form", async () => {
  const path = join(folder, "large.tar");
  const made = spawnSync("sh", [
    "-c",
    `truncate -s 9G ${folder}/large.bin && tar --format=gnu -cf - -C ${folder} large.bin | head -c 512 > ${path}`,
  ]);
  assert.equal(made.status, 0);
  rmSync(join(folder, "large.bin"));
  // Only its header was kept: with the rest as a hole, the disk needs nothing.
  assert.equal(spawnSync("truncate", ["-s", String(512 + 9 * 2 ** 30 + 1024), path]).status, 0);
  assert.deepEqual(await collect(scanTar(path)), [{ name: "large.bin", size: 9 * 2 ** 30, offset: 512, headerOffset: 0 }]);
  rmSync(path);
});
