/** The thread of `StallWatch`: reads numbers, writes the heartbeat and the report of a standstill. */
import { readFileSync, readdirSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { formatDuration } from "../support/index.ts";
import { type StallJob, phases, place, sharedClock } from "./stall-watch.ts";

const { shared, heartbeat, totalSteps, minutes, exit } = workerData as StallJob;
const numbers = new Float64Array(shared);
const limit = minutes * 60_000;
const beatEvery = 5000;
/** Time for saving and stopping, before the process is killed. */
const grace = 60_000;

const doing: Record<(typeof phases)[number], string> = {
  start: "it has not begun its first step",
  batches: "it waits for the next batch: look at the disk or the server that the images come from, or try `laclip data bench`",
  step: "it is in the middle of a step",
  evaluation: "it is evaluating",
  checkpoint: "it waits for a checkpoint to be written: look at the disk",
};

let beat = -1;
let beatAt = 0;
let reported = -1;
let asked: number | undefined;
let before = process.cpuUsage();

setInterval(
  () => {
    const now = sharedClock();
    const step = numbers[place.step]!;
    if (heartbeat !== undefined && step !== beat && now - beatAt >= beatEvery) beatNow(heartbeat, step, now);
    const still = now - numbers[place.finished]!;
    if (still >= limit && reported !== numbers[place.finished]!) report(step, still, now);
    if (asked !== undefined && now - asked > grace) process.kill(process.pid, "SIGKILL");
    before = process.cpuUsage();
  },
  Math.max(50, Math.min(1000, limit / 4)),
);

function beatNow(file: string, step: number, now: number): void {
  beat = step;
  beatAt = now;
  const finished = new Date(Date.now() - (now - numbers[place.finished]!)).toISOString();
  try {
    writeFileSync(`${file}.tmp`, `${JSON.stringify({ pid: process.pid, step, totalSteps, finished })}\n`);
    renameSync(`${file}.tmp`, file);
  } catch {
    // A full disk is said by whoever has something to lose there; the next beat tries again.
  }
}

function report(step: number, still: number, now: number): void {
  reported = numbers[place.finished]!;
  const phase = phases[numbers[place.phase]!]!;
  const where = `${doing[phase]} (for ${formatDuration((now - numbers[place.since]!) / 1000)})`;
  const steps = step < 0 ? "No step was finished" : `No step was finished after step ${step} of ${totalSteps}`;
  say(`\nwarning: ${steps} for ${formatDuration(still / 1000)}: ${where}. ${threads()}\n`);
  if (!exit) return;
  say("Asking the run to save and stop, since it was started with --stall-exit.\n");
  asked = now;
  process.kill(process.pid, "SIGTERM");
}

function say(text: string): void {
  try {
    // The main thread may hang, and with it process.stderr of this one.
    writeSync(2, text);
  } catch {
    // Whoever read it is gone, or is behind (EAGAIN of a pipe that does not block): what follows must happen all the same.
  }
}

/** What the process's threads do, as the system sees it. */
function threads(): string {
  const used = process.cpuUsage(before);
  const processor = `They used ${((used.user + used.system) / 1e6).toFixed(1)} s of processor time in the last second.`;
  try {
    const states = readdirSync("/proc/self/task").map((id) => /\) (\w)/.exec(readFileSync(`/proc/self/task/${id}/stat`, "utf8"))?.[1]);
    const count = (letter: string): number => states.filter((state) => state === letter).length;
    return `Of ${states.length} threads ${count("R")} run, ${count("D")} wait for a disk or a network file system. ${processor}`;
  } catch {
    return processor; // no such files outside of Linux, and threads may end while they are counted
  }
}
