import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openEvaluationDataset, splitItems } from "./index.ts";

const photo = fileURLToPath(new URL("../../../../test/parity/images/files/photo.jpg", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "laclip-own-dataset-"));
after(() => rmSync(root, { recursive: true }));
let made = 0;

/** A folder with an image in each of these folders, and these files. */
function folder(folders: readonly string[], files: Record<string, string> = {}): string {
  const path = join(root, `own-${made++}`);
  for (const name of folders) {
    mkdirSync(join(path, name), { recursive: true });
    copyFileSync(photo, join(path, name, "a.jpg"));
  }
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
  return path;
}

test("a folder for each class is the test split", async () => {
  const path = folder(["cat", "hot_dog"]);
  const dataset = await openEvaluationDataset(path);
  assert.deepEqual(
    [dataset.classes, dataset.names],
    [
      ["cat", "hot_dog"],
      [["cat"], ["hot dog"]],
    ],
  );
  assert.deepEqual(dataset.templates, ["a photo of a {}."]);
  assert.deepEqual([dataset.published, dataset.metric], [false, "acc1"]);
  assert.equal(splitItems(dataset, "test").length, 2);
  assert.throws(() => splitItems(dataset, "train"), /has no train images here/);
  assert.match(dataset.checked.notes.join(), /without splits/);
});

test("splits under their usual names; class names once for all of them", async () => {
  const folders = ["train/cat", "train/dog", "val/cat", "val/dog", "Test/cat", "Test/dog"];
  const path = folder(folders, { "classnames.txt": "a cat\na dog\n", "templates.txt": "{} here\n" });
  const dataset = await openEvaluationDataset(path);
  assert.deepEqual(Object.keys(dataset.splits).sort(), ["test", "train", "validation"]);
  assert.deepEqual([dataset.names, dataset.templates], [[["a cat"], ["a dog"]], ["{} here"]]);
  const some = await openEvaluationDataset(path, { splits: ["validation"] });
  assert.deepEqual(Object.keys(some.splits), ["validation"]);
  assert.ok(splitItems(some, "validation").every(({ path }) => path.includes("/val/")));
  await assert.rejects(openEvaluationDataset(folder(["train/cat"]), { splits: ["test"] }), /folders for train, and none for test/);
});

test("splits that do not have the same classes, or lie there twice, are refused", async () => {
  await assert.rejects(
    openEvaluationDataset(folder(["train/cat", "train/dog", "test/cat"])),
    /test: its class folders differ from those of .*train: dog is missing/,
  );
  await assert.rejects(openEvaluationDataset(folder(["val/cat", "valid/cat"])), /both val and valid hold validation images/);
});

test("a class may be called as a split is", async () => {
  const dataset = await openEvaluationDataset(folder(["train", "bus"]));
  assert.deepEqual(dataset.classes, ["bus", "train"]);
});

test("names that are neither a set nor a folder are refused, and a set without a root asks for it", async () => {
  const before = process.env.LACLIP_DATASETS;
  after(() => (before === undefined ? delete process.env.LACLIP_DATASETS : (process.env.LACLIP_DATASETS = before)));
  delete process.env.LACLIP_DATASETS;
  await assert.rejects(openEvaluationDataset("fod101"), { exitCode: 2, message: /no data set "fod101"/, mend: /food101/ });
  await assert.rejects(openEvaluationDataset("food101"), { exitCode: 2, message: /Where is Food-101/, mend: /LACLIP_DATASETS/ });
  await assert.rejects(openEvaluationDataset("./nothing"), { exitCode: 3, message: /no such folder/ });
  await assert.rejects(openEvaluationDataset("food101", { root }), {
    exitCode: 3,
    message: /Food-101 is not there/,
    mend: /Unpack food-101/,
  });
  process.env.LACLIP_DATASETS = root;
  await assert.rejects(openEvaluationDataset("food101"), { exitCode: 3, message: /Food-101 is not there/ });
});
