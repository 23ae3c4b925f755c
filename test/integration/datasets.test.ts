import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { type EvaluationItem, evaluationBatches } from "../../src/data/index.ts";
import {
  type DatasetDefinition,
  type SplitName,
  datasetDefinition,
  datasetDefinitions,
  inspectDataset,
  inspectDatasets,
  openDefinedDataset,
  openEvaluationDataset,
  splitItems,
  splitNames,
} from "../../src/evaluation/index.ts";
import { type SyntheticDataset, syntheticDatasets, writeSyntheticDatasets } from "./synthetic-datasets.ts";
import { classColour } from "./synthetic-pictures.ts";

const base = mkdtempSync(join(tmpdir(), "laclip-datasets-"));
after(() => rmSync(base, { recursive: true }));
const newRoot = (): string => mkdtempSync(join(base, "root-"));

/** The definition with the numbers of a small copy. */
function small({ name, classes, splits }: SyntheticDataset): DatasetDefinition {
  const expected = Object.fromEntries(Object.entries(splits).map(([split, labels]) => [split, labels.length]));
  const definition = datasetDefinition(name);
  // Two layouts of GTSRB have other numbers, which the loader knows.
  const open: DatasetDefinition["open"] = async (files) => ({ ...(await definition.open(files)), expected });
  return { ...definition, open, classCount: classes.length, expected, ...(definition.total === undefined ? {} : { total: 21 }) };
}

async function write(name: string, layout?: string): Promise<{ root: string; dataset: SyntheticDataset }> {
  const dataset = syntheticDatasets.find((one) => one.name === name && (layout === undefined || one.layout === layout))!;
  const root = newRoot();
  await dataset.write(root);
  return { root, dataset };
}

describe("published data sets", () => {
  const pictures: { item: EvaluationItem; of: string }[] = [];

  for (const dataset of syntheticDatasets) {
    test(`${dataset.name} (${dataset.layout}) opens with the labels of its lists`, async () => {
      const root = newRoot();
      await dataset.write(root);
      const opened = await openDefinedDataset(small(dataset), root);
      assert.deepEqual(opened.classes, dataset.classes);
      assert.deepEqual(opened.checked.problems, []);
      assert.equal(opened.names.length, dataset.classes.length);
      assert.equal(opened.words, "openai", "the set's own classes are found in the published list of names");
      assert.deepEqual(
        Object.keys(opened.splits),
        splitNames.filter((split) => dataset.splits[split] !== undefined),
      );
      for (const [split, labels] of Object.entries(dataset.splits)) {
        const items = opened.splits[split as SplitName]!;
        assert.deepEqual(
          items.map(({ label }) => label),
          labels,
          split,
        );
        assert.equal(new Set(items.map(({ path }) => path)).size, items.length, "images have names of their own");
        opened.splits[split as SplitName]!.forEach((item) => pictures.push({ item, of: `${dataset.name} (${dataset.layout}), ${split}` }));
      }
    });
  }

  test("every picture shows what its label says, and is not turned", async () => {
    assert.ok(pictures.length > 100);
    const items = pictures.map(({ item }) => item);
    const seen: number[] = [];
    for await (const { images, labels, rows } of evaluationBatches(items, { size: 32, batchSize: 32, maximumSkipped: 0 })) {
      labels.forEach((label, i) => {
        const { of, item } = pictures[rows[i]!]!;
        const pixel = (x: number, y: number): number[] => [...images.subarray(((i * 32 + y) * 32 + x) * 3).subarray(0, 3)];
        const nearTo = (colour: readonly number[], at: number[]): void =>
          assert.ok(
            colour.every((value, c) => Math.abs(value - at[c]!) < 8),
            `${of}: ${item.path}, label ${label}: ${at.join(", ")} instead of ${colour.join(", ")}`,
          );
        nearTo(classColour(label), pixel(8, 8));
        nearTo(classColour(label), pixel(8, 24));
        nearTo([255, 255, 255], pixel(24, 8));
        nearTo([0, 0, 0], pixel(24, 24));
        seen.push(rows[i]!);
      });
    }
    assert.deepEqual(
      seen,
      items.map((_, i) => i),
    );
  });

  test("no image is in two splits, and drawn splits are the same again", async () => {
    for (const name of ["caltech101", "eurosat", "resisc45"]) {
      const { root, dataset } = await write(name);
      const [one, other] = [await openDefinedDataset(small(dataset), root), await openDefinedDataset(small(dataset), root)];
      assert.deepEqual(one.splits, other.splits);
      const paths = Object.values(one.splits).flatMap((items) => items.map(({ path }) => path));
      assert.equal(new Set(paths).size, paths.length, name);
      assert.match(one.checked.notes.join(), /No official splits/);
    }
  });

  test("a small copy is refused by the official numbers, and opens as incomplete", async () => {
    const { root } = await write("food101");
    await assert.rejects(openEvaluationDataset("food101", { root }), /3 classes, expected 101/);
    const { checked, splits } = await openEvaluationDataset("Food-101", { root, incomplete: true, splits: ["test"] });
    assert.deepEqual(Object.keys(splits), ["test"]);
    assert.deepEqual(checked.problems, ["3 classes, expected 101.", "2 images to test, expected 25250."]);
    assert.deepEqual(checked.counts, [{ split: "test", found: 2, expected: 25_250 }]);
  });
});

