/** A folder is written whole or not at all, also where somebody stops it. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { InterruptedError } from "../support/index.ts";
import { readModel } from "./read-model.ts";
import { modelForms, writeModel } from "./write-model.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-write-"));
after(() => rmSync(root, { recursive: true }));
const model = await readModel(fileURLToPath(new URL("../../../test/parity/exchange/open-clip-native", import.meta.url)));

for (const form of modelForms) {
  test(`a signal that comes while files for ${form} are written leaves nothing of them`, async () => {
    const stop = new AbortController();
    process.once("SIGUSR2", () => stop.abort());
    process.kill(process.pid, "SIGUSR2");
    await assert.rejects(writeModel(join(root, "out"), form, model, { signal: stop.signal }), InterruptedError);
    assert.deepEqual(readdirSync(root), []);
  });
}

test("an empty folder takes a model, the one that the command runs in does not", async () => {
  const here = process.cwd();
  mkdirSync(join(root, "here"));
  process.chdir(join(root, "here"));
  try {
    for (const name of ["", ".", "./", join(root, "here")])
      await assert.rejects(writeModel(name, "laclip", model), /that the command runs in/);
    mkdirSync("empty");
    assert.deepEqual((await writeModel("empty", "laclip", model)).files, ["laclip.json", "model.safetensors"]);
    assert.deepEqual(readdirSync("."), ["empty"]);
  } finally {
    process.chdir(here);
  }
});
