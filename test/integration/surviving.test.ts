/**
 * Training that meets what long runs meet: kills at every point, a full disk, numbers that are not finite, a loader that hangs.
 *
 * Each run is the command line in a process of its own. What it ends with is held, bit by bit, against a run that met nothing.
 * LACLIP_KILLS says how many kills at random moments; default 1.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readdirSync, realpathSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../../src/support/index.ts";
import { NanoRuns, childrenOf, colours, killIfAlive, plainPicture, until } from "./nano-runs.ts";
import { withoutGloo } from "./start-ranks.ts";

const kills = Number(process.env["LACLIP_KILLS"] ?? 1);
const runs = new NanoRuns("surviving");
const { root } = runs;

describe("a run that survives", () => {
  before(async () => {
    await runs.open();
    await runs.finished("whole", ["training.steps=12"]);
  });
  after(() => runs.close());

  test("a kill at every point of writing a checkpoint", async () => {
    // Points: folder, three files of tensors, texts, manifest, rename, sync. One run meets all of them, at a step each; some end an epoch.
    const settings = ["training.steps=12", "training.checkpointEvery=1"];
    const leftOver = (): string[] => readdirSync(runs.path("kill-points", "checkpoints")).filter((name) => !name.startsWith("step-"));
    for (let point = 1; point <= 8; point++) {
      const step = point + 1;
      const { code } = await runs.train("kill-points", settings, { faults: `kill-write@${step}=${point}` });
      assert.equal(code, null, `killed at point ${point}`);
      const there = runs.checkpoints("kill-points").includes(`step-${String(step).padStart(8, "0")}`);
      assert.equal(there, point >= 7, `point ${point}: the checkpoint is there from the rename on`);
      assert.ok(leftOver().length <= (there ? 0 : 1), `point ${point}: more is left than this kill left: ${leftOver().join(", ")}`);
    }
    await runs.finished("kill-points", settings);
    assert.equal(runs.weights("kill-points"), runs.weights("whole"));
    assert.deepEqual(leftOver(), []);
  });

  for (const ranks of [1, 2]) {
    const what = `kills at random moments (${kills}), ${ranks === 1 ? "resumed with other numbers of image threads" : "of one of two processes"}`;
    test(what, { skip: ranks > 1 && withoutGloo() }, async () => {
      const settings = ["training.steps=150", "training.checkpointEvery=3"];
      const whole = `long-whole-${ranks}`;
      const began = performance.now();
      await runs.finished(whole, settings, { ranks });
      const length = performance.now() - began;
      const random = Random.of("kills", kills, ranks);
      let left = kills;
      for (let run = 0; left > 0; run++) {
        const out = `random-${ranks}-${run}`;
        for (let starts = 0; ; starts++) {
          const { child, ended } = runs.start(out, settings, { ranks, flags: ["--image-threads", String(1 + (starts % 3))] });
          if (left === 0) {
            assert.equal((await ended).code, 0);
            break;
          }
          await Promise.race([sleep(length * (0.1 + 0.8 * random.uniform())), ended]);
          // Where a launcher has started them, one of the processes: it has to end the others.
          const victim = ranks === 1 ? child.pid! : childrenOf(child.pid!)[random.integer(ranks)];
          if (child.exitCode !== null) break;
          if (victim !== undefined) killIfAlive(victim);
          if ((await ended).code === 0) break; // too late, or too early
          left--;
        }
        assert.equal(runs.weights(out), runs.weights(whole), out);
        const steps = (name: string): number[] => runs.events(name, "train").map(({ step }) => step);
        assert.deepEqual(steps(out), steps(whole));
      }
    });
  }

  for (const ranks of [1, 2]) {
    test(`a kill between the micro-batches of a step, ${ranks} processes`, { skip: ranks > 1 && withoutGloo() }, async () => {
      const settings = ["training.steps=8", "training.microBatch=3"];
      await runs.finished(`parts-${ranks}`, settings, { ranks });
      const killed = await runs.train(`parts-killed-${ranks}`, settings, { ranks, faults: "kill-step@5" });
      assert.notEqual(killed.code, 0);
      assert.equal(runs.events(`parts-killed-${ranks}`, "train").at(-1)?.step, 5);
      const stderr = await runs.finished(`parts-killed-${ranks}`, settings, { ranks });
      assert.match(stderr, /Going on from step [24]/);
      assert.equal(runs.weights(`parts-killed-${ranks}`), runs.weights(`parts-${ranks}`));
    });
  }

  test("a full disk while a checkpoint is written is said, and training goes on to the next try", async () => {
    const stderr = await runs.finished("full-disk", ["training.steps=12", "training.keepCheckpoints=10"], {
      faults: "full-disk@4,full-disk@12",
    });
    assert.match(stderr, /checkpoint of step 4 could not be written; training goes on\..*the disk is full/);
    assert.deepEqual(
      runs.checkpoints("full-disk"),
      [2, 6, 8, 10].map((step) => `step-${String(step).padStart(8, "0")}`),
    );
    assert.equal(runs.weights("full-disk"), runs.weights("whole"));
  });

  test("steps that are not finite, by loss or by gradient, are left out and counted", async () => {
    const stderr = await runs.finished("nan", ["training.steps=12"], { faults: "nan@3,infinite-gradient@6" });
    assert.match(stderr, /Step 4 was left out: not finite/);
    assert.match(stderr, /2 of 12 steps were left out/);
    assert.deepEqual(
      runs.events("nan", "skipped").map(({ step, reason }) => [step, reason]),
      [
        [4, "not finite"],
        [7, "not finite"],
      ],
    );
    assert.notEqual(runs.weights("nan"), runs.weights("whole"));

    // Killed behind it, the run must not forget that there was one update less.
    const settings = ["training.steps=12"];
    assert.equal((await runs.train("nan-killed", settings, { faults: "nan@3,kill-write@6=8" })).code, null);
    await runs.finished("nan-killed", settings, { faults: "infinite-gradient@6" });
    assert.equal(runs.weights("nan-killed"), runs.weights("nan"));
  });

  test("several in a row roll the run back and past the data, as a new run that leaves them out", async () => {
    const settings = ["training.steps=14", "training.nonFinite=3"];
    const faults = "nan@5,nan@6,nan@7";
    const stderr = await runs.finished("rolled-back", settings, { faults });
    assert.match(stderr, /3 steps in a row were not finite: rolled back to the weights of step 4/);
    const skipped = JSON.parse(readFileSync(runs.path("rolled-back", "skipped.json"), "utf8")) as {
      skipped: { from: number; to: number }[];
    };
    assert.deepEqual(
      skipped.skipped.map(({ from, to }) => [from, to]),
      [[4, 8]],
    );
    await runs.finished("left-out", [...settings, 'training.skipSteps=[{"from":4,"to":8}]']);
    assert.equal(runs.weights("rolled-back"), runs.weights("left-out"));
    assert.notEqual(runs.weights("rolled-back"), runs.weights("whole"));

    assert.equal((await runs.train("rolled-back-killed", settings, { faults: `${faults},kill-write@10=3` })).code, null);
    await runs.finished("rolled-back-killed", settings);
    assert.equal(runs.weights("rolled-back-killed"), runs.weights("left-out"), "the resumed run passes over the same steps");
  });

  test("a run that rolls back too often, or has nowhere to go back to, ends with code 5", async () => {
    const settings = ["training.steps=14", "training.nonFinite=1", "training.rollbacks=1"];
    const often = await runs.train("too-often", settings, { faults: "nan@5,nan@9" });
    assert.equal(often.code, 5, often.stderr);
    assert.match(often.stderr, /rolled back 1 times before/);
    const early = await runs.train("too-early", settings, { faults: "nan@1" });
    assert.equal(early.code, 5, early.stderr);
    assert.match(early.stderr, /no checkpoint from before to go back to/);
  });

  test("a jump of the loss is left out once there are 128 steps to hold it against", async () => {
    const settings = ["training.steps=140", "training.checkpointEvery=1000", "training.spikeGuard=true"];
    await runs.finished("spike", settings, { faults: "spike@135=1000" });
    assert.deepEqual(
      runs.events("spike", "skipped").map(({ step, reason }) => [step, reason]),
      [[136, "spike"]],
    );
  });

  test("a run whose loader hangs says so, and with --stall-exit saves and stops", async () => {
    const settings = ["training.steps=12", "training.checkpointEvery=1000"];
    const faults = "slow-batch@5=300000";
    const { code, stderr } = await runs.train("stalled", settings, { faults, flags: ["--stall-minutes", "0.2", "--stall-exit"] });
    assert.equal(code, 75, stderr);
    assert.match(stderr, /No step was finished after step 5 of 12 for \d+s: it waits for the next batch/);
    assert.deepEqual(runs.checkpoints("stalled"), ["step-00000005"]);
    await runs.finished("stalled", settings);
    assert.equal(runs.weights("stalled"), runs.weights("whole"));
    const beat = JSON.parse(readFileSync(runs.path("stalled", "heartbeat.json"), "utf8")) as { totalSteps: number };
    assert.equal(beat.totalSteps, 12);
  });

  test("a second signal ends the process at once", async () => {
    const faults = "slow-batch@5=60000,slow-write@5=60000";
    const run = runs.start("two-signals", ["training.steps=12", "training.checkpointEvery=1000"], { faults });
    await until(() => runs.events("two-signals", "train").length === 5, run);
    run.child.kill("SIGTERM");
    await until(() => existsSync(runs.path("two-signals", "checkpoints")), run);
    run.child.kill("SIGTERM");
    assert.equal((await run.ended).code, 143);
  });

  for (const ranks of [1, 2]) {
    const what = `checkpoints by minutes, and the best by a measure beside the newest, ${ranks} processes`;
    test(what, { skip: ranks > 1 && withoutGloo() }, async () => {
      const dataset = join(root, "dataset");
      const [best, minutes, plain] = ["best", "minutes", "unwatched"].map((name) => `${name}-${ranks}`) as [string, string, string];
      await runs.finished(plain, ["training.steps=12", "training.checkpointEvery=100"], { ranks });
      for (const colour of colours) {
        mkdirSync(join(dataset, "validation", colour), { recursive: true });
        writeFileSync(join(dataset, "validation", colour, "a.png"), await plainPicture(colour, 30, 30));
      }
      const settings = [
        "training.steps=12",
        "training.checkpointEvery=100",
        "training.keepCheckpoints=1",
        "training.keepBest=val/zero-shot-top1",
      ];
      const flags = ["--evaluate", dataset, "--evaluate-split", "validation", "--evaluate-every", "3"];
      await runs.finished(best, settings, { flags, ranks });
      const measured = runs.events(best, "evaluation").map(({ step, ...measures }) => ({
        step,
        top1: measures["val/zero-shot-top1"] as number,
      }));
      assert.deepEqual(
        measured.map(({ step }) => step),
        [3, 6, 9, 12],
      );
      const highest = measured.reduce((one, other) => (other.top1 > one.top1 ? other : one));
      const link = realpathSync(runs.path(best, "checkpoints", "best"));
      assert.ok(link.endsWith(`step-${String(highest.step).padStart(8, "0")}`), link);
      assert.deepEqual(
        runs.checkpoints(best),
        [...new Set([highest.step, 12])].map((step) => `step-${String(step).padStart(8, "0")}`),
      );
      assert.equal(runs.weights(best), runs.weights(plain), "looking changes nothing");

      const often = [
        "training.steps=12",
        "training.checkpointEvery=100",
        "training.checkpointMinutes=0.0001",
        "training.keepCheckpoints=20",
      ];
      await runs.finished(minutes, often, { ranks });
      assert.ok(runs.checkpoints(minutes).length > 3);
      assert.equal(runs.weights(minutes), runs.weights(plain), "saving changes nothing");
      if (ranks > 1) return;
      const refused = await runs.train("unmeasured", settings);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /does not measure.*--evaluate/s);
    });
  }

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
    await runs.finished("reported", ["training.steps=4"], { flags: report() });
    assert.deepEqual(steps, [1, 2, 3, 4]);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    const stderr = await runs.finished("unreported", ["training.steps=4"], { flags: report() });
    assert.match(stderr, /did not get 4 points; they are in events\.jsonl/);
    assert.equal(runs.weights("unreported"), runs.weights("reported"));
  });
});
