import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { classList } from "../../data/index.ts";
import { DataError } from "../../support/index.ts";
import { openEvaluationDataset } from "./index.ts";

const photo = fileURLToPath(new URL("../../../../test/parity/images/files/photo.jpg", import.meta.url));
const made = mkdtempSync(join(tmpdir(), "laclip-variants-"));
after(() => rmSync(made, { recursive: true }));

const { keys } = classList("imagenet1k");
let roots = 0;

/** A root with these images, and files with these contents. */
function root(images: readonly string[], files: Record<string, string> = {}): string {
  const path = join(made, String(roots++));
  const at = (name: string): string => {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    return join(path, name);
  };
  for (const image of images) copyFileSync(photo, at(image));
  for (const [name, content] of Object.entries(files)) writeFileSync(at(name), content);
  return path;
}

const told = (message: RegExp) => (error: unknown) => error instanceof DataError && message.test(error.message);

describe("ImageNet-V2", () => {
  const images = keys.map((_, i) => `imagenetv2-matched-frequency-format-val/${i}/a.jpeg`);

  test("a folder's name is the number of its class: 10 is the eleventh, not the third", async () => {
    const { names, splits, checked, templates, words } = await openEvaluationDataset("imagenetv2", {
      root: root(images),
      incomplete: true,
    });
    const [second, tenth] = [2, 10].map((label) => splits.test!.find(({ path }) => path.endsWith(`/${label}/a.jpeg`))!);
    assert.deepEqual([second!.label, tenth!.label], [2, 10]);
    assert.deepEqual([names[2], names[10]], [["great white shark"], ["brambling"]]);
    assert.deepEqual([templates.length, words], [80, "openai"]);
    assert.deepEqual(checked.counts, [{ split: "test", found: 1000, expected: 10_000 }]);
    assert.deepEqual(checked.problems, ["1000 images to test, expected 10000."]);
  });

  test("a copy with too few images, or without a folder, is refused", async () => {
    await assert.rejects(openEvaluationDataset("imagenetv2", { root: root(images) }), told(/1000 images to test, expected 10000/));
    const gone = openEvaluationDataset("imagenetv2", { root: root(images.filter((_, i) => i !== 17)) });
    await assert.rejects(gone, told(/1 of 1000 class folders are missing in \.: 17/));
  });
});

describe("ImageNet-A, -R and -Sketch", () => {
  test("the 200 folders are the classes among which a model chooses, with ImageNet's names for them", async () => {
    const some = keys.filter((_, i) => i % 5 === 1);
    for (const name of ["imagenet-a", "imagenet-r"]) {
      const markers = name === "imagenet-a" ? ["n01498041"] : ["n01443537"];
      const folders = [...new Set([...markers, ...some])].slice(0, 200).toSorted();
      const path = root(folders.map((folder) => `${name}/${folder}/a.jpg`));
      const { classes, names, splits } = await openEvaluationDataset(name, { root: path, incomplete: true, protocol: "slip" });
      assert.deepEqual([classes.length, names.length, splits.test!.length], [200, 200, 200]);
      const place = classes.indexOf(markers[0]!);
      assert.deepEqual(names[place], [name === "imagenet-a" ? "stingray" : "goldfish"]);
      assert.equal(splits.test![place]!.label, place);
    }
  });

  test("a folder that is no class of ImageNet is told", async () => {
    const path = root(["imagenet-sketch/sketch/n01440764/a.JPEG", "imagenet-sketch/sketch/n00000001/a.JPEG"]);
    await assert.rejects(openEvaluationDataset("imagenet_sketch", { root: path }), told(/1 folders are no classes of ImageNet: n00000001/));
  });

  test("Sketch is asked for under the names that people give it", async () => {
    const path = root(keys.map((key) => `imagenet_sketch/${key}/a.JPEG`));
    const { name, title, splits } = await openEvaluationDataset("ImageNet-Sketch", { root: path, incomplete: true });
    assert.deepEqual([name, title, splits.test!.length], ["imagenet_sketch", "ImageNet-Sketch", 1000]);
  });
});

describe("ObjectNet", () => {
  /** Names of ImageNet's classes as ObjectNet writes them, in an order of its own: line 999 - i is class i. */
  const names = keys.map((_, i) => `name ${i}`);
  const mappings = {
    "mappings/imagenet_to_label_2012_v2": `${names.toReversed().join("\n")}\n`,
    "mappings/pytorch_to_imagenet_2012_id.json": JSON.stringify(Object.fromEntries(keys.map((_, i) => [String(i), 999 - i]))),
    "mappings/folder_to_objectnet_label.json": JSON.stringify({
      chair: "Chair",
      alarm_clock: "Alarm clock",
      air_freshener: "Air freshener",
    }),
    "mappings/objectnet_to_imagenet_1k.json": JSON.stringify({ Chair: "name 559; name 765", "Alarm clock": "name 409" }),
  };
  const images = ["chair/1.png", "chair/2.png", "alarm_clock/3.png", "air_freshener/4.png"].map((name) => `images/${name}`);
  const below = (other: Record<string, string> = {}): string =>
    root(
      images.map((image) => `objectnet/objectnet-1.0/${image}`),
      Object.fromEntries(Object.entries({ ...mappings, ...other }).map(([name, text]) => [`objectnet/objectnet-1.0/${name}`, text])),
    );

  test("classes that ImageNet has are scored, each by all of its classes of ImageNet", async () => {
    const opened = await openEvaluationDataset("objectnet", { root: below(), incomplete: true });
    assert.deepEqual(opened.classes, ["Alarm clock", "Chair"]);
    assert.deepEqual(opened.names, [["analog clock"], ["folding chair", "rocking chair"]]);
    assert.equal(opened.several, "best");
    assert.deepEqual(
      opened.splits.test!.map(({ path, label }) => [path.split("/").slice(-2).join("/"), label]),
      [
        ["alarm_clock/3.png", 0],
        ["chair/1.png", 1],
        ["chair/2.png", 1],
      ],
    );
    assert.match(opened.checked.notes.join(), /2 of its classes are in ImageNet and scored; 1 others are left out/);
    assert.match(opened.checked.problems.join(), /2 classes, expected 113.*3 images to test, expected 18574/);
  });

  test("CLIP_benchmark's protocol calls the classes what the set calls them", async () => {
    const { names, several } = await openEvaluationDataset("objectnet", { root: below(), incomplete: true, protocol: "clip-benchmark" });
    assert.deepEqual(names, [["alarm clock"], ["chair"]]);
    assert.equal(several, undefined);
  });

  test("lists that do not fit each other are refused", async () => {
    const refused = async (files: Record<string, string>, message: RegExp): Promise<void> =>
      await assert.rejects(openEvaluationDataset("objectnet", { root: below(files), incomplete: true }), told(message));
    await refused({ "mappings/objectnet_to_imagenet_1k.json": '{"Chair": "name 1000"}' }, /"name 1000", for ObjectNet's "Chair"/);
    await refused({ "mappings/objectnet_to_imagenet_1k.json": '{"Sofa": "name 1"}' }, /no folder is known for ObjectNet's "Sofa"/);
    await refused({ "mappings/imagenet_to_label_2012_v2": "name 1\n" }, /1 names and 1000 numbers of classes, expected 1000 each/);
    await refused({ "mappings/folder_to_objectnet_label.json": "[]" }, /not what ObjectNet has there/);
  });
});
