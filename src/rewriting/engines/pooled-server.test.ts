import assert from "node:assert/strict";
import { test } from "node:test";
import { PooledServer } from "./pooled-server.ts";

const pauses = { first: 0.5, longest: 60 };
const start = (): PooledServer<{ url: string }> => new PooledServer({ url: "http://127.0.0.1:1/v1" }, 64);

test("pauses double while there is no answer, once for all that were refused together, and begin anew with an answer", () => {
  const server = start();
  const lengths: number[] = [];
  for (let now = 0; lengths.length < 9; now = server.restUntil) {
    for (let together = 0; together < 5; together++) server.rest(0, pauses, now);
    lengths.push((server.restUntil - now) / 1000);
  }
  assert.deepEqual(lengths, [0.5, 1, 2, 4, 8, 16, 32, 60, 60]);
  assert.equal(server.window, 1);
  server.answered(10);
  const now = server.restUntil;
  server.rest(0, pauses, now);
  assert.equal(server.restUntil - now, 500);
  server.rest(7, pauses, now);
  assert.equal(server.restUntil - now, 7000, "what the server asks for counts where it is more");
});

test("below a limit of its own a server mostly works: it is asked for more now and then, not all the time", () => {
  const [server, limit] = [start(), 4];
  let [refused, answered] = [0, 0];
  while (answered < 2000) {
    const open = Math.floor(server.window);
    for (let i = 0; i < Math.min(open, limit); i++, answered++) server.answered(10);
    if (open <= limit) continue;
    server.rest(0, pauses, server.restUntil);
    refused++;
  }
  assert.ok(refused >= 5 && refused < 60, `it refused ${refused} times`);
});

test("a window that shrank to nothing is wide again once the server answers", () => {
  const server = start();
  for (let i = 0; i < 20; i++) server.rest(0, pauses, server.restUntil);
  for (let i = 0; i < 64 * 64; i++) server.answered(10);
  assert.equal(server.window, 64);
});

test("that a server asks for patience is news once, and again after a minute in which it took all that it was given", () => {
  for (const widest of [1, 64]) {
    const server = new PooledServer({ url: "http://127.0.0.1:1/v1" }, widest);
    const told: boolean[] = [];
    for (let i = 0; i < 5; i++) {
      told.push(server.rest(0, pauses, server.restUntil));
      server.answered(10);
    }
    assert.deepEqual(told, [true, false, false, false, false], `${widest} at a time`);
    for (let i = 0; i < 64 * 64; i++) server.answered(10);
    assert.ok(server.rest(0, pauses, server.restUntil + 60_000));
    assert.equal(server.rest(300, pauses, server.restUntil + 60_000), widest === 1, "its window is still small where it can shrink");
  }
});
