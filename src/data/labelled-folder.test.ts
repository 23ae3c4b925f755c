import assert from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { fileURLToPath } from "node:url";
import { decodeImage, evaluationImage } from "../images/index.ts";
import { DataError } from "../support/index.ts";
import type { EvaluationBatch } from "./evaluation-images.ts";
import { evaluationBatches, openLabelledFolder } from "./labelled-folder.ts";
import { openImageFolder } from "./listed-images.ts";

const fixtures = fileURLToPath(new URL("../../../test/parity/images/files/", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "laclip-labelled-"));
after(() => rmSync(root, { recursive: true }));

let made = 0;

/** A data set with two images a class and further files beside the class folders. */
function dataset(classes: readonly string[], files: Record<string, string> = {}): string {
  const path = join(root, String(made++));
  for (const name of classes) {
    mkdirSync(join(path, name), { recursive: true });
    copyFileSync(join(fixtures, "photo.jpg"), join(path, name, "b.JPG"));
    copyFileSync(join(fixtures, "rgba.png"), join(path, name, "a.png"));
    writeFileSync(join(path, name, "notes.md"), "not an image");
  }
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
  return path;
}

const three = ["cat", "hot_dog", "tree"];

test("folders are classes in sorted order; names come from them", () => {
  const { names, folders, items, templates, path } = openLabelledFolder(dataset(["tree", "cat", "hot_dog"]));
  assert.deepEqual(folders, three);
  assert.deepEqual(names, [["cat"], ["hot dog"], ["tree"]]);
  assert.equal(templates, undefined);
  assert.deepEqual(
    items.map((item) => [item.path.slice(path.length + 1), item.label]),
    [
      ["cat/a.png", 0],
      ["cat/b.JPG", 0],
      ["hot_dog/a.png", 1],
      ["hot_dog/b.JPG", 1],
      ["tree/a.png", 2],
      ["tree/b.JPG", 2],
    ],
  );
});

test("names by line, by list and by folder, and templates", () => {
  const lines = dataset(three, { "classnames.txt": "a kitten\r\na sausage\n\nan oak\n", "templates.txt": "a photo of {}.\n{} drawn\n" });
  assert.deepEqual(openLabelledFolder(lines).names, [["a kitten"], ["a sausage"], ["an oak"]]);
  assert.deepEqual(openLabelledFolder(lines).templates, ["a photo of {}.", "{} drawn"]);
  assert.deepEqual(openLabelledFolder(dataset(three, { "classes.json": '["x", "y", "z"]' })).names, [["x"], ["y"], ["z"]]);
  const named = dataset(three, { "classes.json": '{"tree": "an oak", "cat": "a kitten", "hot_dog": ["a sausage", "a frankfurter"]}' });
  assert.deepEqual(openLabelledFolder(named).names, [["a kitten"], ["a sausage", "a frankfurter"], ["an oak"]]);
});

test("splits are not taken for classes, and a class may be called as a split is", () => {
  const splits = join(root, "splits");
  for (const split of ["Train", "val"]) cpSync(dataset(three), join(splits, split), { recursive: true });
  assert.throws(
    () => openLabelledFolder(splits),
    (error) =>
      error instanceof DataError &&
      /its folders are splits \(Train, val\), not classes/.test(error.message) &&
      error.mend!.includes("/Train"),
  );
  assert.deepEqual(openLabelledFolder(dataset(["train", "test"])).folders, ["test", "train"]);
});

test("names that do not match the folders are refused, and the message says which", () => {
  const refused = (files: Record<string, string>, message: RegExp): void => {
    assert.throws(
      () => openLabelledFolder(dataset(three, files)),
      (error) => error instanceof DataError && message.test(error.message),
      String(message),
    );
  };
  refused({ "classnames.txt": "a\nb\n" }, /2 names for 3 classes/);
  refused({ "classnames.txt": "cat\ntree\nhot dog\n" }, /name 2 is "tree" for class "hot_dog"/);
  refused({ "classes.json": '{"cat": "a", "tree": "b"}' }, /no name for 1 of 3 classes: hot_dog/);
  refused({ "classes.json": '{"cat": "a", "tree": "b", "hot_dog": "c", "bus": "d"}' }, /1 names belong to no class: bus/);
  refused({ "classes.json": "[1, 2, 3]" }, /the entry of class "cat" is neither a name nor a list of names/);
  refused({ "classes.json": '{"cat": [], "tree": "b", "hot_dog": "c"}' }, /the entry of class "cat"/);
  refused({ "classes.json": '"cat"' }, /expected an object/);
  refused({ "classes.json": "{" }, /not valid JSON/);
  refused({ "classes.json": '["a","b","c"]', "classnames.txt": "a\nb\nc\n" }, /both/);
  refused({ "templates.txt": "a photo\n" }, /must hold \{\} once/);
});

