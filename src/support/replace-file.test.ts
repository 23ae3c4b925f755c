/** Files and folders are replaced whole or not at all, and failures speak of them by their own names. */
import assert from "node:assert/strict";
import fs, { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import {
  LaclipError,
  ReplacingStream,
  UsageError,
  explainWriteFailure,
  replaceFile,
  replaceFileSync,
  replaceFolder,
  writeFileAtomic,
} from "./index.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-replace-"));
after(() => rmSync(root, { recursive: true }));
let places = 0;
function place(): string {
  const folder = join(root, String(places++));
  mkdirSync(folder);
  return folder;
}

const noFullDevice = !existsSync("/dev/full") && "needs /dev/full";
/** Makes a name that takes no byte: what is written there finds the disk full. */
const full = (path: string): void => symlinkSync("/dev/full", path);

/** True for an error that begins with this path and says that the disk is full there. */
const saysFull =
  (path: string) =>
  (error: unknown): boolean =>
    LaclipError.is(error) && error.message.startsWith(`${path}: the disk is full.`);

describe("a file that is replaced", () => {
  test("has the new content, or after a failure the old, and nothing lies beside it", async () => {
    const folder = place();
    const path = join(folder, "a.bin");
    replaceFileSync(path, (beside) => {
      assert.equal(dirname(beside), folder, "another folder may be another disk");
      writeFileSync(beside, "one");
    });
    await replaceFile(path, async (beside) => {
      writeFileSync(beside, "two");
      assert.equal(readFileSync(path, "utf8"), "one");
    });
    assert.equal(readFileSync(path, "utf8"), "two");
    const failure = new Error("of the writer");
    const failing = (beside: string): void => {
      writeFileSync(beside, "half");
      throw failure;
    };
    assert.throws(() => replaceFileSync(path, failing), failure);
    await assert.rejects(
      replaceFile(path, async (beside) => failing(beside)),
      failure,
    );
    assert.equal(readFileSync(path, "utf8"), "two");
    assert.deepEqual(readdirSync(folder), ["a.bin"]);
  });

  test("is called by its name where the disk is full, also when whoever writes has explained that", { skip: noFullDevice }, async () => {
    const folder = place();
    const path = join(folder, "out.npy");
    const plain = (beside: string): void => {
      full(beside);
      writeFileSync(beside, "x");
    };
    const explaining = (beside: string): void => {
      try {
        plain(beside);
      } catch (error) {
        throw explainWriteFailure(error, beside);
      }
    };
    for (const write of [plain, explaining]) {
      assert.throws(() => replaceFileSync(path, write), saysFull(path));
      await assert.rejects(
        replaceFile(path, async (beside) => write(beside)),
        saysFull(path),
      );
    }
    const other = explainWriteFailure(Object.assign(new Error("full"), { code: "ENOSPC" }), `${path}.tmp-elsewhere`);
    const elsewhere = (): void => {
      throw other;
    };
    assert.throws(() => replaceFileSync(path, elsewhere), saysFull(`${path}.tmp-elsewhere`));
    assert.deepEqual(readdirSync(folder), []);
  });

  test("can't lie in a file, or where a folder is", () => {
    const folder = place();
    writeFileSync(join(folder, "file"), "");
    mkdirSync(join(folder, "folder.npy"));
    for (const name of ["file/a.npy", "folder.npy"]) {
      assert.throws(
        () => writeFileAtomic(join(folder, name), "x"),
        (error) => error instanceof UsageError && error.message.startsWith(`${join(folder, name)}: nothing can be written there`),
      );
    }
    assert.deepEqual(readdirSync(folder), ["file", "folder.npy"]);
  });

  test("as a stream is there at its end, and not after a failure", async () => {
    const folder = place();
    const path = join(folder, "a.txt");
    const file = new ReplacingStream(path);
    file.stream.write("a");
    file.stream.end("b");
    await file.finish();
    assert.equal(readFileSync(path, "utf8"), "ab");
    const given = new ReplacingStream(path);
    given.stream.write("c");
    await given.abandon();
    const heard: Error[] = [];
    const nowhere = new ReplacingStream(join(folder, "none", "a.txt"), { onFailure: (error) => heard.push(error) });
    await assert.rejects(nowhere.finish(), /none.a\.txt: there is no folder/);
    assert.equal(heard.length, 1);
    assert.throws(() => nowhere.assertSound(), UsageError);
    assert.equal(readFileSync(path, "utf8"), "ab");
    assert.deepEqual(readdirSync(folder), ["a.txt"]);
  });
});

