/** Which steps of a run are recorded, and that nothing of it ends a run. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, describe, mock, test } from "node:test";
import type { Profile } from "../torch/index.ts";
import { StepProfiler, type StepProfilerOptions } from "./step-profiler.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-profiler-"));
let runs = 0;

/** A run of so many steps, with a checkpoint after every period; returns the files and what was said. */
function run(options: Partial<StepProfilerOptions> & { totalSteps: number }, from = 0): { files: string[]; said: string; starts: number } {
  const folder = join(root, `run-${runs++}`);
  const write = mock.method(process.stderr, "write", () => true);
  let starts = 0;
  try {
    const profile: Profile = { events: [{ name: "aten::mm", onDevice: false, lane: 1, start: 0, duration: 5 }], seconds: 0.001 };
    const start = (): (() => Profile) => {
      starts++;
      return () => profile;
    };
    const { totalSteps, periods = [1000] } = options;
    const profiler = new StepProfiler({ run: folder, steps: 3, device: "cpu", periods, start, ...options });
    for (let step = from; step < totalSteps; step++) {
      profiler.begins(step);
      profiler.ends(step + 1, 0);
      if (periods.some((period) => (step + 1) % period === 0)) profiler.breakOff();
    }
    profiler.close();
    const said = write.mock.calls.map(({ arguments: [text] }) => String(text)).join("");
    const files = existsSync(join(folder, "profile")) ? readdirSync(join(folder, "profile")) : [];
    return { files, said, starts };
  } finally {
    write.mock.restore();
  }
}

describe("the profiler of a run", () => {
  after(() => rmSync(root, { recursive: true, force: true }));
  afterEach(() => mock.restoreAll());

  test("records as many steps as asked for, once, from the sixth of this start on", () => {
    const { files, starts } = run({ totalSteps: 100 });
    assert.deepEqual([files, starts], [["steps-6-8.json.gz", "steps-6-8.md"], 1]);
    assert.deepEqual(run({ totalSteps: 100 }, 40).files, ["steps-46-48.json.gz", "steps-46-48.md"]);
  });

  test("waits until nothing comes in between, or takes as many steps as there are", () => {
    assert.deepEqual(run({ totalSteps: 100, periods: [7] }).files, ["steps-8-10.json.gz", "steps-8-10.md"]);
    assert.deepEqual(run({ totalSteps: 100, periods: [2] }).files, ["steps-7-8.json.gz", "steps-7-8.md"]);
    assert.deepEqual(run({ totalSteps: 100, periods: [4, 6] }).files, ["steps-9-11.json.gz", "steps-9-11.md"]);
    assert.deepEqual(run({ totalSteps: 7 }).files, ["steps-6-7.json.gz", "steps-6-7.md"]);
    const { files, said } = run({ totalSteps: 5 });
    assert.deepEqual(files, []);
    assert.match(said, /No step was recorded: that begins after 5 steps/);
  });

  test("says what went wrong and leaves the run alone", () => {
    const failing = (words: string) => (): never => {
      throw new Error(words);
    };
    const atStart = run({ totalSteps: 20, start: failing("no profiler in this libtorch") });
    assert.match(atStart.said, /No profile: no profiler in this libtorch/);
    assert.equal(atStart.said.match(/No profile/g)!.length, 1, "it is not tried again");
    const atEnd = run({ totalSteps: 20, start: () => failing("the device is gone") });
    assert.match(atEnd.said, /No profile: the device is gone/);
    assert.deepEqual(atEnd.files, []);
    const folder = join(root, "taken");
    writeFileSync(folder, "");
    assert.match(run({ totalSteps: 20, run: folder }).said, /No profile: .*taken/);
  });
});
