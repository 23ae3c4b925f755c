import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../support/index.ts";
import { TextColumn } from "./text-column.ts";

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