test("names and templates from outside take the place of the data set's own, which may be missing or broken", () => {
  const outside = dataset([], {});
  mkdirSync(outside);
  const file = (name: string, content: string): string => {
    writeFileSync(join(outside, name), content);
    return join(outside, name);
  };
  const numbers = file("numbers.json", '{"n01440764": ["tench", "Tinca tinca"], "n01443537": "goldfish"}');
  const imagenet = dataset(["n01440764", "n01443537"], { "classes.json": "{ broken", "templates.txt": "no place for a name" });
  const templates = file("templates.txt", "\ufeffa photo of a {}.\r\na sketch of a {}.\r\n");
  const opened = openLabelledFolder(imagenet, { classes: numbers, templates });
  assert.deepEqual(opened.names, [["tench", "Tinca tinca"], ["goldfish"]]);
  assert.deepEqual(opened.templates, ["a photo of a {}.", "a sketch of a {}."]);
  const byLine = file("names.txt", "\ufefftench\ngoldfish\n");
  assert.deepEqual(openLabelledFolder(imagenet, { classes: byLine, templates }).names, [["tench"], ["goldfish"]]);
  const refused = (options: { classes?: string; templates?: string }, message: RegExp): void =>
    assert.throws(
      () => openLabelledFolder(imagenet, { classes: numbers, templates, ...options }),
      (error) => error instanceof DataError && message.test(error.message),
    );
  refused({ templates: file("twice.txt", "a {} {}\n") }, /must hold \{\} once/);
  refused({ templates: join(outside, "none.txt") }, /no such file of templates/);
  refused({ classes: join(outside, "none.txt") }, /no such list of class names/);
  refused({ classes: file("short.json", '{"n01440764": "tench"}') }, /no name for 1 of 2 classes: n01443537/);
});

test("links to class folders are followed; one that leads nowhere, and images that can't be decoded, are told", () => {
  const path = dataset(three);
  symlinkSync(join(path, "tree"), join(path, "wood"));
  assert.deepEqual(openLabelledFolder(path).folders, [...three, "wood"]);
  symlinkSync(join(path, "gone"), join(path, "lost"));
  assert.throws(
    () => openLabelledFolder(path),
    (error) => error instanceof DataError && /lost: this link leads nowhere/.test(error.message),
  );
  const bitmaps = dataset(three);
  mkdirSync(join(bitmaps, "old", "folder.jpg"), { recursive: true });
  writeFileSync(join(bitmaps, "old", "a.bmp"), "BM");
  assert.throws(() => openLabelledFolder(bitmaps), /1 of 4 class folders hold no image: old/);
});

test("folders without images, without classes, or named by WordNet numbers that are none of ImageNet's are refused", () => {
  const empty = dataset(three);
  mkdirSync(join(empty, "zebra"));
  assert.throws(() => openLabelledFolder(empty), /1 of 4 class folders hold no image: zebra/);
  assert.throws(() => openLabelledFolder(join(empty, "cat")), /no class folder/);
  assert.throws(() => openLabelledFolder(join(root, "nowhere")), /no such folder/);
  assert.throws(() => openLabelledFolder(join(empty, "cat", "a.png")), /expected a folder/);
  assert.throws(() => openLabelledFolder(dataset(["n01440764", "n99999999"])), /1 of 2 classes are none of imagenet1k: n99999999/);
});

test("folders named by ImageNet's WordNet numbers are known, some of them as well as all", () => {
  assert.deepEqual(openLabelledFolder(dataset(["n03445777", "n01440764"])).names, [["tench"], ["golf ball"]]);
  const own = dataset(["n03445777", "n01440764"], { "classes.json": '{"n03445777": "a ball", "n01440764": "a fish"}' });
  assert.deepEqual(openLabelledFolder(own).names, [["a fish"], ["a ball"]]);
});

async function collect(path: string, options: { maximumSkipped?: number } = {}): Promise<{ batches: EvaluationBatch[]; skipped: number }> {
  const stream = evaluationBatches(openLabelledFolder(path).items, { size: 24, batchSize: 4, interpolation: "bicubic", ...options });
  const batches: EvaluationBatch[] = [];
  for await (const batch of stream) batches.push(batch);
  return { batches, skipped: stream.skipped.count };
}

test("batches hold each image once, in order, as evaluation sees it", async () => {
  const path = dataset(three);
  const { batches, skipped } = await collect(path);
  assert.equal(skipped, 0);
  assert.deepEqual(
    batches.map(({ labels }) => [...labels]),
    [
      [0, 0, 1, 1],
      [2, 2],
    ],
  );
  for (const { images, paths } of batches) {
    for (const [i, image] of paths.entries()) {
      const expected = await evaluationImage(image, { size: 24, interpolation: "bicubic" });
      assert.deepEqual(images.subarray(i * expected.length, (i + 1) * expected.length), expected);
    }
  }
  assert.deepEqual(
    batches.flatMap(({ rows }) => [...rows]),
    [0, 1, 2, 3, 4, 5],
  );
});

