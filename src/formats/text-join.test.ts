import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readTable } from "./tables.ts";
import { TextJoin } from "./text-join.ts";
import type { JoinedRow } from "./text-join.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-join-"));
after(() => rmSync(folder, { recursive: true }));

async function all(join: TextJoin): Promise<JoinedRow[]> {
  const rows: JoinedRow[] = [];
  for await (const batch of join.rows()) rows.push(...batch);
  return rows;
}

test("rows keep their order, repeated and empty ones too, and have the texts of their key", async () => {
  const texts = await TextJoin.create(folder, 2);
  texts.addText(1, { key: "b", text: "one of b" });
  texts.addText(0, { key: "é\n'\"", text: "quotes" });
  texts.addText(0, { key: "a", text: "later" });
  texts.addText(0, { key: "a", text: "first" });
  texts.addText(1, { key: "nobody", text: "" });
  texts.addRows([
    { key: "b", text: "B" },
    { key: "a", text: "" },
    { key: "é\n'\"", text: "\u2028" },
  ]);
  texts.addRows([{ key: "b", text: "B" }]);
  const b = { key: "b", text: "B", texts: [undefined, "one of b"] };
  assert.deepEqual(await all(texts), [
    b,
    { key: "a", text: "", texts: ["first", undefined] },
    { key: "é\n'\"", text: "\u2028", texts: ["quotes", undefined] },
    b,
  ]);
  texts.close();
  assert.deepEqual(readdirSync(folder), []);
});

test("a folder may have any name", async () => {
  const odd = join(folder, "what?.is=%41#this", 'it\'s [*] "?"');
  const link = join(folder, "link");
  mkdirSync(odd, { recursive: true });
  symlinkSync(odd, link);
  for (const place of [odd, link]) {
    const texts = await TextJoin.create(place, 1);
    texts.addText(0, { key: "a", text: "of a" });
    texts.addRows([{ key: "a", text: "A" }]);
    assert.equal(await texts.writeParquet(join(place, "a?.parquet"), ["id", "caption", "text"]), 1);
    texts.close();
    assert.deepEqual(readdirSync(odd), ["a?.parquet"]);
    let read = 0;
    for await (const { rows, columns } of readTable(join(place, "a?.parquet"))) {
      read += rows;
      assert.deepEqual({ ...columns }, { id: ["a"], caption: ["A"], text: ["of a"] });
    }
    assert.equal(read, 1);
  }
  rmSync(link);
  rmSync(join(folder, "what?.is=%41#this"), { recursive: true });
});

test("many rows", async () => {
  const count = 30_000;
  const texts = await TextJoin.create(folder, 1);
  for (let i = 0; i < count; i += 3) texts.addText(0, { key: `key ${(i * 7) % count}`, text: `text ${(i * 7) % count}` });
  texts.addRows(Array.from({ length: count }, (_, i) => ({ key: `key ${i}`, text: `row ${i}` })));
  const rows = await all(texts);
  texts.close();
  assert.equal(rows.length, count);
  rows.forEach((row, i) => assert.deepEqual(row, { key: `key ${i}`, text: `row ${i}`, texts: [i % 3 === 0 ? `text ${i}` : undefined] }));
});
