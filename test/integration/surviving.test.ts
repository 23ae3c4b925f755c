/**
 * Training that meets what long runs meet: kills at every point, a full disk, numbers that are not finite, a loader that hangs.
 *
 * Each run is the command line in a process of its own. What it ends with is held, bit by bit, against a run that met nothing.
 * LACLIP_KILLS says how many kills at random moments; default 3.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { Random } from "../../src/support/index.ts";
import type { RunEvent } from "../../src/training/index.ts";

const main = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "laclip-surviving-"));
const data = join(root, "data");
const kills = Number(process.env["LACLIP_KILLS"] ?? 3);
const colours = ["red", "green", "blue", "yellow"] as const;

interface Ended {
  code: number | null;
  stderr: string;
}

interface Started {
  child: ChildProcess;
  ended: Promise<Ended>;
}

/** A run of the nano model on 24 images, 3 steps an epoch. */
function start(out: string, settings: readonly string[], { faults = "", flags = [] as string[], threads = "1" } = {}): Started {
  const all = ["model.preset=nano", "training.batchSize=8", "training.warmupSteps=2", "training.checkpointEvery=2", "training.logEvery=1"];
  const sets = [...all, ...settings].flatMap((setting) => ["--set", setting]);
  const args = [main, "train", "emoji-clip", "--data", data, "--out", join(root, out), "--image-threads", threads, ...sets, ...flags];
  const env = { ...process.env, LACLIP_THREADS: "1", LACLIP_FAULTS: faults };
  const child = spawn(process.execPath, args, { env });
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += chunk));
  child.stdout.resume();
  return { child, ended: new Promise((resolve) => child.on("close", (code) => resolve({ code, stderr }))) };
}

const train = async (...args: Parameters<typeof start>): Promise<Ended> => await start(...args).ended;

async function finished(...args: Parameters<typeof start>): Promise<string> {
  const { code, stderr } = await train(...args);
  assert.equal(code, 0, stderr);
  return stderr;
}

const weights = (out: string): string =>
  createHash("sha256")
    .update(readFileSync(join(root, out, "model", "model.safetensors")))
    .digest("hex");
const checkpoints = (out: string): string[] => {
  const folder = join(root, out, "checkpoints");
  return existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.startsWith("step-"))
        .toSorted()
    : [];
};
const events = (out: string, kind: string): RunEvent[] =>
  readFileSync(join(root, out, "events.jsonl"), "utf8")
    .split("\n")
    .slice(0, -1) // what is behind the last end of a line is being written
    .map((line) => JSON.parse(line) as RunEvent)
    .filter(({ event }) => event === kind);

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 2400 && !what(); i++) await sleep(25);
  assert.ok(what(), "waited a minute in vain");
}

