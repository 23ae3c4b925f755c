/** Locks between real processes: one that is killed, one that stands still, one on another machine (told apart by its name only). */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DataError, FolderLock, InterruptedError, setLogLevel } from "./index.ts";

setLogLevel("quiet");
const folder = mkdtempSync(join(tmpdir(), "laclip-lock-"));
after(() => rmSync(folder, { recursive: true }));
let locks = 0;
const place = (): string => join(folder, `lock-${locks++}`);
const quick = { staleSeconds: 0.4 };

/** A process that takes the lock and keeps it until it is ended. */
async function holder(path: string): Promise<ChildProcess> {
  const module = new URL("./folder-lock.js", import.meta.url).href;
  const program = `import { FolderLock } from ${JSON.stringify(module)}; FolderLock.take(${JSON.stringify(path)}, "thing"); console.log("held"); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return child;
}

/** Writes the lock of a holder of which this machine can't say whether it is alive. */
function foreign(path: string): void {
  writeFileSync(path, JSON.stringify({ pid: 7, host: "another-machine", machine: "x", started: "1", token: "theirs" }));
}

test("a lock is one process's until it is given back, and leaves nothing behind", async () => {
  const path = place();
  const lock = FolderLock.take(path, "thing");
  assert.throws(() => FolderLock.take(path, "thing"), DataError);
  await assert.rejects(FolderLock.acquire(path, "thing"), new RegExp(`is being written by process ${process.pid}`));
  lock.assertHeld();
  lock.release();
  lock.release();
  assert.equal(existsSync(path), false);
  FolderLock.take(path, "thing").release();
  assert.deepEqual(readdirSync(folder), []);
});

test("the lock of a killed process on this machine is taken over at once, that of a living one is not", async () => {
  const path = place();
  const child = await holder(path);
  assert.throws(() => FolderLock.take(path, "thing"), new RegExp(`process ${child.pid}`));
  child.kill("SIGKILL");
  await once(child, "exit");
  FolderLock.take(path, "thing").release();
});

test("what a process left that was killed while it took the lock is gone with the next lock; a living one's files and others stay", async () => {
  const path = place();
  const child = await holder(path);
  const dead = readFileSync(path, "utf8");
  child.kill("SIGKILL");
  await once(child, "exit");
  const names = Array.from({ length: 6 }, (_, i) => `${path}.${i + 100}-00000000-0000-4000-8000-000000000000${i % 2 ? "-old" : ""}`);
  const [made, evicted, cut, foreigners, oldForeigners, mine] = names as [string, string, string, string, string, string];
  const other = `${path}.txt`;
  for (const name of [made, evicted, other]) writeFileSync(name, dead);
  // Perhaps not cut short but being written.
  writeFileSync(cut, dead.slice(0, 10));
  foreign(foreigners);
  foreign(oldForeigners);
  utimesSync(oldForeigners, Date.now() / 1000, Date.now() / 1000 - 4000);
  const holding = FolderLock.take(place(), "thing");
  writeFileSync(mine, readFileSync(join(folder, `lock-${locks - 1}`)));
  FolderLock.take(path, "thing").release();
  holding.release();
  assert.deepEqual(
    readdirSync(folder)
      .map((name) => join(folder, name))
      .sort(),
    [cut, foreigners, mine, other].sort(),
  );
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});

test("a holder on another machine keeps its lock while its heartbeat goes on, and loses it when that stops", async () => {
  const path = place();
  foreign(path);
  assert.throws(() => FolderLock.take(path, "thing"), /process 7 on another-machine/);
  let beats = 0;
  const heart = setInterval(() => utimesSync(path, 1, 1000 + ++beats), 50);
  await assert.rejects(FolderLock.acquire(path, "thing", quick), /process 7 on another-machine/);
  assert.equal(JSON.parse(readFileSync(path, "utf8")).token, "theirs");
  clearInterval(heart);
  const lock = await FolderLock.acquire(path, "thing", quick);
  assert.equal(JSON.parse(readFileSync(path, "utf8")).pid, process.pid);
  lock.release();
});

test("whoever waits for a lock can be stopped", async () => {
  const path = place();
  foreign(path);
  await assert.rejects(FolderLock.acquire(path, "thing", { signal: AbortSignal.timeout(100) }), InterruptedError);
  assert.equal(JSON.parse(readFileSync(path, "utf8")).token, "theirs");
});

test("what the clocks say has no part in it: neither a time long past nor one to come makes a holder dead or alive", async () => {
  for (const seconds of [1, 4_000_000_000]) {
    const path = place();
    foreign(path);
    // The time jumps at every beat, forwards and backwards.
    let beats = 0;
    const heart = setInterval(() => utimesSync(path, seconds, beats++ % 2 ? seconds : 1_000_000), 50);
    await assert.rejects(FolderLock.acquire(path, "thing", quick), DataError);
    clearInterval(heart);
    (await FolderLock.acquire(path, "thing", quick)).release();
  }
});

test("a heartbeat changes the file's time, through the clock's jumps too", (context) => {
  const path = place();
  context.mock.timers.enable({ apis: ["setInterval"] });
  const lock = FolderLock.take(path, "thing");
  const times = new Set<number>();
  for (const time of [1_000_000_000_000, 1_000_003_600_000, 1_000_000_000_000, 1_000_000_000_000]) {
    context.mock.method(Date, "now", () => time);
    context.mock.timers.tick(5000);
    times.add(statSync(path).mtimeMs);
  }
  assert.equal(times.size, 4);
  lock.release();
});

test("a process whose lock was taken over while it stood still notices before it writes", (context) => {
  const path = place();
  context.mock.timers.enable({ apis: ["setInterval", "Date"], now: 1_000_000_000_000 });
  const lock = FolderLock.take(path, "thing");
  rmSync(path);
  foreign(path);
  lock.assertHeld();
  context.mock.timers.setTime(1_000_000_000_000 + 60_000);
  assert.throws(() => lock.assertHeld(), /another process took it over/);
  lock.release();
  assert.equal(JSON.parse(readFileSync(path, "utf8")).token, "theirs");
});

test("many processes that find a dead holder at once: one gets the lock", async () => {
  const path = place();
  const child = await holder(path);
  child.kill("SIGKILL");
  await once(child, "exit");
  const module = new URL("./folder-lock.js", import.meta.url).href;
  const program = `import { FolderLock } from ${JSON.stringify(module)};
    await FolderLock.acquire(${JSON.stringify(path)}, "thing").then(() => console.log("got"), () => console.log("busy"));
    process.stdin.resume().on("end", () => process.exit());`;
  const others = Array.from({ length: 6 }, () =>
    spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["pipe", "pipe", "ignore"] }),
  );
  const said = await Promise.all(others.map(async (other) => String((await once(other.stdout, "data"))[0]).trim()));
  for (const other of others) other.stdin.end();
  await Promise.all(others.map(async (other) => await once(other, "exit")));
  assert.deepEqual(said.sort(), ["busy", "busy", "busy", "busy", "busy", "got"]);
});
