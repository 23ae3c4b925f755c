import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DataError, readJsonLines, streamJsonLines } from "./index.ts";
import type { JsonLinesOptions } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-lines-"));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, "log.jsonl");
const mend = "Remove that line.";

/** What both readers find in a text, which must be the same. */
async function read(text: string, damaged: JsonLinesOptions["damaged"] = "throw"): Promise<unknown[]> {
  writeFileSync(path, text);
  const values: unknown[] = [];
  for await (const lines of streamJsonLines(path, { mend, damaged })) {
    for (const { number, value, error } of lines) values.push(error === undefined ? value : `${number} is damaged`);
  }
  const { lines } = readJsonLines(path, "log", { mend, damaged });
  assert.deepEqual(
    lines.map(({ number, value, error }) => (error === undefined ? value : `${number} is damaged`)),
    values,
  );
  return values;
}

test("every line is a value, whatever stands in its texts", async () => {
  assert.deepEqual(await read(""), []);
  assert.deepEqual(await read('{"a":1}\n[2]\n'), [{ a: 1 }, [2]]);
  assert.deepEqual(await read('{"a":1}\n[2]'), [{ a: 1 }, [2]], "only the line break was lost");
  assert.deepEqual(await read('"one\u2028line"\n"\u0085"\r\n'), ["one\u2028line", "\u0085"]);
  const long = "é".repeat(100_000);
  assert.deepEqual(await read(`${JSON.stringify(long)}\n${JSON.stringify(long)}\n`), [long, long]);
});

test("a torn last line counts as not written, and is told to whoever wants to add more", async () => {
  const torn = (): boolean => readJsonLines(path, "log", { mend }).torn;
  for (const [text, values, isTorn] of [
    ["1\n2\n", [1, 2], false],
    ['1\n{"a', [1], true],
    ['1\n{"a\n', [1], true],
    ["1\n2", [1, 2], true],
    ['{"a', [], true],
  ] as const) {
    assert.deepEqual(await read(text), values);
    assert.equal(torn(), isTorn, JSON.stringify(text));
  }
});

test("a bad line before others is damage: thrown with file and line, or marked", async () => {
  const refused = (error: unknown): boolean =>
    error instanceof DataError && /log\.jsonl: line 2 is not valid JSON \(/.test(error.message) && error.mend === mend;
  const text = '1\n{"a\n3\n\n5\n{"b';
  await assert.rejects(read(text), refused);
  assert.throws(() => readJsonLines(path, "log", { mend }), refused);
  assert.deepEqual(await read(text, "mark"), [1, "2 is damaged", 3, "4 is damaged", 5]);
  const marked = readJsonLines(path, "log", { mend, damaged: "mark" }).lines[1]!;
  assert.equal(marked.text, '{"a');
  assert.ok(refused(marked.error));
});

test("a file that is not there is named", () => {
  assert.throws(() => readJsonLines(join(folder, "none.jsonl"), "log", { mend }), /none\.jsonl: no such log/);
});
