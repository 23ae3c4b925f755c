import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { SideWork } from "./side-work.ts";

describe("work beside a loop", () => {
  test("runs up to its limit at once, and all of it", async () => {
    const side = new SideWork(3);
    const done: number[] = [];
    let running = 0;
    let most = 0;
    for (const item of [5, 1, 4, 2, 3, 6]) {
      await side.start(async () => {
        most = Math.max(most, ++running);
        await sleep(item);
        running--;
        done.push(item);
      });
    }
    await side.finish();
    assert.equal(most, 3);
    assert.deepEqual(done.toSorted(), [1, 2, 3, 4, 5, 6]);
  });

  test("a failure that nobody waited for is thrown at the next start, after the others have ended", async () => {
    const side = new SideWork(4);
    let slow = false;
    await side.start(async () => {
      await sleep(20);
      slow = true;
    });
    await side.start(async () => Promise.reject(new Error("broken")));
    await sleep(1);
    let started = false;
    await assert.rejects(
      side.start(async () => {
        started = true;
      }),
      /broken/,
    );
    assert.deepEqual({ slow, started }, { slow: true, started: false });
  });

  test("the end throws the first failure", async () => {
    const side = new SideWork(8);
    await side.start(async () => {
      await sleep(5);
      throw new Error("second");
    });
    await side.start(async () => Promise.reject(new Error("first")));
    await assert.rejects(side.finish(), /first/);
  });
});