describe("a run that survives", () => {
  before(async () => {
    mkdirSync(join(data, "images"), { recursive: true });
    const rows = ["id,image,caption"];
    for (let i = 0; i < 24; i++) {
      const colour = colours[i % colours.length]!;
      const image = sharp({ create: { width: 20 + i, height: 24, channels: 3, background: colour } });
      await image.png().toFile(join(data, "images", `${i}.png`));
      rows.push(`sample-${i},images/${i}.png,a ${colour} picture number ${i}`);
    }
    writeFileSync(join(data, "captions.csv"), `${rows.join("\n")}\n`);
    await finished("whole", ["training.steps=12"]);
  });
  after(() => rmSync(root, { recursive: true }));

  test("a kill at every point of writing a checkpoint", async () => {
    // Step 6 ends an epoch. Points: folder, three files of tensors, texts, manifest, rename, sync.
    for (let point = 1; point <= 8; point++) {
      const out = `kill-point-${point}`;
      const { code } = await train(out, ["training.steps=12"], { faults: `kill-write@6=${point}` });
      assert.equal(code, null, `killed at point ${point}`);
      const there = checkpoints(out).includes("step-00000006");
      assert.equal(there, point >= 7, `point ${point}: the checkpoint is there from the rename on`);
      await finished(out, ["training.steps=12"]);
      assert.equal(weights(out), weights("whole"), `point ${point}`);
      assert.ok(
        readdirSync(join(root, out, "checkpoints")).every((name) => name.startsWith("step-")),
        "nothing is left over",
      );
    }
  });

  test(`${kills} kills at random moments, resumed with other numbers of image threads`, async () => {
    const settings = ["training.steps=150", "training.checkpointEvery=3"];
    const began = performance.now();
    await finished("long-whole", settings);
    const length = performance.now() - began;
    const random = Random.of("kills", kills);
    let left = kills;
    for (let runs = 0; left > 0; runs++) {
      const out = `random-${runs}`;
      for (let starts = 0; ; starts++) {
        const run = start(out, settings, { threads: String(1 + (starts % 3)) });
        if (left === 0) {
          assert.equal((await run.ended).code, 0);
          break;
        }
        await Promise.race([sleep(length * (0.1 + 0.8 * random.uniform())), run.ended]);
        if (run.child.exitCode !== null) break;
        run.child.kill("SIGKILL");
        await run.ended;
        left--;
      }
      assert.equal(weights(out), weights("long-whole"), out);
      assert.deepEqual(
        events(out, "train").map(({ step }) => step),
        events("long-whole", "train").map(({ step }) => step),
      );
    }
  });

  test("a full disk while a checkpoint is written is said, and training goes on to the next try", async () => {
    const stderr = await finished("full-disk", ["training.steps=12", "training.keepCheckpoints=10"], {
      faults: "full-disk@4,full-disk@12",
    });
    assert.match(stderr, /checkpoint of step 4 could not be written; training goes on\..*the disk is full/);
    assert.deepEqual(
      checkpoints("full-disk"),
      [2, 6, 8, 10].map((step) => `step-${String(step).padStart(8, "0")}`),
    );
    assert.equal(weights("full-disk"), weights("whole"));
  });

  test("steps that are not finite, by loss or by gradient, are left out and counted", async () => {
    const stderr = await finished("nan", ["training.steps=12"], { faults: "nan@3,infinite-gradient@6" });
    assert.match(stderr, /Step 4 was left out: not finite/);
    assert.match(stderr, /2 of 12 steps were left out/);
    assert.deepEqual(
      events("nan", "skipped").map(({ step, reason }) => [step, reason]),
      [
        [4, "not finite"],
        [7, "not finite"],
      ],
    );
    assert.notEqual(weights("nan"), weights("whole"));

    // Killed behind it, the run must not forget that there was one update less.
    const settings = ["training.steps=12"];
    assert.equal((await train("nan-killed", settings, { faults: "nan@3,kill-write@6=8" })).code, null);
    await finished("nan-killed", settings, { faults: "infinite-gradient@6" });
    assert.equal(weights("nan-killed"), weights("nan"));
  });

  test("several in a row roll the run back and past the data, as a new run that leaves them out", async () => {
    const settings = ["training.steps=14", "training.nonFinite=3"];
    const faults = "nan@5,nan@6,nan@7";
    const stderr = await finished("rolled-back", settings, { faults });
    assert.match(stderr, /3 steps in a row were not finite: rolled back to the weights of step 4/);
    const skipped = JSON.parse(readFileSync(join(root, "rolled-back", "skipped.json"), "utf8")) as {
      skipped: { from: number; to: number }[];
    };
    assert.deepEqual(
      skipped.skipped.map(({ from, to }) => [from, to]),
      [[4, 8]],
    );
    await finished("left-out", [...settings, 'training.skipSteps=[{"from":4,"to":8}]']);
    assert.equal(weights("rolled-back"), weights("left-out"));
    assert.notEqual(weights("rolled-back"), weights("whole"));

    assert.equal((await train("rolled-back-killed", settings, { faults: `${faults},kill-write@10=3` })).code, null);
    await finished("rolled-back-killed", settings);
    assert.equal(weights("rolled-back-killed"), weights("left-out"), "the resumed run passes over the same steps");
  });

  test("a run that rolls back too often, or has nowhere to go back to, ends with code 5", async () => {
    const settings = ["training.steps=14", "training.nonFinite=1", "training.rollbacks=1"];
    const often = await train("too-often", settings, { faults: "nan@5,nan@9" });
    assert.equal(often.code, 5, often.stderr);
    assert.match(often.stderr, /rolled back 1 times before/);
    const early = await train("too-early", settings, { faults: "nan@1" });
    assert.equal(early.code, 5, early.stderr);
    assert.match(early.stderr, /no checkpoint from before to go back to/);
  });

  test("a jump of the loss is left out once there are 128 steps to hold it against", async () => {
    const settings = ["training.steps=140", "training.checkpointEvery=1000", "training.spikeGuard=true"];
    await finished("spike", settings, { faults: "spike@135=1000" });
    assert.deepEqual(
      events("spike", "skipped").map(({ step, reason }) => [step, reason]),
      [[136, "spike"]],
    );
  });

  test("a run whose loader hangs says so, and with --stall-exit saves and stops", async () => {
    const settings = ["training.steps=12", "training.checkpointEvery=1000"];
    const faults = "slow-batch@5=300000";
    const { code, stderr } = await train("stalled", settings, { faults, flags: ["--stall-minutes", "0.2", "--stall-exit"] });
    assert.equal(code, 75, stderr);
    assert.match(stderr, /No step was finished after step 5 of 12 for \d+ s: it waits for the next batch/);
    assert.deepEqual(checkpoints("stalled"), ["step-00000005"]);
    await finished("stalled", settings);
    assert.equal(weights("stalled"), weights("whole"));
    const beat = JSON.parse(readFileSync(join(root, "stalled", "heartbeat.json"), "utf8")) as { totalSteps: number };
    assert.equal(beat.totalSteps, 12);
  });

  test("a second signal ends the process at once", async () => {
    const faults = "slow-batch@5=60000,slow-write@5=60000";
    const run = start("two-signals", ["training.steps=12", "training.checkpointEvery=1000"], { faults });
    await until(() => existsSync(join(root, "two-signals", "events.jsonl")) && events("two-signals", "train").length === 5);
    run.child.kill("SIGTERM");
    await until(() => existsSync(join(root, "two-signals", "checkpoints")));
    run.child.kill("SIGTERM");
    assert.equal((await run.ended).code, 143);
  });

  test("checkpoints by minutes, and the best by a measure beside the newest", async () => {
    const dataset = join(root, "dataset");
    for (const colour of colours) {
      mkdirSync(join(dataset, colour), { recursive: true });
      const image = sharp({ create: { width: 30, height: 30, channels: 3, background: colour } });
      await image.png().toFile(join(dataset, colour, "a.png"));
    }
    const settings = [
      "training.steps=12",
      "training.checkpointEvery=100",
      "training.keepCheckpoints=1",
      "training.keepBest=val/zero-shot-top1",
    ];
    const flags = ["--evaluate", dataset, "--evaluate-every", "3"];
    await finished("best", settings, { flags });
    const measured = events("best", "evaluation").map(({ step, ...measures }) => ({
      step,
      top1: measures["val/zero-shot-top1"] as number,
    }));
    assert.deepEqual(
      measured.map(({ step }) => step),
      [3, 6, 9, 12],
    );
    const best = measured.reduce((one, other) => (other.top1 > one.top1 ? other : one));
    const link = realpathSync(join(root, "best", "checkpoints", "best"));
    assert.ok(link.endsWith(`step-${String(best.step).padStart(8, "0")}`), link);
    assert.deepEqual(
      checkpoints("best"),
      [...new Set([best.step, 12])].map((step) => `step-${String(step).padStart(8, "0")}`),
    );
    assert.equal(weights("best"), weights("whole"), "looking changes nothing");

    await finished("minutes", [
      "training.steps=12",
      "training.checkpointEvery=100",
      "training.checkpointMinutes=0.0001",
      "training.keepCheckpoints=20",
    ]);
    assert.ok(checkpoints("minutes").length > 3);
    const refused = await train("unmeasured", settings);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /does not measure.*--evaluate/s);
  });

  test("a tracking server gets every line, and one that is away does not stop the run", async () => {
    const steps: number[] = [];
    const server = createServer((request, response) => {
      let text = "";
      request.on("data", (chunk) => (text += chunk));
      request.on("end", () => {
        steps.push(...(JSON.parse(text) as { steps: number[] }).steps);
        response.end("{}");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const report = (): string[] => ["--report-to", `trackio=${address}`];
    await finished("reported", ["training.steps=4"], { flags: report() });
    assert.deepEqual(steps, [1, 2, 3, 4]);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    const stderr = await finished("unreported", ["training.steps=4"], { flags: report() });
    assert.match(stderr, /did not get 4 points; they are in events\.jsonl/);
    assert.equal(weights("unreported"), weights("reported"));
  });
});
