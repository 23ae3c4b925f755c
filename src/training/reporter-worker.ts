/** The thread of `Reporter`: gathers, sends, waits longer from try to try while the server is away. */
import { parentPort, workerData } from "node:worker_threads";
import { LaclipError, invariant, log } from "../support/index.ts";
import type { ReporterOptions, ReporterRequest } from "./reporter.ts";
import { type RunEnd, type TrackedPoint, openTracker } from "./tracker.ts";

invariant(parentPort, "reporter-worker.ts runs in a worker thread");
const port = parentPort;
const { target, everySeconds, kept } = workerData as Required<ReporterOptions>;
const tracker = openTracker(target);
/** Points of one sending. */
const atOnce = 500;
const longestWait = 300;

const points: TrackedPoint[] = [];
let dropped = 0;
let ended: RunEnd | undefined;
let wait = everySeconds;
let away = false;
let timer = setTimeout(() => void tick(), wait * 1000);
let sending: Promise<void> | undefined;

port.on("message", (request: ReporterRequest) => {
  if (request.kind === "point") {
    points.push(request.point);
    if (points.length > kept) dropped += points.splice(0, points.length - kept).length;
    return;
  }
  ended = request.how;
  clearTimeout(timer);
  void finish();
});

async function tick(): Promise<void> {
  sending = send();
  await sending;
  if (ended === undefined) timer = setTimeout(() => void tick(), wait * 1000);
}

/** Sends what there is, and says when the server goes away or comes back. */
async function send(): Promise<void> {
  try {
    while (points.length > 0) {
      const some = points.slice(0, atOnce);
      await tracker.send(some);
      // Old ones may have been dropped meanwhile.
      for (const point of some) if (points[0] === point) points.shift();
    }
    if (away) log.warn(`${target.kind} at ${target.address} is back.`);
    away = false;
    wait = everySeconds;
  } catch (error) {
    if (!LaclipError.is(error)) throw error;
    if (!away) log.warn(`${error.message} Training goes on; measures are kept and sent later.`);
    away = true;
    wait = Math.min(longestWait, wait * 2);
  }
}

async function finish(): Promise<void> {
  await sending;
  await send();
  try {
    if (!away) await tracker.end(ended!);
  } catch (error) {
    if (!LaclipError.is(error)) throw error;
    log.warn(error.message);
  }
  const lost = points.length + dropped;
  if (lost > 0) log.warn(`${target.kind} at ${target.address} did not get ${lost} points; they are in events.jsonl.`);
  port.close();
}
