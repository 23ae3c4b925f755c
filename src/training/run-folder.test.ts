/** What a run folder keeps, and lets go of, when the disk takes a part of an event or nothing at all. */
import assert from "node:assert/strict";
import fs, { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, after, describe, test } from "node:test";
import { RunFolder } from "./run-folder.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-run-folder-"));
after(() => rmSync(root, { recursive: true }));

const own = { fsyncSync: fs.fsyncSync, writeSync: fs.writeSync };
function use(calls: Partial<typeof own>): void {
  Object.assign(fs, own, calls);
  syncBuiltinESMExports();
}
afterEach(() => use({}));

const failure = (code: string): Error => Object.assign(new Error(`${code}: as a disk says it`), { code });
const refusing = (code: string) => (): never => {
  throw failure(code);
};
type Write = (file: number, bytes: Uint8Array, offset?: number, length?: number, position?: number | null) => number;

/** A disk that takes no more than so many bytes in one call, and so many in all. */
function disk(inOneCall: number, inAll = Infinity): typeof fs.writeSync {
  let left = inAll;
  const write: Write = (file, given, offset = 0, length = given.length - offset, position = null) => {
    if (left === 0) throw failure("ENOSPC");
    const bytes = typeof given === "string" ? Buffer.from(given) : given;
    const taken = own.writeSync(file, bytes, offset, Math.min(length || bytes.length, inOneCall, left), position);
    left -= taken;
    return taken;
  };
  return write as typeof fs.writeSync;
}

/** Files in `folder` that this process has open. */
function openFiles(folder: string): string[] {
  return readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      const path = readlinkSync(join("/proc/self/fd", name));
      return path.startsWith(`${folder}/`) ? [path] : [];
    } catch {
      return []; // the folder's own
    }
  });
}
const skip = process.platform !== "linux" && "needs /proc";

const steps = (run: RunFolder): number[] => run.events().map(({ step }) => step);

describe("a run folder", () => {
  test("writes an event to its end when the disk takes it piece by piece", () => {
    const run = RunFolder.open(join(root, "pieces"), {});
    use({ writeSync: disk(7) });
    for (const step of [1, 2]) run.record("train", step, { "train/loss": 0.5 });
    use({});
    assert.deepEqual(steps(run), [1, 2]);
    run.close();
  });

  test("goes on with other settings where they may change, and then knows the new ones; others are refused", (t) => {
    const path = join(root, "changed");
    const config = (logEvery: number, lr: number): object => ({ recipe: { lr, training: { logEvery } } });
    const free = ["recipe.training.logEvery"];
    RunFolder.open(path, config(5, 1), free).close();
    const said: string[] = [];
    t.mock.method(process.stderr, "write", (text: string) => said.push(text) > 0);
    for (let start = 0; start < 2; start++) RunFolder.open(path, config(1, 1), free).close();
    assert.equal(said.length, 1, "once");
    assert.match(said[0]!, /recipe\.training\.logEvery: 5 there, 1 now/);
    assert.match(readFileSync(join(path, "config.json"), "utf8"), /"logEvery": 1/);
    assert.throws(() => RunFolder.open(path, config(1, 2), free), /recipe\.lr: 1 there, 2 now/);
  });

  test("loses an event that a full disk cuts short, and no other", { skip }, () => {
    const path = join(root, "full");
    const run = RunFolder.open(path, {});
    run.record("start", 0);
    use({ writeSync: disk(20, 20) });
    run.record("train", 1, { "train/loss": 0.5 });
    use({});
    assert.match(readFileSync(join(path, "events.jsonl"), "utf8"), /^.*"start".*\n$/, "nor the part of it that fitted");
    run.record("train", 2, { "train/loss": 0.25 });
    assert.deepEqual(steps(run), [0, 2]);
    run.close();
    assert.deepEqual(openFiles(path), []);
  });

  test("leaves no file open for TensorBoard that a full disk has cut short", { skip }, () => {
    const path = join(root, "plots");
    const run = RunFolder.open(path, {});
    const plots = (): string[] => openFiles(path).filter((file) => file.includes("tfevents"));
    for (const spoil of [{ writeSync: disk(20, 20) }, { fsyncSync: refusing("ENOSPC") }]) {
      run.record("train", 1, { "train/loss": 0.5 });
      assert.equal(plots().length, 1);
      use(spoil);
      run.sync();
      assert.equal(plots().length, 0);
      use({});
    }
    // Not even the first record of a new file fits.
    const onlyEvents: Write = (file, bytes) => {
      if (readlinkSync(`/proc/self/fd/${file}`).includes("tfevents")) throw failure("ENOSPC");
      return own.writeSync(file, bytes);
    };
    use({ writeSync: onlyEvents as typeof fs.writeSync });
    run.record("train", 2, { "train/loss": 0.5 });
    use({});
    assert.equal(plots().length, 0);
    run.record("train", 3, { "train/loss": 0.5 });
    assert.equal(plots().length, 1);
    run.close();
    assert.deepEqual(openFiles(path), []);
  });

  test("is free for others once it was closed, also where a file can't be ended", { skip }, () => {
    const path = join(root, "closing");
    for (const [code, thrown] of [
      ["EIO", true],
      ["ENOSPC", false],
    ] as const) {
      const run = RunFolder.open(path, {});
      run.record("train", 1, { "train/loss": 0.5 });
      use({ fsyncSync: refusing(code) });
      if (thrown) assert.throws(() => run.close(), new RegExp(code));
      else run.close();
      use({});
      assert.deepEqual(openFiles(path), []);
    }
    RunFolder.open(path, {}).close();
  });
});