test("an image may lie within a larger file, encoded or as bare pixels, or in memory", async () => {
  const bytes = readFileSync(join(fixtures, "photo.jpg"));
  const { width, height, data } = await decodeImage(bytes);
  const file = join(root, "several.bin");
  const planes = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) planes[(i % 3) * width * height + Math.floor(i / 3)] = data[i]!;
  writeFileSync(file, Buffer.concat([Buffer.alloc(7), bytes, planes]));
  const part = { file, offset: 7, size: bytes.length, name: "encoded" };
  const pixels = { file, offset: 7 + bytes.length, size: planes.length, name: "bare", width, height, order: "planes-by-rows" } as const;
  const items = [
    { path: join(fixtures, "photo.jpg"), label: 0 },
    { path: "several.bin#0", label: 1, source: part },
    { path: "several.bin#1", label: 2, source: pixels },
    { path: "memory", label: 3, source: Uint8Array.from(bytes) },
    { path: "beyond", label: 4, source: { ...pixels, offset: pixels.offset + 1, name: "beyond" } },
    { path: "odd", label: 5, source: { ...pixels, size: 12, name: "odd" } },
    { path: "not an image", label: 6, source: { ...part, offset: 0 } },
  ];
  const stream = evaluationBatches(items, { size: 24, batchSize: 8, maximumSkipped: 0.5, report: false });
  const { value } = await stream.next();
  await stream.close();
  assert.deepEqual([...value!.labels], [0, 1, 2, 3]);
  assert.deepEqual(value!.paths, [items[0]!.path, "several.bin#0", "several.bin#1", "memory"]);
  const view = 24 * 24 * 3;
  const expected = await evaluationImage(bytes, { size: 24 });
  for (let i = 0; i < 4; i++) assert.deepEqual(value!.images.subarray(i * view, (i + 1) * view), expected, items[i]!.path);
  const reasons = [...stream.skipped.reasons.values()].join(" ");
  assert.match(reasons, /beyond: the file ends before it/);
  assert.match(reasons, /odd: 12 bytes, expected \d+ for/);
  assert.match(reasons, /not an image: not an image of a known format/);
});

test("unreadable images are left out and counted; too many are an error", async () => {
  const path = dataset(three);
  // A whole batch of them, and one in another.
  for (const image of ["cat/a.png", "cat/b.JPG", "hot_dog/a.png", "hot_dog/b.JPG", "tree/b.JPG"])
    writeFileSync(join(path, image), "<html>404</html>");
  const { batches, skipped } = await collect(path, { maximumSkipped: 0.9 });
  assert.equal(skipped, 5);
  assert.deepEqual(
    batches.map(({ labels, rows }) => [...labels, ...rows]),
    [[2, 4]],
  );
  await assert.rejects(collect(path, { maximumSkipped: 0.07 }), /allowed are 7 %\./, "as it was set");
  await assert.rejects(collect(path), /4 of 6 images can't be read \(67 %\); allowed are 1 %.*cat\/a\.png: a web page/s);
});

test("what fails in the thread for reasons of its own reaches the consumer", async () => {
  const stream = evaluationBatches([{ path: undefined as unknown as string, label: 0 }], { size: 8, batchSize: 1 });
  await assert.rejects(stream.next(), /undefined/);
  await stream.close();
});

/** What goes to standard error meanwhile. */
function warnings(work: () => void): string {
  let said = "";
  const write = mock.method(process.stderr, "write", (text: string) => {
    said += text;
    return true;
  });
  try {
    work();
  } finally {
    write.mock.restore();
  }
  return said;
}

test("files that are passed over by their names are counted, one of them is named, and those that are hidden are left out", () => {
  const path = dataset(["cat", "tree"]);
  copyFileSync(join(fixtures, "photo.jpg"), join(path, "cat", "noext"));
  writeFileSync(join(path, "cat", ".DS_Store"), "");
  for (const open of [openLabelledFolder, openImageFolder]) {
    const said = warnings(() => assert.equal(open(path).items.length, 4));
    assert.match(said, /: passed over 3 files whose names don't end as images' do \(\.jpg, .*\), for instance cat\/noext\.\n$/);
  }
  for (const file of ["cat/noext", "cat/notes.md", "tree/notes.md"]) rmSync(join(path, file));
  assert.equal(
    warnings(() => openLabelledFolder(path)),
    "",
  );
});
