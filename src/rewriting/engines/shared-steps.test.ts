import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { SharedSteps } from "./shared-steps.ts";

/** Who began in which turn of the event loop. */
class Turns {
  readonly all: string[] = [];
  #open: string[] = [];

  begin(writer: number): void {
    if (this.#open.length === 0) void this.#close();
    this.#open.push(String(writer));
  }

  async #close(): Promise<void> {
    await turn();
    this.all.push(this.#open.join(" "));
    this.#open = [];
  }
}

test("writers take their steps together and in order, whoever is faster, until each has come to its end", async () => {
  const steps = new SharedSteps();
  const turns = new Turns();
  const write = async (writer: number, count: number): Promise<void> => {
    await steps.write(async () => {
      for (let i = 0; i < count; i++) {
        await sleep((writer * 7 + i * 3) % 5);
        await steps.take(writer, async () => await Promise.resolve(turns.begin(writer)));
      }
    });
  };
  await Promise.all([write(2, 3), write(0, 2), write(1, 4)]);
  await turn();
  assert.deepEqual(turns.all, ["0 1 2", "0 1 2", "1 2", "1"]);
});

test("answers are handed on in order, and not before all are there", async () => {
  const steps = new SharedSteps();
  const came: number[] = [];
  const write = async (writer: number): Promise<void> => {
    await steps.write(async () => {
      await steps.take(writer, async () => await sleep((3 - writer) * 5));
      came.push(writer);
    });
  };
  await Promise.all([write(1), write(2), write(0)]);
  assert.deepEqual(came, [0, 1, 2]);
});

test("a step that fails ends its writer and keeps no other one waiting", async () => {
  const steps = new SharedSteps();
  const failing = steps.write(async () => {
    await steps.take(0, async () => await Promise.reject(new Error("no memory")));
  });
  const going = steps.write(async () => {
    for (let i = 0; i < 3; i++) await steps.take(1, async () => await Promise.resolve());
    return "done";
  });
  await assert.rejects(failing, /no memory/);
  assert.equal(await going, "done");
});
