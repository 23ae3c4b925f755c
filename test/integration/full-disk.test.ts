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

const variables = {
  ...process.env,
  DISK: disk,
  NODE: process.execPath,
  LACLIP: program,
  TRAINING: new URL("../../src/training/index.js", import.meta.url).href,
  DATA: join(collection, "captions.csv"),
  REWRITES: rewrites,
  TABLE: table,
};

/** Runs a command where `disk` is a file system of its own; then prints what is left on it. */
function onDisk(options: string, command: string): { code: number | null; said: string; left: string } {
  const script = `mount -t tmpfs -o ${options} none "$DISK" || exit 99
    ${command}
    code=$?; echo; echo "left: $(ls -A "$DISK" "$DISK"/* 2> /dev/null | tr '\\n' ' ')"; exit $code`;
  const { status, stdout, stderr } = spawnSync("unshare", ["--user", "--map-root-user", "--mount", "sh", "-c", script], {
    encoding: "utf8",
    env: variables,
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

  test("under the events of a run: those that find no room are lost, and take nothing of others with them", () => {
    const script = `
      import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
      const { RunFolder } = await import(process.env.TRAINING);
      const disk = process.env.DISK;
      writeFileSync(disk + "/ballast", Buffer.alloc(8192));
      const run = RunFolder.open(disk + "/run", {});
      const file = disk + "/run/events.jsonl";
      // Of a size that divides no page, so that the last one is cut.
      for (let step = 0, before = -1; ; step++) {
        run.record("note", step, { says: "x".repeat(101) });
        const { size } = statSync(file);
        if (size === before) break;
        before = size;
      }
      rmSync(disk + "/ballast");
      run.record("there is space again", 1);
      run.close();
      const lines = readFileSync(file, "utf8").split("\\n");
      const events = lines.slice(0, -1).map((line) => JSON.parse(line).event);
      console.error("whole lines:", events.length > 5, "then", JSON.stringify(lines.at(-1)), "last:", events.at(-1));`;
    const { code, said } = onDisk("size=32k", `"$NODE" --input-type=module -e '${script}'`);
    assert.match(said, /the disk is full\. Events are lost/);
    assert.match(said, /whole lines: true then "" last: there is space again/);
    assert.equal(code, 0, said);
  });

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

describe("a limit on the size of files", () => {
  for (const [name, command] of Object.entries(commands)) {
    // Tars are written by pieces of their own, and the small ones of this test are below any limit.
    if (name === "data pack") continue;
    test(name, () => {
      const place = mkdtempSync(join(folder, "limited-"));
      const limited = command.replaceAll("$DISK", ".");
      const { status, stderr } = spawnSync("sh", ["-c", `ulimit -f 8 && ${limited}`], { cwd: place, encoding: "utf8", env: variables });
      assert.match(stderr, /this file would be larger than files may be here[^]*ulimit -f unlimited/);
      assert.doesNotMatch(stderr, /defect|\n +at |can't be read/);
      assert.equal(status, 1, stderr);
    });
  }
});
