import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { TarWriter } from "../formats/index.ts";
import { DataError } from "../support/index.ts";
import { openTarPairs } from "./tar-pairs.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-tar-pairs-"));
after(() => rmSync(folder, { recursive: true }));

/** Writes a tar of samples by their `.json`, each with an image and the caption `caption of KEY`. */
async function write(name: string, samples: Readonly<Record<string, unknown>>): Promise<string> {
  const path = join(folder, name);
  const tar = await TarWriter.create(path);
  for (const [key, json] of Object.entries(samples)) {
    await tar.add({ name: `${key}.jpg` }, Buffer.from("an image"));
    await tar.add({ name: `${key}.txt` }, Buffer.from(`caption of ${key}`));
    await tar.add({ name: `${key}.json` }, Buffer.from(typeof json === "string" ? json : JSON.stringify(json)));
  }
  await tar.finish();
  return path;
}

test("rewrites keep the order of the .json, whichever source comes first in the tars", async () => {
  const tar = await write("sources.tar", {
    a: { caption_late: "late a" },
    b: { caption_early: "z early b", caption_early_2: "a second early b", caption_late: "late b" },
  });
  const pairs = await openTarPairs([tar], { name: "sources" });
  const texts = (row: number): string[] => pairs.samples.at(row).captions.map(({ text }) => text);
  assert.deepEqual(texts(0), ["caption of a", "late a"]);
  assert.deepEqual(texts(1), ["caption of b", "z early b", "a second early b", "late b"]);
  const chosen = await openTarPairs([tar], { name: "sources", sources: ["late", "early"] });
  assert.deepEqual(
    chosen.samples.at(1).captions.map(({ source }) => source),
    ["original", "late", "early"],
  );
});

test("weights that make no sense count as 1, and texts that weigh nothing are left out", async () => {
  const texts = { caption_a: "text a", caption_b: "text b", caption_c: "text c", caption_d: "text d" };
  const tar = await write("weights.tar", {
    some: { ...texts, weights: { caption_a: 0.25, caption_b: 0, caption_c: -1, caption_d: 7 } },
    nan: JSON.stringify({ ...texts, weights: { caption_a: "N" } }).replace('"N"', "NaN"),
    text: { ...texts, weights: "many" },
    list: { ...texts, weights: [1, 2] },
    none: { ...texts, weights: null },
  });
  const { samples } = await openTarPairs([tar], { name: "weights" });
  assert.deepEqual(samples.at(0).captions.slice(1), [
    { source: "a", text: "text a", weight: 0.25 },
    { source: "d", text: "text d" },
  ]);
  for (const row of [1, 2, 3, 4]) assert.ok(samples.at(row).captions.every(({ weight }) => weight === undefined));
});

test("a .json that can't be read costs its sample, which is counted and listed", async () => {
  const tar = await write("json.tar", { a: {}, b: "{", c: "[1]", d: {} });
  await assert.rejects(openTarPairs([tar], { name: "json" }), (error) => {
    assert.ok(error instanceof DataError);
    assert.match(error.message, /2 of 4 samples .*2 without a caption/s);
    assert.match(error.message, /json\.tar: the member b\.json is not valid JSON/);
    return true;
  });
  const { samples, skipped } = await openTarPairs([tar], { name: "json", maximumSkipped: 0.5 });
  assert.deepEqual([samples.id(0), samples.id(1), samples.length, skipped.emptyCaptions], ["a", "d", 2, 2]);
});

test("rows order packed samples; where one is no row, the tars do", async () => {
  const ids = async (rows: readonly unknown[]): Promise<string> => {
    const tar = await write("rows.tar", Object.fromEntries(rows.map((row, i) => ["abcd"[i]!, { row }])));
    const { samples } = await openTarPairs([tar], { name: "rows" });
    return Array.from({ length: samples.length }, (_, row) => samples.id(row)).join("");
  };
  assert.equal(await ids([9, 2 ** 52, 0, 7]), "cdab");
  assert.equal(await ids([3, 1, 3, 1]), "bdac");
  for (const odd of [-1, 0.5, "1", null, 2 ** 60]) assert.equal(await ids([9, odd, 0, 7]), "abcd");
});

test("ids that repeat, and sources without end, are refused with what to do", async () => {
  const [one, two] = [await write("one.tar", { a: {}, b: {} }), await write("two.tar", { b: {}, c: {} })];
  await assert.rejects(openTarPairs([one, two], { name: "both" }), /1 of 4 ids were there before\. First: "b"/);
  const many = Object.fromEntries(Array.from({ length: 256 }, (_, i) => [`caption_${i}x`, `text ${i}`]));
  await assert.rejects(openTarPairs([await write("many.tar", { a: many })], { name: "many" }), {
    name: "DataError",
    message: /more than 255 sources of rewrites/,
  });
});
