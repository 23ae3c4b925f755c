import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { evaluationBatches } from "../../src/data/index.ts";
import { type RetrievalDataset, inspectRetrievalSets, openRetrievalDataset } from "../../src/evaluation/index.ts";
import { DataError, UsageError } from "../../src/support/index.ts";
import { writeTar } from "./tar-files.ts";

const photo = fileURLToPath(new URL("../../../test/parity/images/files/photo.jpg", import.meta.url));
const made = mkdtempSync(join(tmpdir(), "laclip-retrieval-sets-"));
after(() => rmSync(made, { recursive: true }));
let roots = 0;

/** A root with these images, and files with these contents; what is no text becomes JSON. */
function root(images: readonly string[], files: Record<string, unknown>): string {
  const path = join(made, String(roots++));
  const at = (name: string): string => {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    return join(path, name);
  };
  for (const image of images) copyFileSync(photo, at(image));
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(at(name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return path;
}

const told = (message: RegExp) => (error: unknown) => error instanceof DataError && message.test(error.message);

/** File names with what is said of them. */
function said({ images, captions, imageOf }: RetrievalDataset): [string, string[]][] {
  return images.map(({ path, label }) => [
    path.split("/").at(-1)!,
    captions.filter((_, i) => {
      return imageOf[i] === label;
    }),
  ]);
}

const coco2017 = {
  images: [
    { id: 9, file_name: "000000000009.jpg" },
    { id: 25, file_name: "000000000025.jpg" },
  ],
  annotations: [
    { image_id: 25, id: 1, caption: "A giraffe.  " },
    { image_id: 9, id: 2, caption: "A meal." },
    { image_id: 25, id: 3, caption: "Two giraffes." },
  ],
};

const karpathy = (filepath?: string) => ({
  images: [
    { filepath, filename: "one.jpg", split: "test", sentences: [{ raw: "a one" }, { raw: "the first\n" }] },
    { filepath, filename: "two.jpg", split: "restval", sentences: [{ raw: "a two" }] },
    { filepath, filename: "three.jpg", split: "test", sentences: [{ raw: "a three" }] },
  ],
});

describe("MSCOCO", () => {
  const images = ["coco/val2017/000000000009.jpg", "coco/val2017/000000000025.jpg"];

  test("captions of 2017 belong to their images, in the order of the images", async () => {
    const path = root(images, { "coco/annotations/captions_val2017.json": coco2017 });
    const opened = await openRetrievalDataset("coco2017", { root: path, incomplete: true });
    assert.deepEqual(said(opened), [
      ["000000000009.jpg", ["A meal."]],
      ["000000000025.jpg", ["A giraffe.", "Two giraffes."]],
    ]);
    assert.deepEqual([...opened.imageOf], [0, 1, 1]);
    assert.deepEqual(opened.checked.problems, ["2 images and 3 captions to test, expected 5000 and 25014."]);
    const batches = evaluationBatches(opened.images, { size: 8, batchSize: 4 });
    for await (const { labels } of batches) assert.deepEqual([...labels], [0, 1]);
    await assert.rejects(openRetrievalDataset("coco2017", { root: path }), told(/expected 5000 and 25014/));
    const train = openRetrievalDataset("coco2017", { root: path, split: "train" });
    await assert.rejects(train, told(/captions_train2017\.json is missing/));
  });

  test("an image that is missing is named, or left out with its captions", async () => {
    const path = root([images[1]!], { "coco/annotations/captions_val2017.json": coco2017 });
    await assert.rejects(
      openRetrievalDataset("coco2017", { root: path }),
      told(/1 of 2 images .* are missing: val2017\/000000000009\.jpg/),
    );
    const opened = await openRetrievalDataset("coco2017", { root: path, incomplete: true });
    assert.deepEqual(said(opened), [["000000000025.jpg", ["A giraffe.", "Two giraffes."]]]);
    assert.deepEqual([...opened.imageOf], [0, 0]);
  });

  test("Karpathy's split, whole and as CLIP_benchmark's list, which comes first", async () => {
    const pictures = ["one", "two", "three"].map((name) => `mscoco_captions/val2014/${name}.jpg`);
    const path = root(pictures, { "mscoco_captions/dataset_coco.json": karpathy("val2014") });
    const opened = await openRetrievalDataset("mscoco_captions", { root: path, incomplete: true });
    assert.deepEqual(said(opened), [
      ["one.jpg", ["a one", "the first"]],
      ["three.jpg", ["a three"]],
    ]);
    const train = await openRetrievalDataset("mscoco_captions", { root: path, incomplete: true, split: "train" });
    assert.deepEqual(said(train), [["two.jpg", ["a two"]]]);
    await assert.rejects(
      openRetrievalDataset("coco", { root: path, split: "validation" }),
      told(/no image is of the split val; .*test, restval/),
    );
    const list = [{ image: "val2014/two.jpg", caption: ["a two", "another two"] }];
    writeFileSync(join(path, "mscoco_captions/coco_test_karpathy.json"), JSON.stringify(list));
    const listed = await openRetrievalDataset("mscoco_captions", { root: path, incomplete: true });
    assert.deepEqual(said(listed), [["two.jpg", ["a two", "another two"]]]);
  });

  test("files of another form, and captions without an image, are refused", async () => {
    const refused = async (content: unknown, message: RegExp): Promise<void> =>
      await assert.rejects(
        openRetrievalDataset("coco2017", { root: root(images, { "coco/annotations/captions_val2017.json": content }) }),
        told(message),
      );
    await refused({ images: [], annotations: [{ image_id: 3, caption: "x" }] }, /of image 3, which is not in the list of images/);
    await refused({ images: [], annotations: [{ image_id: 3, bbox: [] }] }, /this is no file of COCO captions: annotations\.0\.caption/);
    await refused("{", /not valid JSON/);
  });
});

describe("Flickr30k", () => {
  const images = ["one", "two", "three"].map((name) => `flickr30k/flickr30k-images/${name}.jpg`);
  const open = async (files: Record<string, unknown>): Promise<RetrievalDataset> =>
    await openRetrievalDataset("flickr30k", { root: root(images, files), incomplete: true });

  test("Karpathy's list", async () => {
    const opened = await open({ "flickr30k/dataset_flickr30k.json": karpathy() });
    assert.deepEqual(said(opened), [
      ["one.jpg", ["a one", "the first"]],
      ["three.jpg", ["a three"]],
    ]);
    assert.deepEqual(opened.checked.expected, { images: 1000, captions: 5000 });
  });

  test("CLIP_benchmark's lines", async () => {
    const lines = "image,caption\ntwo.jpg,A man, with a hat.\ntwo.jpg,Another.\n";
    assert.deepEqual(said(await open({ "flickr30k/flickr30k_test_karpathy.txt": lines })), [
      ["two.jpg", ["A man, with a hat.", "Another."]],
    ]);
  });

  test("the captions of the download know no splits, and it is said", async () => {
    const lines = "one.jpg#0\tA one .\none.jpg#1\tThe first .\ntwo.jpg#0\tA two .\n";
    const opened = await open({ "flickr30k/results_20130124.token": lines });
    assert.deepEqual(said(opened), [
      ["one.jpg", ["A one .", "The first ."]],
      ["two.jpg", ["A two ."]],
    ]);
    assert.deepEqual(opened.checked.expected, { images: 31_783, captions: 158_915 });
    assert.match(opened.checked.notes.join(), /knows no splits/);
    await assert.rejects(
      open({ "flickr30k/results_20130124.token": "one.jpg A one\n" }),
      told(/results_20130124\.token:1: "one\.jpg A one"/),
    );
  });
});

describe("one's own", () => {
  test("rows of one image give it several captions, in csv as in jsonl", async () => {
    const csv = 'image,caption\nimg/one.jpg,a one\nimg/two.jpg,"two, of them"\nimg/one.jpg,the first\n';
    const jsonl =
      '{"file":"img/one.jpg","words":"a one"}\n{"file":"img/two.jpg","words":"two, of them"}\n{"file":"img/one.jpg","words":"the first"}\n';
    const path = root(["img/one.jpg", "img/two.jpg"], { "pairs.csv": csv, "pairs.jsonl": jsonl });
    for (const [file, options] of [
      ["pairs.csv", {}],
      ["pairs.jsonl", { imageColumn: "file", captionColumn: "words" }],
    ] as const) {
      const opened = await openRetrievalDataset(join(path, file), options);
      assert.deepEqual(said(opened), [
        ["one.jpg", ["a one", "the first"]],
        ["two.jpg", ["two, of them"]],
      ]);
      assert.deepEqual([opened.name, opened.checked.found], ["pairs", { images: 2, captions: 3 }]);
    }
    rmSync(join(path, "img/two.jpg"));
    await assert.rejects(openRetrievalDataset(join(path, "pairs.csv")), told(/1 of 2 images are missing: img\/two\.jpg/));
    assert.equal((await openRetrievalDataset(join(path, "pairs.csv"), { incomplete: true })).images.length, 1);
  });

  test("a column split says which rows are for what; without one, there is only the whole", async () => {
    const csv = "image,caption,split\none.jpg,a one,train\ntwo.jpg,a two,test\none.jpg,the first,train\nthree.jpg,a three,val\n";
    const files = { "pairs.csv": csv, "plain.csv": "image,caption\none.jpg,a one\n", "odd.csv": `${csv}two.jpg,again,restval\n` };
    const path = root(["one.jpg", "two.jpg", "three.jpg"], { ...files, "few.csv": "image,caption,split\none.jpg,a one,train\n" });
    const open = (file: string, split?: "train" | "validation" | "test"): Promise<RetrievalDataset> =>
      openRetrievalDataset(join(path, file), { split });
    assert.deepEqual(said(await open("pairs.csv")), [["two.jpg", ["a two"]]]);
    assert.deepEqual(said(await open("pairs.csv", "train")), [["one.jpg", ["a one", "the first"]]]);
    assert.deepEqual(said(await open("pairs.csv", "validation")), [["three.jpg", ["a three"]]]);
    await assert.rejects(open("plain.csv", "train"), told(/no column split, so that none of its captions are to train/));
    await assert.rejects(open("odd.csv"), told(/row 5 is of the split "restval"/));
    await assert.rejects(open("few.csv"), told(/no row is of the split test; there are some of train/));
    await assert.rejects(
      openRetrievalDataset("coco", { root: path, captionColumn: "words" }),
      /coco is no table, and has no column "words"/,
    );
  });

  test("parquet that holds the images: the same bytes are the same image", async () => {
    const path = root([], { "made.txt": "" });
    const file = join(path, "held.parquet");
    const { DuckDBInstance } = await import("@duckdb/node-api");
    const connection = await (await DuckDBInstance.create()).connect();
    const blob = [...readFileSync(photo)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
    await connection.run(
      `COPY (SELECT '${blob}'::BLOB AS image, 'words ' || i AS caption FROM range(3) AS r(i)) TO '${file}' (FORMAT parquet)`,
    );
    connection.closeSync();
    const opened = await openRetrievalDataset(file);
    assert.deepEqual([opened.images.length, opened.captions], [1, ["words 0", "words 1", "words 2"]]);
    for await (const { labels } of evaluationBatches(opened.images, { size: 8, batchSize: 4, maximumSkipped: 0 }))
      assert.equal(labels.length, 1);
  });

  test("tars as CLIP_benchmark packs them: a caption each line", async () => {
    const path = root([], { "dataset_type.txt": "retrieval\n", "test/nshards.txt": "1\n" });
    const image = readFileSync(photo);
    await writeTar(join(path, "test/0.tar"), [
      ["s0000000.jpg", image],
      ["s0000000.txt", "a one\nthe first\n"],
      ["s0000001.txt", "a two"],
      ["s0000001.jpg", image],
    ]);
    const opened = await openRetrievalDataset(path);
    assert.deepEqual(
      [opened.captions, [...opened.imageOf]],
      [
        ["a one", "the first", "a two"],
        [0, 0, 1],
      ],
    );
    await assert.rejects(openRetrievalDataset(path, { split: "train" }), told(/no folder with train tars/));
  });

  test("a name that is no set, and a set without a root, are told", async () => {
    await assert.rejects(openRetrievalDataset("flickr31k"), (error) => error instanceof UsageError && /flickr30k/.test(error.mend ?? ""));
    if (!process.env.LACLIP_DATASETS) await assert.rejects(openRetrievalDataset("flickr30k"), /Where is Flickr30k\?/);
    await assert.rejects(
      openRetrievalDataset("flickr30k", { root: made }),
      told(/Flickr30k is not there\. Looked for dataset_flickr30k\.json/),
    );
  });
});

test("what is there is listed: a whole set is known by its counts", async () => {
  const path = root(["coco/val2017/000000000009.jpg"], {
    "coco/annotations/captions_val2017.json": coco2017,
    "flickr30k/dataset_flickr30k.json": "{",
    "caption_datasets.zip": "",
  });
  const found = new Map((await inspectRetrievalSets(path)).map((one) => [one.name, one]));
  assert.equal(found.get("mscoco_captions2017")!.state, "incomplete");
  assert.match(found.get("mscoco_captions2017")!.problems.join(" "), /1 of 2 images .* missing.* expected 5000 and 25014/);
  assert.equal(found.get("flickr30k")!.state, "damaged");
  assert.equal(found.get("mscoco_captions")!.state, "packed");
});
