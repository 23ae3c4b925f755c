import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { findModelFile } from "./find-model.ts";

test("the smallest usable model file is found, below any folder", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "laclip-models-"));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, "owner", "repository"), { recursive: true });
  const put = (name: string, bytes: number): void => writeFileSync(join(folder, name), Buffer.alloc(bytes));
  put("owner/repository/large.gguf", 3000);
  put("owner/repository/small.gguf", 2000);
  put("owner/repository/small-00001-of-00002.gguf", 1500);
  put("mmproj-small.gguf", 1500);
  put("toy.gguf", 100);
  put("notes.txt", 1800);
  symlinkSync("circle.gguf", join(folder, "circle.gguf")); // can't be read, not even by root
  assert.equal(findModelFile([join(folder, "missing"), folder], 1000), join(folder, "owner", "repository", "small.gguf"));
  assert.equal(findModelFile([folder], 10_000), undefined);
  // A folder that is a link, and one that leads back up.
  mkdirSync(join(folder, "links"));
  symlinkSync(join(folder, "owner"), join(folder, "links", "elsewhere"));
  symlinkSync(join(folder, "links"), join(folder, "links", "around"));
  assert.equal(findModelFile([join(folder, "links")], 1000), join(folder, "links", "elsewhere", "repository", "small.gguf"));
});