describe("a folder that is replaced", () => {
  const filled = async (beside: string): Promise<void> => writeFileAtomic(join(beside, "a"), "new");

  test("holds what was filled in and nothing of before; a failure leaves what was there", async () => {
    const folder = place();
    const path = join(folder, "world");
    await replaceFolder(path, async (beside) => {
      writeFileSync(join(beside, "a"), "old");
      writeFileSync(join(beside, "b"), "old");
    });
    const failure = new Error("of whoever fills");
    const failing = async (beside: string): Promise<void> => {
      await filled(beside);
      throw failure;
    };
    await assert.rejects(replaceFolder(path, failing), failure);
    assert.deepEqual(readdirSync(path), ["a", "b"]);
    await replaceFolder(path, filled);
    assert.deepEqual(readdirSync(path), ["a"]);
    assert.deepEqual(readdirSync(folder), ["world"]);
  });

  test("may be named with a slash at its end", async () => {
    const folder = place();
    mkdirSync(join(folder, "world"));
    await replaceFolder(`${join(folder, "world")}/`, filled);
    await replaceFolder(`${join(folder, "new")}//`, filled);
    assert.deepEqual([readdirSync(folder), readdirSync(join(folder, "world"))], [["new", "world"], ["a"]]);
  });

  test("is put back where the new one can't take its place", async (t) => {
    const folder = place();
    const path = join(folder, "world");
    await replaceFolder(path, filled);
    const rename = fs.renameSync;
    const refusing = (from: fs.PathLike, to: fs.PathLike): void => {
      if (to === path && !String(from).endsWith("-before")) throw Object.assign(new Error("refused"), { code: "EACCES" });
      rename(from, to);
    };
    const use = (one: typeof fs.renameSync): void => {
      fs.renameSync = one;
      syncBuiltinESMExports();
    };
    t.after(() => use(rename));
    const other = async (beside: string): Promise<void> => {
      writeFileSync(join(beside, "b"), "");
      use(refusing);
    };
    await assert.rejects(replaceFolder(path, other), /world: no permission/);
    assert.deepEqual(readdirSync(folder), ["world"]);
    assert.deepEqual(readdirSync(path), ["a"]);
  });

  test("may be filled in a folder that the caller has made, and takes its place whatever a killed process left", async () => {
    const folder = place();
    const [path, beside] = [join(folder, "out"), join(folder, ".out.merging")];
    for (const left of [path, beside, `${beside}-before`]) {
      mkdirSync(left);
      writeFileSync(join(left, "left"), basename(left));
    }
    await replaceFolder(path, filled, { beside });
    assert.deepEqual(readdirSync(path), ["a", "left"]);
    assert.deepEqual(readdirSync(folder), ["out"]);
  });

  test("is called by its name where the disk is full, and so are its files", { skip: noFullDevice }, async () => {
    const folder = place();
    const path = join(folder, "world");
    const plain = async (beside: string): Promise<void> => {
      full(join(beside, "a"));
      writeFileSync(join(beside, "a"), "x");
    };
    await assert.rejects(replaceFolder(path, plain), saysFull(path));
    const explaining = async (beside: string): Promise<void> => {
      const file = join(beside, "parts", "b");
      mkdirSync(dirname(file));
      replaceFileSync(file, (one) => {
        full(one);
        writeFileSync(one, "x");
      });
    };
    await assert.rejects(replaceFolder(path, explaining), saysFull(join(path, "parts", "b")));
    assert.deepEqual(readdirSync(folder), []);
  });
});
