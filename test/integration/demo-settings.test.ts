/** A demo that is started again in its folder: with the same settings it goes on, with others it touches nothing. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type DemoOptions, type DemoResults, runDemo } from "../../src/demo/index.ts";
import { UsageError, setLogLevel } from "../../src/support/index.ts";

setLogLevel("quiet");
const out = mkdtempSync(join(tmpdir(), "laclip-demo-settings-"));
after(() => rmSync(out, { recursive: true }));

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
function state(): string[] {
  return readdirSync(out, { recursive: true, encoding: "utf8" })
    .toSorted()
    .map((name) => {
      const { size, mtimeMs } = statSync(join(out, name));
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
});
