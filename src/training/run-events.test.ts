import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { RunFolder, readEvents } from "./run-folder.ts";

const root = mkdtempSync(join(tmpdir(), "laclip-run-"));
after(() => rmSync(root, { recursive: true }));

/** What `work` says to standard error. */
function saidBy(work: () => void): string {
  const said: string[] = [];
  const written = mock.method(process.stderr, "write", (text: string) => said.push(text) > 0);
  try {
    work();
  } finally {
    written.mock.restore();
  }
  return said.join("");
}

/** A run of three steps, whose process died while it wrote the fourth event. */
function died(name: string): { out: string; file: string } {
  const out = join(root, name);
  const run = RunFolder.open(out, {});
  for (const step of [1, 2, 3]) run.record("train", step, { "train/loss": step });
  run.close();
  const file = join(out, "events.jsonl");
  appendFileSync(file, '{"time":"2026-01-01T00:00:00Z","event":"tr');
  return { out, file };
}

const stepsOf = (file: string): number[] => readEvents(file).map(({ step }) => step);

test("events after the step that a run goes on from are forgotten, and so is half a line at the end", () => {
  const { out, file } = died("torn");
  const run = RunFolder.open(out, {});
  assert.equal(
    saidBy(() => assert.deepEqual(stepsOf(file), [1, 2, 3])),
    "",
    "a crash is nothing to warn of",
  );
  run.rewind(2);
  run.record("train", 3);
  run.close();
  assert.deepEqual(stepsOf(file), [1, 2, 3]);
  for (const line of readFileSync(file, "utf8").trimEnd().split("\n")) JSON.parse(line);
});

test("damaged lines are told once, stay where they are, and keep no run from going on", () => {
  const { out, file } = died("damaged");
  const [first, second, ...rest] = readFileSync(file, "utf8").split("\n");
  const damaged = [first, "\0\0\0", "null", second!.slice(0, 20), second, ...rest];
  writeFileSync(file, damaged.join("\n"));
  const run = RunFolder.open(out, {});
  const warned = saidBy(() => {
    assert.deepEqual(stepsOf(file), [1, 2, 3]);
    run.rewind(2);
  });
  assert.deepEqual(
    [...warned.matchAll(/events\.jsonl: line (\d) is no event; it is passed over/g)].map(([, line]) => line),
    ["2", "3", "4"],
  );
  run.close();
  assert.equal(readFileSync(file, "utf8"), `${damaged.slice(0, 5).join("\n")}\n`);
});
