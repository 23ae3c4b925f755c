import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { DuckDBInstance } from "@duckdb/node-api";
import { evaluationBatches } from "../../src/data/index.ts";
import { type OpenDatasetOptions, imagesHash, openEvaluationDataset } from "../../src/evaluation/index.ts";
import { writeParquet } from "../../src/formats/index.ts";
import { DataError } from "../../src/support/index.ts";
import { writeTar } from "./tar-files.ts";

const photo = fileURLToPath(new URL("../../../test/parity/images/files/photo.jpg", import.meta.url));
const made = mkdtempSync(join(tmpdir(), "laclip-own-sets-"));
after(() => rmSync(made, { recursive: true }));
let folders = 0;

/** A folder with images `a.jpg`, `b.jpg`, `c.jpg` and these files. */
function folder(files: Record<string, string> = {}): string {
  const path = join(made, String(folders++));
  mkdirSync(path);
  for (const name of ["a", "b", "c"]) copyFileSync(photo, join(path, `${name}.jpg`));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
  return path;
}

const told = (message: RegExp) => (error: unknown) => error instanceof DataError && message.test(error.message);

describe("a table of one's own", () => {
  test("classes called in text, in csv and jsonl; columns of other names are named", async () => {
    const path = folder({
      "shop.csv": "image,label\na.jpg,hot_dog\nb.jpg,cat\nc.jpg,hot_dog\n",
      "shop.jsonl": '{"photo":"a.jpg","kind":"hot_dog"}\n{"photo":"b.jpg","kind":"cat"}\n{"photo":"c.jpg","kind":"hot_dog"}\n',
    });
    const options: OpenDatasetOptions = { imageColumn: "photo", labelColumn: "kind" };
    for (const [file, given] of [
      ["shop.csv", {}],
      ["shop.jsonl", options],
    ] as const) {
      const { name, classes, names, splits, templates, words } = await openEvaluationDataset(join(path, file), given);
      assert.deepEqual([name, classes, names, words], ["shop", ["cat", "hot_dog"], [["cat"], ["hot dog"]], "own"]);
      assert.deepEqual(templates, ["a photo of a {}."]);
      assert.deepEqual(
        splits.test!.map(({ path: image, label }) => [image.split("/").at(-1), label]),
        [
          ["a.jpg", 1],
          ["b.jpg", 0],
          ["c.jpg", 1],
        ],
      );
    }
    const open = openEvaluationDataset(join(path, "shop.jsonl"));
    await assert.rejects(open, told(/which column holds the image\? .* Its columns are: photo, kind/));
  });

  test("numbers count through a list of names, some of which may have no image; a number beyond it is told", async () => {
    const path = folder({ "names.txt": "zero\none\ntwo\nthree\n", "names.json": '{"3": ["three", "III"], "0": "zero"}' });
    const file = join(path, "numbers.parquet");
    const write = async (labels: number[]): Promise<number> =>
      await writeParquet(file, { image: "text", label: "integer" }, [
        { rows: 3, columns: { image: ["a.jpg", "b.jpg", "c.jpg"], label: labels } },
      ]);
    await write([3, 0, 3]);
    const { names, splits } = await openEvaluationDataset(file, { classes: join(path, "names.txt") });
    assert.deepEqual(
      [names.flat(), splits.test!.map(({ label }) => label)],
      [
        ["zero", "one", "two", "three"],
        [3, 0, 3],
      ],
    );
    const keyed = await openEvaluationDataset(file, { classes: join(path, "names.json") });
    assert.deepEqual(
      [keyed.names, keyed.splits.test!.map(({ label }) => label)],
      [
        [["zero"], ["three", "III"]],
        [1, 0, 1],
      ],
    );
    await assert.rejects(openEvaluationDataset(file), told(/its classes are numbers \(0, 3, \.\.\.\), and nothing says what they mean/));
    const bare = await openEvaluationDataset(file, { worded: false });
    assert.deepEqual(
      [bare.classes, bare.splits.test!.map(({ label }) => label)],
      [
        ["0", "3"],
        [1, 0, 1],
      ],
      "no words are needed for a probe",
    );
    await write([3, 4, 0]);
    await assert.rejects(
      openEvaluationDataset(file, { classes: join(path, "names.txt") }),
      told(/b\.jpg is of the class "4", for which .*names\.txt has no name/),
    );
  });

  test("images that a table holds are the same images whenever it is read, and others when their bytes are others", async () => {
    const file = join(folder(), "held.parquet");
    const connection = await (await DuckDBInstance.create(":memory:")).connect();
    const write = async (second: string): Promise<unknown> =>
      await connection.run(
        `COPY (SELECT * FROM (VALUES ('first picture'::BLOB, 'a'), ('${second}'::BLOB, 'b')) AS t(image, label)) TO '${file}' (FORMAT parquet)`,
      );
    const seen = async (): Promise<string> => imagesHash((await openEvaluationDataset(file)).splits.test!);
    await write("second picture");
    const first = await seen();
    assert.equal(await seen(), first, "else features of them would be made anew each time");
    await write("second pictura");
    assert.notEqual(await seen(), first);
    connection.closeSync();
  });

  test("splits by a column; WordNet numbers are known; what is missing is told", async () => {
    const path = folder({
      "split.csv": "image,label,split\na.jpg,n01440764,train\nb.jpg,n01443537,val\nc.jpg,n01440764,test\n",
      "odd.csv": "image,label,split\na.jpg,cat,holdout\n",
      "gone.csv": "image,label\na.jpg,cat\nz.jpg,dog\n",
      "empty.csv": "image,label\na.jpg,cat\nb.jpg,\n",
    });
    const { splits, names } = await openEvaluationDataset(join(path, "split.csv"));
    assert.deepEqual(names, [["tench"], ["goldfish"]]);
    assert.deepEqual([splits.train!.length, splits.validation![0]!.label, splits.test![0]!.label], [1, 1, 0]);
    const worded = await openEvaluationDataset(join(path, "split.csv"), { protocol: "slip" });
    assert.deepEqual(
      [worded.templates.length, worded.words],
      [7, "slip"],
      "classes of ImageNet get its prompts where a protocol is asked for",
    );
    await assert.rejects(openEvaluationDataset(join(path, "odd.csv")), told(/row 1 is of the split "holdout"/));
    await assert.rejects(openEvaluationDataset(join(path, "gone.csv")), told(/1 of 2 images are missing: z\.jpg/));
    const incomplete = await openEvaluationDataset(join(path, "gone.csv"), { incomplete: true });
    assert.deepEqual([incomplete.splits.test!.length, incomplete.checked.problems.length], [1, 1]);
    await assert.rejects(openEvaluationDataset(join(path, "empty.csv")), told(/row 2 has no class/));
  });
});

