/** `laclip rewrite --llm eda` stopped by Ctrl-C in its midst: it saves, says so, and ends with what an undisturbed run writes. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Ended, runLaclip, startLaclip } from "./laclip.ts";
import { until } from "./nano-runs.ts";
import { rewritesIn } from "./rewrites-in.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-stop-eda-"));
after(() => rmSync(folder, { recursive: true }));
const captions = join(folder, "captions.csv");

const words = (out: string): string[] => ["rewrite", captions, "--llm", "eda", "--rounds", "8", "--out", out];

/** True when rewrites have been written into a folder. */
function begun(out: string): boolean {
  const files = ["log", "parts"].map((name) => join(out, name)).filter((path) => existsSync(path));
  return files.some((path) => readdirSync(path).some((name) => statSync(join(path, name), { throwIfNoEntry: false })?.size));
}

/** Stops it when something is written; once more where this process stood still for so long that by then all was. */
async function stoppedAmid(out: string): Promise<Ended> {
  for (let tries = 1; ; tries++) {
    const run = startLaclip(words(out));
    await until(() => begun(out), run);
    run.child.kill("SIGINT");
    const ended = await run.ended;
    if (ended.code !== 0 || tries === 5) return ended;
    rmSync(out, { recursive: true });
  }
}

test("Ctrl-C saves what is done, ends with code 75, and the same command goes on", async () => {
  const rows = Array.from({ length: 3000 }, (_, i) => `${i},"a street with ${i} old cars, seen from a high bridge in the rain"\n`);
  writeFileSync(captions, `id,caption\n${rows.join("")}`);
  const stopped = join(folder, "stopped");
  const { code, stderr } = await stoppedAmid(stopped);
  assert.equal(code, 75, stderr);
  const saved = Number(/Stopped\. (\d+) new rewrites are saved/.exec(stderr)?.[1]);
  assert.ok(saved > 0 && saved < 24_000, stderr);
  const second = await runLaclip(words(stopped));
  assert.equal(second.code, 0, second.stderr);
  assert.match(second.stderr, new RegExp(`; ${saved} were there already`));
  const whole = join(folder, "whole");
  assert.equal((await runLaclip(words(whole))).code, 0);
  assert.deepEqual(await rewritesIn(stopped), await rewritesIn(whole));
});
