import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../support/index.ts";
import { TextColumn, TextIndex } from "./text-column.ts";

test("texts come back as they went in, also in a thread's view of the same memory", () => {
  const random = Random.of("texts");
  const alphabet = ["a", " ", "é", "漢", "🐕", "\n", '"', "\0"];
  const texts = Array.from({ length: 5000 }, () => Array.from({ length: random.integer(40) }, () => random.choice(alphabet)).join(""));
  texts[17] = "x".repeat(200_000);
  const column = TextColumn.of(texts);
  assert.equal(column.length, texts.length);
  const other = new TextColumn(structuredClone(column.memory));
  texts.forEach((text, i) => {
    assert.equal(column.at(i), text);
    assert.equal(other.at(i), text);
  });
  assert.equal(TextColumn.of([]).length, 0);
});

test("an index finds every text, and nothing that is not there", () => {
  const ids = Array.from({ length: 20_000 }, (_, i) => String(i).padStart(9, "0"));
  const index = new TextIndex(TextColumn.of(ids));
  ids.forEach((id, row) => assert.equal(index.find(id), row));
  for (const id of ["", "1", "000020000", "00000000", "0000000000"]) assert.equal(index.find(id), -1);
  assert.equal(index.duplicateCount, 0);
  assert.equal(new TextIndex(TextColumn.of([])).find("x"), -1);
});

test("repeated texts are counted and named", () => {
  const index = new TextIndex(TextColumn.of(["a", "b", "a", "c", "b", "a"]));
  assert.equal(index.duplicateCount, 3);
  assert.deepEqual(index.duplicates, [
    { row: 2, firstRow: 0 },
    { row: 4, firstRow: 1 },
    { row: 5, firstRow: 0 },
  ]);
});
