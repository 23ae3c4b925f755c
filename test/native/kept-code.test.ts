/**
 * Compiled code on disk (native/src/kept-code.cc): what is kept is found again, and nothing that happens to the folder does more harm than
 * having it made again. What the code is, is of no matter here. That of kernels is in kernels.test.ts.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { kernelFolder, native } from "../../src/torch/index.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-kept-code-"));
after(() => rmSync(root, { recursive: true, force: true }));

/** What is used for the key: what the folder has, else `made`. */
function keep(folder: string, key: string, made: string, refused: "none" | "kept" | "all" = "none"): string {
  return native().keepCode(folder, key, made, refused);
}

function onlyFile(folder: string): string {
  const names = readdirSync(folder);
  assert.equal(names.length, 1, names.join(", "));
  return join(folder, names[0]!);
}

describe("compiled code on disk", () => {
  test("is found again by its key, with every byte", () => {
    const folder = join(root, "made", "with", "its", "parents");
    const code = "\u0000ELF\n\n\u0001code\u0000";
    assert.equal(keep(folder, "key", code), code);
    assert.equal(keep(folder, "key", "other"), code);
    assert.equal(keep(folder, "key\n", "other"), "other");
    assert.equal(keep(folder, "", ""), "");
    assert.equal(keep(folder, "", "other"), "");
    assert.equal(readdirSync(folder).length, 3);
  });

  test("is made anew and replaced where the file is damaged", () => {
    const folder = join(root, "damaged");
    const good = "code of some length".repeat(100);
    keep(folder, "key", good);
    const path = onlyFile(folder);
    const bytes = readFileSync(path);
    const damages: Record<string, () => void> = {
      "cut off at the end": () => truncateSync(path, bytes.length - 1),
      "cut off within the key": () => truncateSync(path, bytes.indexOf("key") - 1),
      "cut off in the first line": () => truncateSync(path, 4),
      empty: () => truncateSync(path, 0),
      "longer than it says": () => writeFileSync(path, Buffer.concat([bytes, Buffer.from("\n")])),
      "one bit changed": () =>
        writeFileSync(
          path,
          Uint8Array.from(bytes, (byte, i) => (i === bytes.length - 5 ? byte ^ 1 : byte)),
        ),
      "zeros of the same length": () => writeFileSync(path, Buffer.alloc(bytes.length)),
      "another key's": () => {
        keep(join(root, "another"), "kez", good);
        writeFileSync(path, readFileSync(onlyFile(join(root, "another"))));
      },
    };
    for (const [what, damage] of Object.entries(damages)) {
      damage();
      assert.equal(keep(folder, "key", "new"), "new", what);
      assert.equal(keep(folder, "key", "newer"), "new", what);
      writeFileSync(path, bytes);
      assert.equal(keep(folder, "key", "new"), good);
    }
    assert.equal(onlyFile(folder), path);
  });

  test("is made anew and replaced where it is refused, and not kept where new code is refused", () => {
    const folder = join(root, "refused");
    assert.throws(() => keep(folder, "key", "bad", "all"), /refused/);
    assert.equal(existsSync(folder), false);
    keep(folder, "key", "old");
    assert.throws(() => keep(folder, "key", "bad", "all"), /refused/);
    assert.equal(keep(folder, "key", "new", "kept"), "new");
    assert.equal(keep(folder, "key", "newer"), "new");
  });

  test("does without a folder that can't be made, read or written", () => {
    const file = join(root, "file");
    writeFileSync(file, "");
    const blocked = join(root, "blocked");
    keep(blocked, "key", "old");
    const path = onlyFile(blocked);
    rmSync(path);
    mkdirSync(join(path, "full"), { recursive: true });
    const closed = join(root, "closed");
    keep(closed, "key", "old");
    // Nothing is closed to a superuser.
    const superuser = process.getuid?.() === 0;
    chmodSync(closed, 0o000);
    for (const folder of ["", "/dev/null", "/proc/laclip/kernels", file, join(file, "below"), blocked, ...(superuser ? [] : [closed])]) {
      assert.equal(keep(folder, "key", "one"), "one", folder);
      assert.equal(keep(folder, "key", "two"), "two", folder);
    }
    assert.deepEqual(readdirSync(blocked).length, 1);
    chmodSync(closed, 0o700);
  });

  test("is whole or not there when processes write it at once and are killed", async () => {
    const folder = join(root, "killed");
    const program = fileURLToPath(new URL("programs/keep-code.js", import.meta.url));
    for (let round = 0; round < 3; round++) {
      const children = [0, 1].map(() => spawn(process.execPath, [program, folder], { stdio: ["ignore", "pipe", "inherit"] }));
      const begun = children.map(async (child) => {
        const ended = once(child, "close").then(([code]) => assert.fail(`it ended with ${code} before it had kept anything`));
        await Promise.race([once(child.stdout, "data"), ended]);
      });
      await Promise.all(begun);
      await setTimeout(Math.random() * 100);
      for (const child of children) {
        const ended = once(child, "close");
        child.kill("SIGKILL");
        await ended;
        const code = keep(folder, "key", "none");
        assert.equal(code.length, 8e6);
        assert.equal(code, code[0]!.repeat(8e6));
      }
    }
  });
});

test("compiled kernels have a folder in the user's cache, unless LACLIP_KERNEL_CACHE names another", () => {
  const before = { ...process.env };
  try {
    delete process.env["LACLIP_KERNEL_CACHE"];
    delete process.env["XDG_CACHE_HOME"];
    assert.equal(kernelFolder(), join(homedir(), ".cache", "laclip", "kernels"));
    process.env["XDG_CACHE_HOME"] = "/var/cache/mine";
    assert.equal(kernelFolder(), "/var/cache/mine/laclip/kernels");
    process.env["LACLIP_KERNEL_CACHE"] = "kernels";
    assert.equal(kernelFolder(), resolve("kernels"));
    process.env["LACLIP_KERNEL_CACHE"] = "";
    assert.equal(kernelFolder(), "/var/cache/mine/laclip/kernels");
  } finally {
    for (const name of ["LACLIP_KERNEL_CACHE", "XDG_CACHE_HOME"]) {
      delete process.env[name];
      if (before[name] !== undefined) process.env[name] = before[name];
    }
  }
});
