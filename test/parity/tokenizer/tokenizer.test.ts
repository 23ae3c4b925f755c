/**
 * The same ids as open_clip's tokenizer, on strings of many kinds. The fixture is made by make-fixture.py beside this file.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { ClipTokenizer, cleaningModes } from "../../../src/text/index.ts";

interface Row {
  text: string;
  lower: number[];
  whitespace?: number[];
  canonicalize?: number[];
  /** Present where the caption is longer than the context: start, ids, end. */
  cut?: number[];
  decoded?: string;
}

const fixture = new URL("../../../../test/parity/tokenizer/tokenizer.json.gz", import.meta.url);
const { rows } = JSON.parse(gunzipSync(readFileSync(fixture)).toString("utf8")) as { rows: Row[] };

for (const mode of cleaningModes) {
  void test(`ids are open_clip's with cleaning "${mode}"`, () => {
    const tokenizer = ClipTokenizer.load({ cleaning: mode });
    const asked = rows.filter((row) => row[mode] !== undefined);
    assert.ok(asked.length >= (mode === "lower" ? 2000 : 500), `only ${asked.length} strings`);
    const wrong = asked.filter((row) => tokenizer.encode(row.text).join() !== row[mode]!.join());
    assert.deepEqual(
      wrong.map((row) => ({ text: row.text, expected: row[mode], got: tokenizer.encode(row.text) })),
      [],
    );
  });
}

void test("captions longer than the context are cut as open_clip cuts them", () => {
  const tokenizer = ClipTokenizer.load();
  const long = rows.filter((row) => row.cut !== undefined);
  assert.ok(long.length >= 20);
  for (const row of long) assert.deepEqual([...tokenizer.tokenize(row.text)], row.cut, row.text.slice(0, 60));
  const batch = tokenizer.tokenizeBatch(rows.map((row) => row.text));
  assert.equal(batch.length, 77);
  rows.forEach((row, i) => {
    const expected = row.cut ?? [49406, ...row.lower, 49407];
    assert.equal(batch.lengths[i], expected.length);
    assert.deepEqual([...batch.ids.subarray(i * 77, i * 77 + expected.length)], expected, row.text.slice(0, 60));
    assert.ok(batch.ids.subarray(i * 77 + expected.length, (i + 1) * 77).every((id) => id === 0));
  });
});

void test("ids decode to the text that open_clip decodes them to", () => {
  const tokenizer = ClipTokenizer.load();
  const asked = rows.filter((row) => row.decoded !== undefined);
  assert.ok(asked.length >= 500);
  for (const row of asked) assert.equal(tokenizer.decode(row.lower), row.decoded, row.text.slice(0, 60));
});
