/** Commands on a rewrites folder that are given a second time, or for something else than the first time. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
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

test("the advice for a part that is damaged, or there twice, leads out of it", async () => {
  const { code } = await runLaclip(["rewrite", "captions.csv", "--out", "damaged", "--llm", "eda"], { cwd: folder });
  assert.equal(code, 0);
  const again = async (): Promise<Ended> =>
    await runLaclip(["rewrite", "captions.csv", "--out", "damaged", "--llm", "eda"], { cwd: folder });
  const part = join(folder, "damaged", "parts", "000000.parquet");
  truncateSync(part, statSync(part).size - 20);
  const advice = /Delete damaged\/parts\/000000\.parquet, then start the same `laclip rewrite` again/;
  for (const ended of [await rewrites("verify", "damaged"), await again(), await rewrites("stats", "damaged")]) {
    assert.equal(ended.code, 3);
    assert.match(ended.stderr, advice);
  }
  rmSync(part);
  assert.equal((await again()).code, 0);
  assert.equal((await rewrites("verify", "damaged")).code, 0);

  // Of several parts that are read together, the damaged one is named.
  const whole = join(folder, "damaged", "parts", "000001.parquet");
  writeFileSync(whole, readFileSync(part).subarray(0, 100));
  assert.match((await again()).stderr, /Delete damaged\/parts\/000001\.parquet/);
  cpSync(part, whole);
  const twice = await rewrites("verify", "damaged");
  assert.equal(twice.code, 3);
  assert.match(twice.stderr, /Delete damaged\/parts\/000001\.parquet, a copy of rewrites that are there already/);
  const counted = await rewrites("stats", "damaged");
  assert.match(counted.stdout, /! 8 rewrites from eda of 4 captions: some are there twice\. `laclip rewrites verify` says where/);
  const exports = [
    ["--to", "csv"],
    ["--to", "parquet", "--captions", "captions.csv", "--out", "twice.parquet"],
  ];
  for (const args of exports) {
    const exported = await rewrites("export", "damaged", ...args);
    assert.equal(exported.code, 0, exported.stderr);
    assert.match(exported.stderr, /damaged: 8 rewrites from eda of 4 captions: some are there twice/);
  }
  rmSync(whole);
  assert.doesNotMatch((await rewrites("export", "damaged", "--to", "csv")).stderr, /twice/);

  const manifest = join(folder, "damaged", "manifest.json");
  writeFileSync(manifest, readFileSync(manifest).subarray(0, 100));
  assert.match((await rewrites("verify", "damaged")).stderr, /delete it and start every command again that wrote into the folder/);
  rmSync(manifest);
  assert.match((await again()).stderr, /4 were there already/);
  assert.equal((await rewrites("verify", "damaged", "--captions", "captions.csv")).code, 0);
});

test("the advice for a lost manifest leads back to the rewrites of every command that wrote into the folder", async () => {
  writeFileSync(join(folder, "texts.csv"), table(captions.map((text) => `${text} once more`)));
  const rewrite = async (): Promise<Ended> =>
    await runLaclip(["rewrite", "captions.csv", "--out", "several", "--llm", "eda"], { cwd: folder });
  const bring = async (): Promise<Ended> =>
    await rewrites("import", "texts.csv", "--captions", "captions.csv", "--out", "several", "--source", "mine", "--provenance", "a test");
  for (const command of [rewrite, bring]) assert.equal((await command()).code, 0);
  const before = (await rewrites("export", "several", "--to", "csv")).stdout;
  rmSync(join(folder, "several", "manifest.json"));
  assert.match((await rewrite()).stderr, /4 were there already/);
  const verified = await rewrites("verify", "several");
  assert.equal(verified.code, 3);
  assert.match(verified.stderr, /from "mine", which the manifest does not name/);
  assert.match(verified.stderr, /Start the commands that wrote the sources that the manifest does not name again/);
  assert.doesNotMatch(verified.stderr, /Delete/);
  const brought = await bring();
  assert.equal(brought.code, 0, brought.stderr);
  assert.equal((await rewrites("verify", "several", "--captions", "captions.csv")).code, 0);
  assert.equal((await rewrites("export", "several", "--to", "csv")).stdout, before);
});
