/** What the pool makes of failures, with servers that are functions; with real ones: openai-compatible.test.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LateError, PassingError } from "./server-answers.ts";
import { ServerPool } from "./server-pool.ts";

const signal = new AbortController().signal;
const cut = (): PassingError => new PassingError("failing", "other side closed");

interface Only {
  /** Answers so many requests by the one server there is. */
  ask(count: number): Promise<unknown[]>;
  /** How often it was looked at, since it was left out. */
  looks: number;
  /** The most requests under way at once since this was set to 0. */
  atOnce: number;
}

/** A pool of one server. @param answer what it does with the how-manieth request, from 1 */
function onlyServer(answer: (number: number) => Promise<void>, patienceSeconds = 60): Only {
  let [number, open] = [0, 0];
  const only: Only = {
    looks: 0,
    atOnce: 0,
    ask: async (count) => await Promise.all(Array.from({ length: count }, async () => await pool.run("", signal, attempt))),
  };
  const look = async (): Promise<void> => void (await Promise.resolve(only.looks++));
  const settings = { window: 8, tries: 40, pauseSeconds: 0.002, patienceSeconds, look };
  const pool = new ServerPool([{ url: "http://127.0.0.1:1/v1" }], settings);
  const attempt = async (): Promise<void> => {
    only.atOnce = Math.max(only.atOnce, ++open);
    await answer(++number).finally(() => open--);
  };
  return only;
}

/** Fails the first so many requests together, once all of them have come. */
function together(count: number, error: () => PassingError): (number: number) => Promise<void> {
  const failing: ((error: PassingError) => void)[] = [];
  return async (number) => {
    if (number > count) return;
    await new Promise<void>((_, reject) => {
      if (failing.push(reject) === count) for (const fail of failing) fail(error());
    });
  };
}

test("the only server is not left out for connections that it cuts all at once, nor for single failures between answers", async () => {
  const first = together(8, cut);
  const only = onlyServer(async (number) => {
    await first(number);
    if (number % 4 === 0) throw cut();
  });
  await only.ask(200);
  assert.equal(only.looks, 0);
});

test("the only server is left out when it fails again and again", async () => {
  const only = onlyServer(async (number) => {
    await Promise.resolve();
    if (number <= 40) throw cut();
  });
  await only.ask(20);
  assert.ok(only.looks > 0);
});

test("a server that answers too late gets half as many requests at once, and more again with its answers", async () => {
  const late = (): LateError => {
    only.atOnce = 0;
    return new LateError(120);
  };
  const first = together(8, late);
  const only = onlyServer(async (number) => {
    await first(number);
    await new Promise((resolve) => setImmediate(resolve));
  });
  // Twelve wait until there is room: that is when the first eight have failed.
  await only.ask(20);
  assert.ok(only.atOnce >= 4 && only.atOnce < 8, `${only.atOnce} at once`);
  await only.ask(400);
  assert.equal(only.atOnce, 8);
});

test("a server that asks to wait as long as patience lasts is asked once more after that, and then given up", async () => {
  const busy = (wait: number): PassingError => new PassingError("busy", "the server answered 429: later", wait);
  let asked = 0;
  const refuses = (times: number, wait: number): Only =>
    onlyServer(async (number) => {
      // Patience counts from before this, the rest from after it.
      await new Promise((resolve) => setTimeout(resolve, 20));
      asked = number;
      if (number <= times) throw busy(wait);
    }, 0.1);
  await refuses(1, 0.1).ask(1);
  assert.equal(asked, 2);
  await refuses(8, 0.1).ask(20);
  await assert.rejects(refuses(Infinity, 0.1).ask(1), /no usable answer for .*429: later/);
  assert.equal(asked, 2);
  await assert.rejects(refuses(Infinity, 100).ask(1), /no usable answer for/);
  assert.equal(asked, 1, "a rest that is longer than patience is not waited for");
});