describe("tars as CLIP_benchmark packs them", () => {
  const image = readFileSync(photo);
  const lists = { "classnames.txt": "a cat\na dog\n", "zeroshot_classification_templates.txt": "a photo of {c}.\n{c} drawn\n" };
  async function packed(files: Record<string, string> = {}, classes = ["1", "0", "1"]): Promise<string> {
    const path = folder({ ...lists, ...files });
    mkdirSync(join(path, "test"));
    writeFileSync(join(path, "test/nshards.txt"), "2\n");
    await writeTar(join(path, "test/0.tar"), [
      ["s0000000.jpg", image],
      ["s0000000.cls", classes[0]!],
      ["s0000001.cls", classes[1]!],
      ["s0000001.jpg", image],
    ]);
    await writeTar(join(path, "test/1.tar"), [
      ["s0000002.jpg", image],
      ["s0000002.cls", classes[2]!],
    ]);
    return path;
  }

  test("names, prompts and images come from it, and each image can be had", async () => {
    const { classes, names, templates, splits, words } = await openEvaluationDataset(await packed());
    assert.deepEqual([classes, names, words], [["a cat", "a dog"], [["a cat"], ["a dog"]], "own"]);
    assert.deepEqual(templates, ["a photo of {}.", "{} drawn"]);
    assert.deepEqual(Object.keys(splits), ["test"]);
    const seen: number[] = [];
    for await (const { labels } of evaluationBatches(splits.test!, { size: 8, batchSize: 2, maximumSkipped: 0 })) seen.push(...labels);
    assert.deepEqual(seen, [1, 0, 1]);
  });

  test("classes out of range, missing tars and lists that don't fit are told", async () => {
    const refused = async (path: string, message: RegExp): Promise<void> =>
      await assert.rejects(openEvaluationDataset(path), told(message));
    await refused(await packed({}, ["1", "0", "2"]), /1\.tar\/s0000002: its class is "2", expected a number from 0 to 1/);
    await refused(await packed({}, ["cat", "0", "1"]), /s0000000: its class is "cat"/);
    const gone = await packed();
    rmSync(join(gone, "test/1.tar"));
    await refused(gone, /1\.tar: no such tar; 1 of the 2/);
    const few = await packed();
    writeFileSync(join(few, "test/nshards.txt"), "many\n");
    await refused(few, /nshards\.txt: "many", expected the number of tars/);
    await refused(await packed({ "classnames.txt": "a cat\n\na dog\n" }), /classnames\.txt: line 2 is empty/);
    await refused(await packed({ "zeroshot_classification_templates.txt": "a photo of {}.\n" }), /must hold \{c\} once/);
    await refused(await packed({ "dataset_type.txt": "retrieval" }), /a set for retrieval/);
    const blind = await packed();
    await writeTar(join(blind, "test/1.tar"), [["s0000002.cls", "1"]]);
    await refused(blind, /1\.tar: sample s0000002 has no image\./);
    await writeTar(join(blind, "test/1.tar"), [["s0000002.jpg", image]]);
    await refused(blind, /1\.tar: sample s0000002 has no class \(\.cls\)\./);
    const own = await packed({ "mine.txt": "a kitten\na puppy\n" });
    const { names } = await openEvaluationDataset(own, { classes: join(own, "mine.txt") });
    assert.deepEqual(names, [["a kitten"], ["a puppy"]]);
  });
});
