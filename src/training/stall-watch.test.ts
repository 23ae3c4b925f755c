import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";

test("a run that hangs is asked to save and stop, also when nobody reads what it says any more", async () => {
  const program = `
    const { StallWatch } = await import(${JSON.stringify(new URL("./stall-watch.js", import.meta.url).href)});
    process.on("SIGTERM", () => process.exit(75));
    process.stdout.write("up");
    process.stdin.once("data", () => new StallWatch({ heartbeat: undefined, totalSteps: 1, minutes: 0.001, exit: true }));`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["pipe", "pipe", "pipe"] });
  await once(child.stdout, "data");
  child.stderr.destroy();
  child.stdin.write("start\n");
  const [code] = (await once(child, "exit")) as [number | null];
  assert.equal(code, 75);
});
