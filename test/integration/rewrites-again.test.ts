/** Commands on a rewrites folder that are given a second time, or for something else than the first time. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Ended, runLaclip } from "./laclip.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-again-"));
after(() => rmSync(folder, { recursive: true }));
const captions = ["a brown dog runs", "two cats sleep on a sofa", "a red bus at night", "people walk along a beach"];
const table = (texts: readonly string[]): string => `id,caption\n${texts.map((text, i) => `${i},${text}\n`).join("")}`;

/** Runs `laclip rewrites` in the folder of the test. */
async function rewrites(...args: string[]): Promise<Ended> {
  return await runLaclip(["rewrites", ...args], { cwd: folder });
}

before(async () => {
  writeFileSync(join(folder, "captions.csv"), table(captions));
  const { code, stderr } = await runLaclip(["rewrite", "captions.csv", "--out", "rewrites", "--llm", "eda"], { cwd: folder });
  assert.equal(code, 0, stderr);
});

test("a finished check that is started again says that all is there, and counts nothing as none", async () => {
  const args = ["check", "rewrites", "--captions", "captions.csv", "--out", "checked"];
  const first = await rewrites(...args);
  assert.match(first.stderr, /4 rewrites looked at and written to checked\n/);
  assert.match(first.stderr, /4 can be trained on; before, 4 could/);
  const again = await rewrites(...args);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /all 4 rewrites were looked at before and are in checked/);
  assert.doesNotMatch(again.stderr, /can be trained on|eda: 0/);
});
