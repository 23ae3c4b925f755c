/** `laclip data bench` measures every stage of a table and of tars, and says so when there is nothing to measure. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { benchData, openCollection, packShards } from "../../src/curation/index.ts";
import type { BenchDataReport } from "../../src/curation/index.ts";
import { DataError, UsageError, setLogLevel } from "../../src/support/index.ts";
import { serveFolder } from "./file-server.ts";
import { type Ended, runLaclip } from "./laclip.ts";
import { writeCollection } from "./small-collection.ts";

setLogLevel("quiet");
const folder = mkdtempSync(join(tmpdir(), "laclip-bench-"));
after(() => rmSync(folder, { recursive: true }));
const table = join(folder, "table");
const tars = join(folder, "tars");
const settings = { batchSize: 8, imageSize: 32, seconds: 0.02 };
const stages = ["read", "decode", "augment", "decode+augment", "tokenize", "collate"];

before(async () => {
  await writeCollection(table, 40);
  writeFileSync(join(table, "images", "0", "p.0.jpg"), "not an image");
  const { pairs } = await openCollection({ path: table });
  await packShards({ pairs, out: tars, maximumSkipped: 0.1, createdWith: "test" });
});

test("every stage of a table, with the loader", async () => {
  const told: string[] = [];
  const report = await benchData({ path: table, ...settings, onStage: ({ stage }) => told.push(stage) });
  assert.deepEqual(told, [...stages, "loader"]);
  for (const { stage, samples, perSecond, perCpuSecond } of report.stages) {
    assert.ok(samples > 0 && samples % 8 === 0, stage);
    assert.ok(perSecond > 0 && perCpuSecond > 0, stage);
  }
  assert.ok(stages.includes(report.limit));
  assert.equal(report.shorterSide, 30);
});

test("every stage of tars, as JSON and as text", async () => {
  const run = async (...args: string[]): Promise<Ended> =>
    await runLaclip(["data", "bench", tars, "--batch-size", "8", "--image-size", "32", "--seconds", "0.02", ...args]);
  const json = await run("--json");
  assert.equal(json.code, 0, json.stderr);
  assert.deepEqual(
    (JSON.parse(json.stdout) as BenchDataReport).stages.map(({ stage }) => stage),
    [...stages, "loader"],
  );
  const text = await run();
  assert.equal(text.code, 0, text.stderr);
  assert.match(text.stdout, /^decode\+augment +\d+ +\d+$/m);
  assert.match(text.stdout, /^limit: [a-z]+ \(\d+ % of a sample's processor time\)$/m);
});

test("tars on a server, with the loader, since their index says how many samples there are", async () => {
  const server = await serveFolder(folder);
  try {
    const report = await benchData({ path: `${server.host}/tars/{00000..00000}.tar?key=sesame`, ...settings });
    assert.deepEqual(
      report.stages.map(({ stage }) => stage),
      [...stages, "loader"],
    );
    assert.doesNotMatch(JSON.stringify(report), /sesame/);
  } finally {
    server.close();
  }
});

test("nothing to measure is an error", async () => {
  const broken = join(folder, "broken");
  mkdirSync(join(broken, "hat"), { recursive: true });
  writeFileSync(join(broken, "hat", "a.jpg"), "no image");
  await assert.rejects(benchData({ path: broken, ...settings }), DataError);
  await assert.rejects(benchData({ path: table, ...settings, seconds: 0 }), UsageError);
});