describe("damaged copies", () => {
  test("a missing image is named, or counted and left out", async () => {
    const { root, dataset } = await write("food101");
    rmSync(join(root, "food-101/images/baby_back_ribs/2000.jpg"));
    await assert.rejects(
      openDefinedDataset(small(dataset), root),
      /1 of 2 images of meta\/test\.txt are missing: .*baby_back_ribs\/2000\.jpg/,
    );
    const { splits, checked } = await openDefinedDataset(small(dataset), root, { incomplete: true });
    assert.deepEqual(
      splits.test!.map(({ label }) => label),
      [2],
    );
    assert.match(checked.problems.join(" "), /1 of 2 images .* 1 images to test, expected 2/s);
  });

  test("a missing list is named", async () => {
    const { root, dataset } = await write("dtd");
    rmSync(join(root, "dtd/labels/val1.txt"));
    await assert.rejects(openDefinedDataset(small(dataset), root), /labels\/val1\.txt: no such list/);
    await openDefinedDataset(small(dataset), root, { splits: ["test"] });
  });

  test("a class that the set has not is refused with its line", async () => {
    const { root, dataset } = await write("fgvc_aircraft");
    writeFileSync(join(root, "fgvc-aircraft-2013b/data/images_variant_test.txt"), "0034313 707-320\n0034314 Concorde\n");
    await assert.rejects(openDefinedDataset(small(dataset), root), /images_variant_test\.txt:2: there is no class "Concorde"/);
  });

  test("a label out of range is refused, in bytes, pickles, .mat and csv", async () => {
    const binary = await write("cifar10", "binary");
    const file = join(binary.root, "cifar-10-batches-bin/test_batch.bin");
    const bytes = readFileSync(file);
    bytes[3073] = 4;
    writeFileSync(file, bytes);
    await assert.rejects(openDefinedDataset(small(binary.dataset), binary.root), /test_batch\.bin, image 1: label 4, expected 0 to 3/);

    const python = await write("cifar100", "python");
    const fewer = { ...python.dataset, classes: python.dataset.classes.slice(0, 3) };
    const meta = join(python.root, "cifar-100-python/meta");
    // The last name, and the number by which it would be named again.
    const [start, end] = readFileSync(meta).toString("latin1").split("U\u0004bear");
    writeFileSync(meta, start! + end!.slice(2), "latin1");
    await assert.rejects(openDefinedDataset(small(fewer), python.root), /train, image 1: label 3, expected 0 to 2/);

    const stl = await write("stl10");
    writeFileSync(join(stl.root, "stl10_binary/test_y.bin"), Uint8Array.of(2, 0, 1));
    await assert.rejects(openDefinedDataset(small(stl.dataset), stl.root), /test_y\.bin, image 1: label 0, expected 1 to 3/);

    const flowers = await write("flowers");
    const labels = await write("cars", "devkit");
    renameSync(join(labels.root, "stanford_cars/devkit/cars_meta.mat"), join(flowers.root, "flowers-102/imagelabels.mat"));
    await assert.rejects(
      openDefinedDataset(small(flowers.dataset), flowers.root),
      /imagelabels\.mat: there is no "labels" in it, only class_names/,
    );

    const signs = await write("gtsrb");
    const list = join(signs.root, "gtsrb/GT-final_test.csv");
    writeFileSync(list, readFileSync(list, "utf8").replace(";42", ";43"));
    await assert.rejects(openDefinedDataset(small(signs.dataset), signs.root), /GT-final_test\.csv:4: label 43, expected 0 to 42/);
    writeFileSync(list, "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2\n00000.ppm;1;1;1;1;1;1\n");
    await assert.rejects(openDefinedDataset(small(signs.dataset), signs.root), /expected columns Filename and ClassId/);
  });

  test("a .bin that is cut short is refused, or read as far as it goes", async () => {
    const { root, dataset } = await write("stl10");
    truncateSync(join(root, "stl10_binary/test_X.bin"), 3 * 96 * 96 * 2 + 17);
    await assert.rejects(
      openDefinedDataset(small(dataset), root),
      /test_X\.bin has 55313 bytes, expected a multiple of 27648: it is cut short/,
    );
    const { splits, checked } = await openDefinedDataset(small(dataset), root, { incomplete: true });
    assert.deepEqual(
      splits.test!.map(({ label }) => label),
      [1, 2],
    );
    assert.match(checked.problems.join(" "), /2 images in test_X\.bin, yet 3 labels/);

    const cifar = await write("cifar10", "python");
    const file = join(cifar.root, "cifar-10-batches-py/test_batch");
    truncateSync(file, 4000);
    await assert.rejects(openDefinedDataset(small(cifar.dataset), cifar.root), /test_batch: the pickle is cut short/);
  });

  test("a file that got shorter after it was opened loses its last images, which are counted", async () => {
    const { root, dataset } = await write("cifar100", "binary");
    const { splits } = await openDefinedDataset(small(dataset), root);
    truncateSync(join(root, "cifar-100-binary/train.bin"), 2 * 3074 + 100);
    const batches = evaluationBatches(splits.train!, { size: 32, batchSize: 8, maximumSkipped: 0.5, report: false });
    for await (const { labels } of batches) assert.deepEqual([...labels], [0, 3]);
    assert.match([...batches.skipped.reasons.values()].join(), /train\.bin#2: the file ends before it/);
  });

  test("class folders that are missing, empty or of another set are named", async () => {
    const { root, dataset } = await write("country211");
    renameSync(join(root, "country211/test/AF"), join(root, "country211/test/XX"));
    await assert.rejects(openDefinedDataset(small(dataset), root), /1 of 3 class folders are missing in test: AF/);
    const { checked } = await openDefinedDataset(small(dataset), root, { incomplete: true, splits: ["test"] });
    assert.match(checked.problems.join(" "), /1 folders in test are no classes of Country211: XX/);
  });

  test("a split that is not there is said, with those that are", async () => {
    const { root, dataset } = await write("imagenet1k", "devkit");
    const opened = await openDefinedDataset({ ...small(dataset), expected: { train: 6, test: 4 } }, root);
    assert.throws(() => splitItems(opened, "train"), /ImageNet-1k has no train images here/);
    rmSync(join(root, "imagenet/ILSVRC2012_devkit_t12"), { recursive: true });
    await assert.rejects(openDefinedDataset(small(dataset), root), /lie in one folder, and no list says what they show/);
  });
});

describe("what is there", () => {
  test("each state is told apart", async () => {
    const root = newRoot();
    await writeSyntheticDatasets(root);
    const found = await inspectDatasets(root);
    assert.deepEqual(
      found.map(({ name }) => name),
      datasetDefinitions.map(({ name }) => name),
    );
    for (const { name, state, problems } of found) {
      // ImageNet's variants have copies in a test of their own.
      if (!syntheticDatasets.some((copy) => copy.name === name)) assert.equal(state, "absent", name);
      if (state === "absent") continue;
      assert.equal(state, "incomplete", `${name}: ${problems.join(" ")}`);
      assert.match(problems.join(" "), /expected \d+/);
    }
    const food = syntheticDatasets.find(({ name }) => name === "food101")!;
    assert.equal((await inspectDataset(small(food), root)).state, "whole");
    const imagenet = syntheticDatasets.find(({ name }) => name === "imagenet1k")!;
    const validationOnly = await inspectDataset({ ...small(imagenet), expected: { train: 6, test: 4 } }, root);
    assert.deepEqual([validationOnly.state, validationOnly.notes], ["whole", ["There are no train images."]]);
    writeFileSync(join(root, "food-101/meta/test.txt"), "");
    const damaged = await inspectDataset(small(food), root);
    assert.equal(damaged.state, "damaged");
    assert.match(damaged.problems.join(), /meta\/test\.txt: the list is empty/);
    rmSync(join(root, "food-101/meta"), { recursive: true });
    const headless = await inspectDataset(small(food), root);
    assert.equal(headless.state, "absent");
    assert.match(headless.problems.join(), /food-101 is there, without meta\/classes\.txt/);
    writeFileSync(join(root, "food-101.tar.gz"), "");
    const packed = await inspectDataset(small(food), root);
    assert.deepEqual([packed.state, packed.problems[0]], ["packed", "food-101.tar.gz is not unpacked."]);
  });

  test("every definition is complete, and names are told apart", () => {
    const names = datasetDefinitions.flatMap(({ name, aliases = [] }) => [name, ...aliases]);
    assert.equal(new Set(names).size, names.length);
    for (const { name, page, layout, licence, expected, places, markers, archives, origin } of datasetDefinitions) {
      assert.match(page, /^https:/, name);
      for (const said of [layout, licence, origin]) assert.ok(said.length > 0, name);
      for (const list of [places, markers, archives, Object.keys(expected)]) assert.ok(list.length > 0, name);
    }
    assert.throws(() => datasetDefinition("food102"), /no data set "food102"/);
  });
});
