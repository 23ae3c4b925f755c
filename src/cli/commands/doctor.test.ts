import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Diagnosis } from "../diagnosis.ts";
import { describe } from "./doctor.ts";

const root = fileURLToPath(new URL("../../../../", import.meta.url));

function doctor(folder: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [join(folder, "dist", "src", "cli", "main.js"), "doctor", ...args], { encoding: "utf8", cwd: folder });
}

test(
  "on a machine that is set up, every part is found and measured",
  { skip: !existsSync(join(root, "build/native/current.json")) },
  () => {
    const { status, stdout, stderr } = doctor(root, "--json");
    const found = JSON.parse(stdout) as Diagnosis;
    assert.equal(found.version, 1);
    assert.equal(found.node.version, process.versions.node);
    assert.ok(found.libtorch !== null, stderr);
    assert.match(found.libtorch.version, /^\d+\.\d+/u);
    assert.ok(existsSync(found.libtorch.addon));
    assert.ok(found.blas !== null && found.blas.name !== "unknown");
    assert.ok(found.threads.used! >= 1);
    assert.equal(found.gemm[0]!.device, "cpu");
    for (const { float32, bfloat16 } of found.gemm) assert.ok(float32 > 0 && bfloat16 > 0);
    assert.ok(found.sharp !== null && found.disk.freeBytes > 0);
    assert.ok(found.images.addon !== null && existsSync(found.images.addon), found.images.missing ?? "");
    assert.equal(found.images.missing === null, found.images.libjpeg !== null);
    assert.equal(found.ok, found.problems.length === 0);
    assert.equal(status, found.ok ? 0 : 1);
  },
);

test("without an addon the rest is still reported, and the mend is to run the set-up", () => {
  const folder = mkdtempSync(join(tmpdir(), "laclip-doctor-"));
  try {
    cpSync(join(root, "dist", "src"), join(folder, "dist", "src"), { recursive: true });
    cpSync(join(root, "package.json"), join(folder, "package.json"));
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const { status, stdout } = doctor(folder, "--json");
    const found = JSON.parse(stdout) as Diagnosis;
    assert.equal(status, 1);
    assert.equal(found.ok, false);
    assert.equal(found.libtorch, null);
    assert.deepEqual(found.gemm, []);
    assert.ok(found.sharp !== null);
    assert.equal(found.images.addon, null);
    assert.ok(found.notes.some((note) => note.includes("addon for images is not built")));
    assert.ok(found.problems.some(({ mend }) => mend.includes("npm run setup")));
    const text = describe(found);
    assert.match(text, /libtorch +not set up/u);
    assert.match(text, /images +sharp alone/u);
    assert.match(text, /To mend: .*not set up/u);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
