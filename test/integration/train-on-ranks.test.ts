/**
 * Training by several processes as a person runs it: the same run as with one, through kills, signals and other numbers of processes.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { assertClose } from "./close.ts";
import { type EndedRank, startRanks, withoutGloo } from "./start-ranks.ts";

const main = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "laclip-ranks-"));
const data = join(root, "data");
const colours = ["red", "green", "blue", "yellow"] as const;

function trainArguments(out: string, ...settings: string[]): string[] {
  const all = [
    "model.preset=nano",
    "training.batchSize=8",
    "training.warmupSteps=2",
    "training.checkpointEvery=2",
    "training.logEvery=1",
    ...settings,
  ];
  return ["train", "emoji-clip", "--data", data, "--out", join(root, out), ...all.flatMap((setting) => ["--set", setting])];
}

function launch(processes: number, args: readonly string[]): { child: ChildProcess; ended: Promise<Omit<EndedRank, "stdout">> } {
  const child = spawn(process.execPath, [main, "launch", "--processes", String(processes), "--", ...args], {
    env: { ...process.env, LACLIP_THREADS: String(processes) },
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += chunk));
  return { child, ended: new Promise((resolve) => child.on("close", (code, signal) => resolve({ code, signal, stderr }))) };
}

const weights = (out: string): string =>
  createHash("sha256")
    .update(readFileSync(join(root, out, "model", "model.safetensors")))
    .digest("hex");

function events(out: string): Record<string, number | string>[] {
  const lines = readFileSync(join(root, out, "events.jsonl"), "utf8")
    .split("\n")
    .slice(0, -1); // behind the last end one is being written
  return lines.map((line) => JSON.parse(line) as Record<string, number | string>);
}

const losses = (out: string): number[] => events(out).flatMap(({ event, "train/loss": loss }) => (event === "train" ? [Number(loss)] : []));

const checkpoints = (out: string): string[] => {
  const folder = join(root, out, "checkpoints");
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith("step-")) : [];
};

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 4800 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 25));
  assert.ok(what(), "waited two minutes in vain");
}

/** Process ids of the ranks that a launcher has started, in their order. */
function ranksOf(launcher: number): number[] {
  const tasks = readFileSync(`/proc/${launcher}/task/${launcher}/children`, "utf8");
  return tasks.trim().split(" ").map(Number);
}

describe("training by several processes", { skip: withoutGloo() }, () => {
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
  });
  after(() => rmSync(root, { recursive: true }));

  test("two and four processes take the steps that one takes, and leave one run folder and a log each", async () => {
    const settings = ["training.steps=8"];
    assert.equal((await startRanks(main, trainArguments("one", ...settings), 1).ended)[0]!.code, 0);
    for (const processes of [2, 4]) {
      const out = `by-${processes}`;
      const { code, stderr } = await launch(processes, trainArguments(out, ...settings)).ended;
      assert.equal(code, 0, stderr);
      assert.match(stderr, /^\[0\] Trained 8 steps/m);
      assert.equal(losses(out).length, 8);
      // Rounding grows from step to step.
      assertClose(losses(out), losses("one"), "losses", 1e-3);
      assertClose(losses(out).slice(0, 1), losses("one").slice(0, 1), "first loss", 1e-5);
      const files = readdirSync(join(root, out, "logs")).toSorted();
      assert.deepEqual(
        files,
        Array.from({ length: processes }, (_, rank) => `rank-${rank}.log`),
      );
      assert.match(readFileSync(join(root, out, "logs", "rank-0.log"), "utf8"), /Trained 8 steps/);
    }
  });

  test("kill -9 of one process ends all, saying why; started again, the run ends with the weights of one that was not killed", async () => {
    const settings = ["training.steps=40"];
    const whole = await launch(2, trainArguments("whole", ...settings)).ended;
    assert.equal(whole.code, 0, whole.stderr);
    const killed = launch(2, trainArguments("killed", ...settings));
    await until(() => checkpoints("killed").length > 0);
    const victim = ranksOf(killed.child.pid!)[1]!;
    process.kill(victim, "SIGKILL");
    const { code, stderr } = await killed.ended;
    assert.equal(code, 128 + 9, stderr);
    assert.match(stderr, /error: rank 1 was ended by SIGKILL/);
    assert.match(stderr, /^\[0\] .*NativeError: .* on rank 0 of 2: /m);
    assert.ok(!existsSync(join(root, "killed", "model")), "killed before it was finished");
    const again = await launch(2, trainArguments("killed", ...settings)).ended;
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stderr, /Going on from step \d+/);
    assert.equal(weights("killed"), weights("whole"));
    assert.deepEqual(losses("killed"), losses("whole"), "every step is in the events once");
  });

  test("a run goes on with another number of processes, from the weights that others have left", async () => {
    const settings = ["training.steps=300", "training.checkpointEvery=1000"];
    assert.equal((await launch(2, trainArguments("same", ...settings)).ended).code, 0);
    const stopped = launch(2, trainArguments("fewer", ...settings));
    await until(() => existsSync(join(root, "fewer", "events.jsonl")) && losses("fewer").length > 3);
    stopped.child.kill("SIGTERM");
    const { code, stderr } = await stopped.ended;
    assert.equal(code, 75, stderr);
    const [saved] = checkpoints("fewer");
    assert.equal(checkpoints("fewer").length, 1);
    assert.match(stderr, /everything is saved/);
    const [alone] = await startRanks(main, trainArguments("fewer", ...settings), 1).ended;
    assert.equal(alone!.code, 0, alone!.stderr);
    const step = Number(saved!.slice("step-".length));
    assert.equal(losses("fewer").length, 300);
    assertClose(losses("fewer").slice(0, step + 1), losses("same").slice(0, step + 1), "losses around the stop", 1e-3);
  });

  test("SIGTERM to one process alone: all save at the same step", async () => {
    const args = trainArguments("asked", "training.steps=2000", "training.checkpointEvery=5000");
    const { children, ended } = startRanks(main, args, 2);
    await until(() => existsSync(join(root, "asked", "events.jsonl")) && losses("asked").length > 3);
    children[1]!.kill("SIGTERM");
    const [first, second] = await ended;
    assert.equal(first!.code, 75, first!.stderr);
    assert.equal(second!.code, 75, second!.stderr);
    const stop = /Stopped at step (\d+) of 2000/;
    assert.equal(stop.exec(first!.stderr)?.[1], stop.exec(second!.stderr)?.[1]);
    assert.deepEqual(checkpoints("asked"), [`step-${stop.exec(first!.stderr)![1]!.padStart(8, "0")}`]);
  });

  test("a batch that can't be shared evenly, and a command that can't be shared at all, are usage errors", async () => {
    const uneven = await launch(3, trainArguments("uneven", "training.steps=2")).ended;
    assert.equal(uneven.code, 2, uneven.stderr);
    assert.match(uneven.stderr, /A batch of 8 can't be shared evenly by 3 processes/);
    assert.match(uneven.stderr, /training\.batchSize=9/);
    const other = await launch(2, ["tokenize", "a"]).ended;
    assert.equal(other.code, 2);
    assert.match(other.stderr, /can't run "tokenize" in several processes/);
  });
});
