/** What becomes of connections that nobody waits for any more. How files are read is tested with real servers beside each kind. */
import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { EndpointError } from "../../support/index.ts";
import { ResumedBytes } from "./resumed-bytes.ts";
import type { Connection } from "./resumed-bytes.ts";

test("a connection that comes after its attempt was given up is closed", async () => {
  const bodies: Readable[] = [];
  const file = {
    shown: "slow://file",
    // Deaf to the signal, as a library may be while it looks for a password.
    connect: async (): Promise<Connection> => {
      await sleep(100);
      const body = new Readable({ read: () => undefined });
      bodies.push(body);
      return { start: 0, size: 10, version: "1", body };
    },
  };
  const bytes = new ResumedBytes(file, { stallSeconds: 0.02, retries: 1, firstWaitSeconds: 0.01 });
  await assert.rejects(async () => {
    for await (const _ of bytes) assert.fail("nothing came");
  }, EndpointError);
  await sleep(300);
  assert.ok(bodies.length > 0);
  assert.deepEqual(
    bodies.map(({ destroyed }) => destroyed),
    bodies.map(() => true),
  );
});
