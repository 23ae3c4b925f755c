/**
 * Disks that are full, or that can't be written to, under the commands that write most: each says so, and leaves nothing half done behind.
 * The disks are small ones of memory, in a name space of their own.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { program } from "./laclip.ts";
import { writeCollection, writeRewrites } from "./small-collection.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-full-"));
after(() => rmSync(folder, { recursive: true }));

const disk = join(folder, "disk");
const collection = join(folder, "collection");
const rewrites = join(folder, "rewrites");
const table = join(folder, "rewrites.csv");
before(async () => {
  mkdirSync(disk);
  const rows = await writeCollection(collection, 60);
  const texts = rows.map(({ id }, i) => ({ id, source: "human", text: `people ${i} ${"say many words ".repeat(40)}` }));
  await writeRewrites(collection, rewrites, texts);
  writeFileSync(table, `id,source,text\n${texts.map(({ id, source, text }) => `${id},${source},${text}`).join("\n")}\n`);
});

/** Runs a command where `disk` is a file system of its own; then prints what is left on it. */
function onDisk(options: string, command: string): { code: number | null; said: string; left: string } {
  const script = `mount -t tmpfs -o ${options} none "$DISK" || exit 99
    ${command}
    code=$?; echo; echo "left: $(ls -A "$DISK" "$DISK"/* 2> /dev/null | tr '\\n' ' ')"; exit $code`;
  const { status, stdout, stderr } = spawnSync("unshare", ["--user", "--map-root-user", "--mount", "sh", "-c", script], {
    encoding: "utf8",
    env: {
      ...process.env,
      DISK: disk,
      NODE: process.execPath,
      LACLIP: program,
      DATA: join(collection, "captions.csv"),
      REWRITES: rewrites,
      TABLE: table,
    },
  });
  return { code: status, said: stderr, left: /left: (.*)/.exec(stdout)?.[1] ?? "" };
}

const refused = onDisk("size=64k", "true").code === 0 ? false : "no file system can be mounted here, even in a name space of one's own";

const commands = {
  "data pack": '"$NODE" "$LACLIP" data pack "$DATA" --out "$DISK/tars"',
  rewrite: '"$NODE" "$LACLIP" rewrite "$DATA" --out "$DISK/rewrites" --llm eda',
  "export to lines": '"$NODE" "$LACLIP" rewrites export "$REWRITES" --captions "$DATA" --to lines --out "$DISK/lines"',
  "export to csv": '"$NODE" "$LACLIP" rewrites export "$REWRITES" --captions "$DATA" --to csv --out "$DISK/rewrites.csv"',
  "export to parquet": '"$NODE" "$LACLIP" rewrites export "$REWRITES" --captions "$DATA" --to parquet --out "$DISK/rewrites.parquet"',
  import: '"$NODE" "$LACLIP" rewrites import "$TABLE" --captions "$DATA" --source human --provenance "a test" --out "$DISK/rewrites"',
};

describe("a full disk", { skip: refused }, () => {
  for (const [name, command] of Object.entries(commands)) {
    test(name, () => {
      const { code, said, left } = onDisk("size=8k", command);
      assert.match(said, /the disk is full/);
      assert.doesNotMatch(said, /defect|\n +at /);
      assert.equal(code, 1, said);
      assert.doesNotMatch(left, /\.tmp-|\block\b|\.join-/);
    });
  }

  test("behind standard output", () => {
    const { code, said } = onDisk("size=4k", '"$NODE" "$LACLIP" rewrites export "$REWRITES" --captions "$DATA" --to csv > "$DISK/all.csv"');
    assert.match(said, /Standard output can't be written \(ENOSPC\)/);
    assert.doesNotMatch(said, /defect|\n +at /);
    assert.equal(code, 1, said);
  });
});

describe("a disk that is read-only", { skip: refused }, () => {
  for (const [name, command] of Object.entries(commands)) {
    test(name, () => {
      const { code, said } = onDisk("ro", command);
      assert.match(said, /the disk is read-only/);
      assert.doesNotMatch(said, /defect|\n +at /);
      assert.equal(code, 1, said);
    });
  }
});
