/**
 * Compiled kernels that an earlier process has left on disk, on a GPU: loaded without a compiler, and compiled again where the driver refuses
 * them. What the files themselves can meet is in test/native/kept-code.test.ts.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { native } from "../../src/torch/index.ts";
import { gpu, unless } from "./devices.ts";

describe("kernels kept on disk", () => {
  const folder = mkdtempSync(join(tmpdir(), "laclip-gpu-kernels-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  function use(): { problem: string; values: number[]; compilations: number } {
    const program = fileURLToPath(new URL("programs/use-kernels.js", import.meta.url));
    const env = { ...process.env, LACLIP_KERNEL_CACHE: folder, LACLIP_KERNELS: "on" };
    return JSON.parse(execFileSync(process.execPath, [program], { env, encoding: "utf8" })) as ReturnType<typeof use>;
  }

  test("are not compiled by the next process, unless the driver refuses them", unless(gpu), () => {
    const first = use();
    assert.equal(first.problem, "none");
    const files = readdirSync(folder);
    assert.ok(first.compilations > 0);
    assert.equal(files.length, first.compilations);
    assert.deepEqual(use(), { ...first, compilations: 0 });
    // A file in order whose code is none.
    for (const file of files) {
      const bytes = readFileSync(join(folder, file));
      const [line, length] = /^laclip code 1: key of (\d+) bytes.*\n/.exec(bytes.toString("latin1")) as unknown as [string, string];
      const key = bytes.toString("utf8", line.length, line.length + Number(length));
      assert.equal(native().keepCode(folder, key, "no code", "kept"), "no code");
    }
    assert.deepEqual(readdirSync(folder), files);
    assert.deepEqual(use(), first);
    assert.deepEqual(use(), { ...first, compilations: 0 });
  });
});
