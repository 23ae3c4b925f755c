import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DataError, UsageError, sha256 } from "../../support/index.ts";
import { cocoPairs } from "./coco-pairs.ts";
import { outputsOf } from "./pairs.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-coco-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const file = (value: unknown): string => {
  const path = join(folder, `captions-${files++}.json`);
  writeFileSync(path, JSON.stringify(value));
  return path;
};

interface Annotation {
  image_id: unknown;
  id: number;
  caption?: unknown;
}

/** Annotations as COCO has them: of several images in turn, with stray spaces and line breaks. */
function annotations(images: number, captions = 5): Annotation[] {
  const count = images * captions;
  return Array.from({ length: count }, (_, i) => ({
    image_id: 1000 + (i % images),
    id: i,
    caption: `A thing number ${i % images} as person ${Math.floor(i / images)} sees it. ${i % 3 === 0 ? "\n" : ""}`,
  }));
}

const info = { description: "COCO in small" };
const draw = async (value: unknown, count = 4, seed = 0): ReturnType<typeof cocoPairs> =>
  await cocoPairs(file(value), { name: "coco", count, seed, createdWith: "test" });

test("groups are the five captions of one image, and the record says where they come from", async () => {
  const value = { info, images: [], licenses: [], annotations: annotations(30) };
  const source = await draw(value, 16);
  assert.equal(source.groups!.length, 16);
  const images = source.groups!.map((group) => {
    assert.equal(group.length, 5);
    const numbers = new Set(group.map((caption) => /^A thing number (\d+) as person \d sees it\.$/.exec(caption)![1]));
    assert.equal(numbers.size, 1);
    return [...numbers][0];
  });
  assert.equal(new Set(images).size, 16);
  assert.equal(outputsOf({ ...source, provenance: "" }).length, 80);
  const { record } = source;
  assert.ok(record?.by === "annotations");
  assert.equal(record.dataset, "COCO in small");
  assert.deepEqual(record.captions, { name: `captions-${files - 1}.json`, count: 150, hash: sha256(JSON.stringify(value)) });
});

test("the draw follows from the seed, not from the order of the annotations", async () => {
  const list = annotations(30);
  const first = await draw({ annotations: list });
  assert.deepEqual((await draw({ annotations: list.toReversed() })).groups, first.groups);
  assert.notDeepEqual((await draw({ annotations: list }, 4, 1)).groups, first.groups);
});

test("images with fewer than five different captions are passed over", async () => {
  const list = [
    ...annotations(3),
    { image_id: 1, id: 900, caption: "alone" },
    ...[1, 2, 3, 4, 5].map((id) => ({ image_id: 2, id: 900 + id, caption: id % 2 ? "The same words" : "the same, words!" })),
    ...[1, 2, 3, 4, 5].map((id) => ({ image_id: 3, id: 910 + id, caption: "long ".repeat(100 + id) })),
  ];
  const { groups } = await draw({ annotations: list }, 3);
  for (const group of groups!) assert.match(group[0]!, /^A thing number [012]/);
  await assert.rejects(draw({ annotations: list }, 4), (error) => {
    assert.ok(error instanceof DataError);
    assert.match(error.message, /captions-\d+\.json: 3 of its 6 images have 5 different captions; 4 are needed/);
    return true;
  });
});

test("a file of another kind is refused with the field that is wrong", async () => {
  const [first] = annotations(1);
  const cases: [unknown, RegExp][] = [
    [{}, /annotations: .*array/],
    [[first], /top level: .*object/],
    [{ annotations: [first, { image_id: 1, bbox: [0, 0, 1, 1] }] }, /annotations\.1\.caption: .*string/],
    [{ annotations: [{ caption: "no image" }] }, /annotations\.0\.image_id/],
    [{ annotations: [{ ...first, caption: null }] }, /annotations\.0\.caption/],
    [{ annotations: [] }, /0 of its 0 images/],
  ];
  for (const [value, expected] of cases) {
    await assert.rejects(draw(value), (error) => {
      assert.ok(error instanceof DataError, String(error));
      assert.match(error.message, expected);
      assert.ok(error.mend);
      return true;
    });
  }
  const torn = join(folder, "torn.json");
  writeFileSync(torn, JSON.stringify({ annotations: annotations(20) }).slice(0, 500));
  const options = { name: "coco", seed: 0, createdWith: "test" };
  await assert.rejects(cocoPairs(torn, options), /torn\.json: this COCO annotation file is not valid JSON/);
  await assert.rejects(cocoPairs(join(folder, "none.json"), options), /no such COCO annotation file/);
  await assert.rejects(cocoPairs(torn, { ...options, count: 2 }), UsageError);
});
