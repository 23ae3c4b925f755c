/** RedCaps as its downloader leaves it: rewritten, packed and trained on under the same ids, with images missing as they always are. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspectData, kindOfData, openCollection, packShards } from "../../src/curation/index.ts";
import { openPairs } from "../../src/data/index.ts";
import { openCaptions } from "../../src/rewriting/index.ts";
import { DataError, UsageError, setLogLevel } from "../../src/support/index.ts";
import { picture } from "./small-collection.ts";
import { unpackSamples } from "./webdataset-reader.ts";

setLogLevel("quiet");
const folder = mkdtempSync(join(tmpdir(), "laclip-redcaps-"));
after(() => rmSync(folder, { recursive: true }));
const redcaps = join(folder, "redcaps");

before(async () => {
  mkdirSync(join(redcaps, "annotations"), { recursive: true });
  for (const [subreddit, ids] of Object.entries({ cats: ["a1", "a2"], dogs: ["b1", "b2", "b3"] })) {
    mkdirSync(join(redcaps, "images", subreddit), { recursive: true });
    const annotations = ids.map((id) => ({ image_id: id, subreddit, raw_caption: `Raw ${id}!`, caption: `caption of ${id}`, score: 3 }));
    writeFileSync(join(redcaps, "annotations", `${subreddit}_2019.json`), JSON.stringify({ info: {}, annotations }));
    for (const [i, id] of ids.entries())
      if (id !== "b3") writeFileSync(join(redcaps, "images", subreddit, `${id}.jpg`), await picture(i, "jpeg"));
  }
});

test("the folder, its annotations and one file of them are read alike; missing images count", async () => {
  for (const path of [redcaps, join(redcaps, "annotations")]) {
    const { samples, fingerprint, skipped, rows } = await openPairs({ file: path, maximumSkipped: 0.5 });
    assert.deepEqual(
      Array.from({ length: samples.length }, (_, row) => [samples.id(row), samples.caption(row), samples.image(row)]),
      ["cats/a1", "cats/a2", "dogs/b1", "dogs/b2"].map((name) => {
        const id = name.slice(5);
        return [id, `caption of ${id}`, join(redcaps, "images", `${name}.jpg`)];
      }),
    );
    assert.deepEqual([rows, skipped.missingImages], [5, 1]);
    assert.match(skipped.examples.join(), /^dogs_2019\.json, annotation 3: no file dogs\/b3\.jpg$/);
    const captions = await openCaptions(path);
    assert.deepEqual((await captions.survey()).fingerprint, fingerprint);
    assert.equal(kindOfData(path), "annotations");
  }
  const one = await openPairs({ file: join(redcaps, "annotations", "cats_2019.json"), captionColumn: "raw_caption" });
  assert.equal(one.samples.caption(1), "Raw a2!");
  await assert.rejects(openPairs({ file: redcaps }), (error) => error instanceof DataError && /1 of 5 annotations/.test(error.message));
  await assert.rejects(openPairs({ file: redcaps, imageColumn: "url" }), UsageError);
  await assert.rejects(openPairs({ file: redcaps, images: join(redcaps, "nowhere") }), /no such folder of images/);
});

test("names that lead out of the folder of images name no image", async () => {
  const file = join(folder, "odd", "annotations", "odd.json");
  mkdirSync(join(file, ".."), { recursive: true });
  const names = [["../..", "etc"], ["cats", "../a1"], ["cats", "a1"], ["..", ".."]]; // prettier-ignore
  const annotations = names.map(([subreddit, image_id], id) => ({ id, subreddit, image_id, caption: "a cat" }));
  writeFileSync(file, JSON.stringify({ annotations }));
  const { samples, skipped } = await openPairs({ file, images: join(redcaps, "images"), maximumSkipped: 0.9 });
  assert.deepEqual([samples.length, samples.id(0), skipped.missingImages], [1, "2", 3]);
});

test("packed, with the images as they are", async () => {
  const out = join(folder, "shards");
  const { pairs, kind } = await openCollection({ path: redcaps, maximumSkipped: 0.5 });
  assert.equal(kind, "annotations");
  await packShards({ pairs, out, order: "table", createdWith: "test" });
  const samples = unpackSamples(join(out, "00000.tar"));
  assert.deepEqual(
    samples.map(({ members }) => JSON.parse(members.get("json")!.toString("utf8"))),
    ["a1", "a2", "b1", "b2"].map((id, row) => ({ id, row, caption: `caption of ${id}` })),
  );
  assert.deepEqual(samples[3]!.members.get("jpg"), readFileSync(join(redcaps, "images", "dogs", "b2.jpg")));
  const { kind: seen, rows, withoutImage, samples: usable } = await inspectData({ path: redcaps });
  assert.deepEqual([seen, rows, withoutImage, usable], ["annotations", 5, 1, 4]);
});

test("a folder of images by class stays one, whatever lists lie beside the classes", () => {
  const classes = join(folder, "classes");
  mkdirSync(join(classes, "hat"), { recursive: true });
  writeFileSync(join(classes, "classes.json"), '{"hat": "hat"}');
  assert.equal(kindOfData(classes), "classes");
});
