/**
 * A demo that is started in a folder that is there already: with the same settings it goes on, with others it touches nothing, and
 * neither does it in a folder of somebody else's.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type DemoOptions, type DemoResults, runDemo } from "../../src/demo/index.ts";
import { DataError, FolderLock, UsageError, setLogLevel } from "../../src/support/index.ts";

setLogLevel("quiet");
const root = mkdtempSync(join(tmpdir(), "laclip-demo-settings-"));
after(() => rmSync(root, { recursive: true }));
const out = join(root, "demo");

async function demo(change: Partial<DemoOptions>): Promise<DemoResults> {
  return await runDemo({
    out,
    llm: "eda",
    seeds: 1,
    steps: 1,
    limit: 12,
    signal: new AbortController().signal,
    createdWith: "test",
    ...change,
  });
}

/** Every file with its time and size. */
function state(folder = out): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .toSorted()
    .map((name) => {
      const { size, mtimeMs } = statSync(join(folder, name));
      return `${name} ${size} ${mtimeMs}`;
    });
}

test("other numbers of steps or concepts are refused before anything is touched, the same ones are gone on with", async () => {
  const first = await demo({});
  const events = readFileSync(join(out, "runs", "clip-seed1", "events.jsonl"), "utf8");
  const before = state();
  const refused: [Partial<DemoOptions>, RegExp][] = [
    [{ steps: 2 }, /runs of 1 steps there, 2 now \(--steps\)/],
    [{ steps: undefined }, /runs of 1 steps there, \d+ now/],
    [{ limit: 11 }, /12 concepts there, 11 now \(--limit\)/],
    [{ limit: undefined }, /12 concepts there, \d{3} now/],
  ];
  for (const [change, message] of refused) {
    await assert.rejects(demo(change), (error: unknown) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, message);
      assert.ok(error.mend?.includes(`Delete ${out}`) && error.mend.includes("another --out"));
      return true;
    });
    assert.deepEqual(state(), before);
  }
  const again = await demo({});
  assert.deepEqual(
    again.methods.map(({ seeds }) => seeds[0]!.evaluations),
    first.methods.map(({ seeds }) => seeds[0]!.evaluations),
  );
  assert.equal(readFileSync(join(out, "runs", "clip-seed1", "events.jsonl"), "utf8"), events, "a finished run is not trained again");
  assert.ok(readFileSync(join(out, "report.html"), "utf8").includes(again.command));
});

test("while one demo is at work in a folder, a second one is refused", async () => {
  const lock = FolderLock.take(join(out, "lock"), "demo");
  try {
    await assert.rejects(demo({}), (error: unknown) => error instanceof DataError && /being written by process/.test(error.message));
  } finally {
    lock.release();
  }
});

const foreign: readonly [what: string, files: Readonly<Record<string, string>>, says: RegExp][] = [
  ["other files", { "thesis.tex": "" }, /"thesis\.tex"/],
  ["other results", { "results.json": '{ "rows": [], "mine": true }' }, /results\.json: this was not written by the demo/],
  ["results that are no JSON", { "results.json": "" }, /results\.json: this was not written by the demo/],
  ["another report", { "report.html": "<title>my report</title>" }, /report\.html: this was not written by the demo/],
];
for (const [what, files, says] of foreign) {
  test(`a folder with ${what} is refused before anything is drawn`, async () => {
    const folder = join(root, what);
    mkdirSync(folder);
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    const before = state(folder);
    await assert.rejects(demo({ out: folder }), (error: unknown) => error instanceof DataError && says.test(error.message));
    assert.deepEqual(state(folder), before);
  });
}

test("a file, and a place below a file, is refused as a folder", async () => {
  const file = join(root, "file");
  writeFileSync(file, "");
  await assert.rejects(demo({ out: file }), (error: unknown) => error instanceof DataError && /this is a file/.test(error.message));
  await assert.rejects(
    demo({ out: join(file, "below") }),
    (error: unknown) => error instanceof UsageError && /a file lies where a folder belongs/.test(error.message),
  );
  assert.ok(existsSync(file));
});
