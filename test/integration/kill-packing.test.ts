/**
 * `laclip data pack` killed at random moments, over and over: in the end its folder must be that of a packing nobody disturbed, and
 * after every kill each tar that is there is whole.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Random } from "../../src/support/index.ts";
import { type Ended, startLaclip } from "./laclip.ts";
import { writeCollection } from "./small-collection.ts";

const kills = Number(process.env["LACLIP_KILLS"] ?? 8);
const folder = mkdtempSync(join(tmpdir(), "laclip-kill-pack-"));
after(() => rmSync(folder, { recursive: true }));

interface Packed extends Ended {
  /** Milliseconds. */
  took: number;
}

/** Packs, and sends a signal once it is time, if it runs as long. */
async function pack(collection: string, out: string, signal?: NodeJS.Signals, isTime?: (milliseconds: number) => boolean): Promise<Packed> {
  const started = performance.now();
  const args = ["data", "pack", collection, "--out", out, "--samples-per-shard", "10", "--in-flight", "4"];
  const { child, ended } = startLaclip(args);
  const timer = setInterval(() => {
    if (!isTime?.(performance.now() - started)) return;
    child.kill(signal);
    clearInterval(timer);
  }, 2);
  try {
    return { ...(await ended), took: performance.now() - started };
  } finally {
    clearInterval(timer);
  }
}

const filesOf = (out: string): string[] => readdirSync(out).sort();

function assertWholeTars(out: string): void {
  for (const name of existsSync(out) ? filesOf(out).filter((file) => file.endsWith(".tar")) : []) {
    const { status, stdout, stderr } = spawnSync("tar", ["-tf", join(out, name)], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    assert.equal(stdout.trim().split("\n").length, 30, `${name} has not all of its samples`);
  }
}

test("killed at random moments, a packing ends with what an undisturbed one writes", async (context) => {
  const collection = join(folder, "collection");
  await writeCollection(collection, 300);
  const whole = join(folder, "whole");
  const { code, stderr, took } = await pack(collection, whole);
  assert.equal(code, 0, stderr);
  const random = Random.of("kill packing");
  const out = join(folder, "killed");
  let killed = 0;
  for (let i = 0; i < kills; i++) {
    const moment = random.uniform() * took;
    const ended = await pack(collection, out, "SIGKILL", (passed) => passed > moment);
    if (ended.code === null) killed++;
    else assert.equal(ended.code, 0, ended.stderr);
    assertWholeTars(out);
    // A packing that came to its end has nothing left to disturb.
    if (ended.code === 0) rmSync(out, { recursive: true });
  }
  context.diagnostic(`${killed} of ${kills} were killed before their end`);
  const last = await pack(collection, out);
  assert.equal(last.code, 0, last.stderr);
  assert.deepEqual(filesOf(out), filesOf(whole));
  for (const name of filesOf(whole)) {
    if (name !== "laclip-pack.jsonl") assert.deepEqual(readFileSync(join(out, name)), readFileSync(join(whole, name)), name);
  }
});

test("Ctrl-C ends a packing with 75, and the same command goes on", async () => {
  const collection = join(folder, "more");
  await writeCollection(collection, 1500);
  const out = join(folder, "stopped");
  const stop = async (): Promise<Packed> => await pack(collection, out, "SIGINT", () => existsSync(join(out, "00003.tar")));
  let stopped = await stop();
  // Where this process stood still for so long that all was packed by then, once more.
  for (let tries = 1; stopped.code === 0 && tries < 5; tries++) {
    rmSync(out, { recursive: true });
    stopped = await stop();
  }
  assert.equal(stopped.code, 75, stopped.stderr);
  assertWholeTars(out);
  const tars = filesOf(out).filter((name) => name.endsWith(".tar")).length;
  assert.ok(tars < 150, `${tars} tars`);
  const { code: then, stderr: words } = await pack(collection, out);
  assert.equal(then, 0, words);
  assert.match(words, new RegExp(`1500 samples in 150 tars \\(${tars} of them by an earlier start\\)`));
});
