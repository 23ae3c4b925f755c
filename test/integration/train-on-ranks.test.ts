/**
 * Training by several processes as a person runs it: the same run as with one, through kills, signals and other numbers of processes.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { assertClose } from "./close.ts";
import { program, runLaclip } from "./laclip.ts";
import { NanoRuns, childrenOf, hasEnded, until } from "./nano-runs.ts";
import { startRanks, withoutGloo } from "./start-ranks.ts";

const runs = new NanoRuns("ranks");
const losses = (out: string): number[] => runs.measured(out, "train/loss");

describe("training by several processes", { skip: withoutGloo() }, () => {
  before(async () => await runs.open());
  after(() => runs.close());

  test("two and four processes take the steps that one takes, and leave one run folder and a log each", async () => {
    const settings = ["training.steps=8"];
    await runs.finished("one", settings);
    for (const processes of [2, 4]) {
      const out = `by-${processes}`;
      const { code, stderr } = await runs.train(out, settings, { ranks: processes });
      assert.equal(code, 0, stderr);
      assert.match(stderr, /^\[0\] Trained 8 steps/m);
      assert.equal(losses(out).length, 8);
      // Rounding grows from step to step.
      assertClose(losses(out), losses("one"), "losses", 1e-3);
      assertClose(losses(out).slice(0, 1), losses("one").slice(0, 1), "first loss", 1e-5);
      const files = readdirSync(runs.path(out, "logs")).toSorted();
      assert.deepEqual(
        files,
        Array.from({ length: processes }, (_, rank) => `rank-${rank}.log`),
      );
      assert.match(readFileSync(runs.path(out, "logs", "rank-0.log"), "utf8"), /Trained 8 steps/);
    }
  });

  test("kill -9 of one process ends all, saying why; started again, the run ends with the weights of one that was not killed", async () => {
    const settings = ["training.steps=120"];
    const whole = await runs.train("whole", settings, { ranks: 2 });
    assert.equal(whole.code, 0, whole.stderr);
    const killed = runs.start("killed", settings, { ranks: 2 });
    await until(() => runs.checkpoints("killed").length > 0, killed);
    const victim = childrenOf(killed.child.pid!)[1]!;
    process.kill(victim, "SIGKILL");
    const { code, stderr } = await killed.ended;
    assert.equal(code, 128 + 9, stderr);
    assert.match(stderr, /error: rank 1 was ended by SIGKILL/);
    assert.match(stderr, /^\[0\] .*NativeError: .* on rank 0 of 2: /m);
    assert.ok(!existsSync(runs.path("killed", "model")), "killed before it was finished");
    const again = await runs.train("killed", settings, { ranks: 2 });
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stderr, /Going on from step \d+/);
    assert.equal(runs.weights("killed"), runs.weights("whole"));
    assert.deepEqual(losses("killed"), losses("whole"), "every step is in the events once");
  });

  test("where the launcher stands still meanwhile, it is the killed process that it names, not one that ended for it", async () => {
    const run = runs.start("stood-still", ["training.steps=2000", "training.checkpointEvery=5000"], { ranks: 2 });
    await until(() => losses("stood-still").length > 0, run);
    const [other, victim] = childrenOf(run.child.pid!) as [number, number];
    run.child.kill("SIGSTOP");
    try {
      process.kill(victim, "SIGKILL");
      await until(() => hasEnded(other), run);
    } finally {
      run.child.kill("SIGCONT");
    }
    const { code, stderr } = await run.ended;
    assert.equal(code, 128 + 9, stderr);
    assert.match(stderr, /error: rank 1 was ended by SIGKILL/);
  });

  test("a run goes on with another number of processes, from the weights that others have left", async () => {
    const settings = ["training.steps=300", "training.checkpointEvery=1000"];
    assert.equal((await runs.train("same", settings, { ranks: 2 })).code, 0);
    const stopped = runs.start("fewer", settings, { ranks: 2 });
    await until(() => losses("fewer").length > 3, stopped);
    stopped.child.kill("SIGTERM");
    const { code, stderr } = await stopped.ended;
    assert.equal(code, 75, stderr);
    const [saved] = runs.checkpoints("fewer");
    assert.equal(runs.checkpoints("fewer").length, 1);
    assert.match(stderr, /everything is saved/);
    await runs.finished("fewer", settings);
    const step = Number(saved!.slice("step-".length));
    assert.equal(losses("fewer").length, 300);
    assertClose(losses("fewer").slice(0, step + 1), losses("same").slice(0, step + 1), "losses around the stop", 1e-3);
  });

  test("SIGTERM to one process alone: all save at the same step", async () => {
    const args = runs.words("asked", ["training.steps=2000", "training.checkpointEvery=5000"]);
    const { children, ended } = startRanks(program, args, 2);
    await until(() => losses("asked").length > 3, { ended: ended.then(([first]) => first!) });
    children[1]!.kill("SIGTERM");
    const [first, second] = await ended;
    assert.equal(first!.code, 75, first!.stderr);
    assert.equal(second!.code, 75, second!.stderr);
    const stop = /Stopped at step (\d+) of 2000/;
    assert.equal(stop.exec(first!.stderr)?.[1], stop.exec(second!.stderr)?.[1]);
    assert.deepEqual(runs.checkpoints("asked"), [`step-${stop.exec(first!.stderr)![1]!.padStart(8, "0")}`]);
  });

  test("bf16: two processes take the steps of one, and go on from a stop as if there had been none", async () => {
    const settings = ["training.steps=8", "training.precision=bf16"];
    await runs.finished("bf16-one", settings);
    await runs.finished("bf16-two", settings, { ranks: 2 });
    assertClose(losses("bf16-two"), losses("bf16-one"), "losses", 2e-2);
    await runs.finished("fp32-two", ["training.steps=8"], { ranks: 2 });
    assert.notDeepEqual(losses("bf16-two"), losses("fp32-two"), "it is another precision");
    assert.notEqual((await runs.train("bf16-killed", settings, { ranks: 2, faults: "kill-step@5" })).code, 0);
    await runs.finished("bf16-killed", settings, { ranks: 2 });
    assert.equal(runs.weights("bf16-killed"), runs.weights("bf16-two"));
  });

  test("a batch that can't be shared evenly, and a command that can't be shared at all, are usage errors", async () => {
    const uneven = await runs.train("uneven", ["training.steps=2"], { ranks: 3 });
    assert.equal(uneven.code, 2, uneven.stderr);
    assert.match(uneven.stderr, /A batch of 8 can't be shared evenly by 3 processes/);
    assert.match(uneven.stderr, /training\.batchSize=9/);
    const other = await runLaclip(["launch", "--processes", "2", "tokenize", "--json", "a"]);
    assert.equal(other.code, 2);
    assert.match(other.stderr, /can't run "tokenize" in several processes/);
  });
});
