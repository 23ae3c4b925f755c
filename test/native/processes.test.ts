/**
 * What only a process of its own can show: memory over many steps, the garbage collector, workers that are ended, equal bits.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, test } from "node:test";

/** Runs a program of this folder to its end, on one thread unless said otherwise. */
async function run(program: string, args: readonly string[] = [], { flags = [] as string[], threads = 1 } = {}): Promise<string> {
  const path = fileURLToPath(new URL(`programs/${program}.js`, import.meta.url));
  // Threads that wait by spinning make a busy machine slower than one thread would be.
  const env = { ...process.env, LACLIP_THREADS: String(threads), OMP_WAIT_POLICY: "passive" };
  const child = spawn(process.execPath, [...flags, path, ...args], { env });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (output += chunk));
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk));
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (...end) => resolve(end));
  });
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, errors);
  assert.equal(errors, "");
  return output;
}

describe("memory of training", { concurrency: 2 }, () => {
  const steps = 200;
  /**
   * What may come on top after the tenth step: 30 MB were measured, all of it before the hundredth, since the allocator still meets new
   * sizes (captions of other lengths). A gradient that is lost in each step would be 34 MB a step.
   */
  const slack = 64 * 2 ** 20;
  /**
   * What the floor may rise by from the second quarter of the steps to the last, a hundred steps: half a megabyte a step. Steps of 20 MB
   * at once were seen, when the allocator takes an arena more; tensors that are lost show in their number besides.
   */
  const slope = 48 * 2 ** 20;

  for (const [way, what] of [
    ["tight", "in a tight synchronous loop"],
    ["turns", "with one turn of the event loop a step"],
  ] as const) {
    test(`stays flat after the tenth step, ${what}`, async () => {
      const rows = JSON.parse(await run("train-tiny", ["memory", way, String(steps)])) as {
        resident: number;
        live: number;
        loss: number;
      }[];
      assert.equal(rows.length, steps);
      assert.deepEqual([...new Set(rows.map(({ live }) => live))], [rows[0]!.live], "tensors alive after each step");
      const resident = rows.map((row) => row.resident);
      const growth = Math.max(...resident.slice(10)) - resident[9]!;
      assert.ok(growth < slack, `resident memory grew by ${(growth / 2 ** 20).toFixed(1)} MB after the tenth step`);
      // The lowest of many steps: what the collector of JavaScript's objects has not come to yet makes peaks, and no leak.
      const floor = (from: number, to: number): number => Math.min(...resident.slice(from * steps, to * steps));
      const late = floor(0.75, 1) - floor(0.25, 0.5);
      assert.ok(late < slope, `resident memory rose by ${(late / 2 ** 20).toFixed(1)} MB from the second quarter of the steps to the last`);
      assert.ok(rows.every(({ loss }) => Number.isFinite(loss)));
    });
  }
});

test("tensors that no scope owned are released when they are collected, and so is what was accounted for them", async () => {
  type Memory = { live: number; accountedBytes: number };
  const { before, height, end } = JSON.parse(await run("collected", [], { flags: ["--expose-gc"] })) as Record<string, Memory>;
  // Without a turn of the event loop nothing can have been released yet.
  assert.deepEqual(height, { live: before!.live + 300, accountedBytes: before!.accountedBytes + 300 * 2 ** 20 });
  assert.deepEqual(end, before);
});

test("the same seed gives the same bits after five steps, in one process and in another, on two threads; another seed does not", async () => {
  const hashes = async (...seeds: number[]): Promise<string[]> =>
    JSON.parse(await run("train-tiny", ["hash", "5", ...seeds.map(String)], { threads: 2 })) as string[];
  const [first, again, other] = await hashes(7, 7, 8);
  assert.match(first!, /^[0-9a-f]{64}$/);
  assert.equal(again, first);
  assert.notEqual(other, first);
  assert.deepEqual(await hashes(7), [first]);
});

describe("workers", () => {
  test("share nothing, end in the middle of an operation, and leave the process whole", async () => {
    const seen = JSON.parse(await run("workers", ["all"])) as {
      fit: number;
      rounds: number;
      wrong: number;
      modes: object;
      foreign: string[][];
      kept: boolean;
      codes: number[];
      after: { fit: number; sum: number; same: boolean };
      recorded: boolean;
    };
    assert.ok(seen.fit < 1e-2, `the worker's fit ended at ${seen.fit}`);
    assert.ok(seen.rounds > 0);
    assert.equal(seen.wrong, 0);
    assert.deepEqual(seen.modes, { grad: true, recorded: true, dtype: "float32", inside: "bfloat16", live: 6 });
    for (const message of seen.foreign.flat()) assert.match(message, /belongs to another worker/);
    assert.equal(seen.kept, true);
    assert.deepEqual(seen.codes, [1, 1, 1]);
    assert.equal(seen.after.fit, seen.fit);
    assert.equal(seen.after.sum, 64 ** 3);
    assert.equal(seen.after.same, true);
    assert.equal(seen.recorded, false);
  });

  test("a process may leave while one is in the middle of an operation", async () => {
    for (let i = 0; i < 3; i++) assert.equal(await run("workers", ["exit"]), "leaving");
  });
});
