/** `laclip rewrite --llm eda` stopped by Ctrl-C in its midst: it saves, says so, and ends with what an undisturbed run writes. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { runLaclip, startLaclip } from "./laclip.ts";
import { until } from "./nano-runs.ts";
import { rewritesIn } from "./rewrites-in.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-stop-eda-"));
after(() => rmSync(folder, { recursive: true }));
const captions = join(folder, "captions.csv");

/** True when rewrites have been written into a folder that is not finished. */
function begun(out: string): boolean {
  const log = join(out, "log");
  return existsSync(log) && readdirSync(log).some((name) => statSync(join(log, name)).size > 0);
}

test("Ctrl-C saves what is done, ends with code 75, and the same command goes on", async () => {
  const rows = Array.from({ length: 3000 }, (_, i) => `${i},"a street with ${i} old cars, seen from a high bridge in the rain"\n`);
  writeFileSync(captions, `id,caption\n${rows.join("")}`);
  const words = (out: string): string[] => ["rewrite", captions, "--llm", "eda", "--rounds", "8", "--out", out];
  const stopped = join(folder, "stopped");
  const first = startLaclip(words(stopped));
  await until(() => begun(stopped));
  first.child.kill("SIGINT");
  const { code, stderr } = await first.ended;
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
