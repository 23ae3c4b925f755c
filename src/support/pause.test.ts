import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { pause } from "./index.ts";

/** Timers that keep this process. */
function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
}

/** The limit of a test, whose own timer is among the process's. */
const limit = { timeout: 60_000 };

test("a pause ends by itself, and leaves no listener behind", limit, async () => {
  const { signal } = new AbortController();
  await pause(0.01);
  await pause(0.01, signal);
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("a pause ends as soon as it is aborted, and leaves neither listener nor timer behind", limit, async () => {
  const controller = new AbortController();
  const before = timers();
  const waiting = Promise.all(Array.from({ length: 20 }, async () => await pause(3600, controller.signal)));
  assert.equal(timers(), before + 20);
  controller.abort(new Error("enough"));
  await waiting;
  assert.deepEqual([timers(), getEventListeners(controller.signal, "abort").length], [before, 0]);
});

test("a pause whose signal was aborted before does not begin", limit, async () => {
  const before = timers();
  await pause(3600, AbortSignal.abort());
  assert.equal(timers(), before);
});
