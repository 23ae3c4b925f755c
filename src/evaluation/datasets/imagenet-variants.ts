/**
 * Other images of ImageNet's classes, each in the layout of its download: V2 (Recht et al. 2019), A and R (Hendrycks et al. 2021), Sketch
 * (Wang et al. 2019) and ObjectNet (Barbu et al. 2019).
 *
 * A and R have 200 of the classes, and a model chooses among these alone. ObjectNet has classes of its own; those that are classes of
 * ImageNet too are scored, and each stands for one or more of these.
 */
import { existsSync } from "node:fs";
import { z } from "zod";
import { classList, firstFew } from "../../data/index.ts";
import { DataError, readJson, readText } from "../../support/index.ts";
import type { DatasetFiles } from "./dataset-files.ts";
import type { DatasetDefinition, OpenedLayout } from "./dataset.ts";

const licence = "images of the web under their own terms; for research";

/** 10,000 new images chosen as ImageNet's were; folders are the numbers of the classes, 0 to 999. */
const imagenetV2: DatasetDefinition = {
  name: "imagenetv2",
  aliases: ["imagenet-v2", "imagenet_v2"],
  title: "ImageNet-V2 (matched frequency)",
  classCount: 1000,
  metric: "acc1",
  licence: "MIT, as its authors put it; images of Flickr under their own terms",
  page: "https://github.com/modestyachts/ImageNetV2",
  archives: ["imagenetv2-matched-frequency.tar.gz"],
  layout: "Folders 0 to 999 in imagenetv2-matched-frequency-format-val/.",
  origin: "one split, for testing",
  expected: { test: 10_000 },
  places: [
    "imagenetv2/imagenetv2-matched-frequency-format-val",
    "imagenetv2/ImageNetV2-matched-frequency",
    "imagenetv2",
    "imagenetv2-matched-frequency-format-val",
    "ImageNetV2-matched-frequency",
  ],
  markers: ["999"],
  open: (files) => {
    const { keys } = classList("imagenet1k");
    // By number, not by name: sorted as text, 10 comes before 2.
    const numbers = keys.map((_, i) => String(i));
    return { classes: keys, splits: { test: () => files.classFolders(".", numbers) } };
  },
};

/** 7,500 photographs that ResNet-50 gets wrong. */
const imagenetA: DatasetDefinition = {
  name: "imagenet-a",
  aliases: ["imagenet_a"],
  title: "ImageNet-A",
  classCount: 200,
  metric: "acc1",
  licence: "MIT, as its authors put it; images of the web under their own terms",
  page: "https://github.com/hendrycks/natural-adv-examples",
  archives: ["imagenet-a.tar"],
  layout: "200 folders with WordNet numbers in imagenet-a/.",
  origin: "one split, for testing",
  expected: { test: 7500 },
  places: ["imagenet-a", "imagenet_a"],
  markers: ["n01498041", "n12267677"],
  open: (files) => wordNetFolders(files, ".", 200),
};

/** 30,000 renditions: art, cartoons, toys and so on. */
const imagenetR: DatasetDefinition = {
  name: "imagenet-r",
  aliases: ["imagenet_r"],
  title: "ImageNet-R",
  classCount: 200,
  metric: "acc1",
  licence: "MIT, as its authors put it; images of the web under their own terms",
  page: "https://github.com/hendrycks/imagenet-r",
  archives: ["imagenet-r.tar"],
  layout: "200 folders with WordNet numbers in imagenet-r/.",
  origin: "one split, for testing",
  expected: { test: 30_000 },
  places: ["imagenet-r", "imagenet_r"],
  markers: ["n01443537", "n12267677"],
  open: (files) => wordNetFolders(files, ".", 200),
};

/** 50,889 drawings in black and white, about 50 a class. */
const imagenetSketch: DatasetDefinition = {
  name: "imagenet_sketch",
  aliases: ["imagenet-sketch", "imagenet-s"],
  title: "ImageNet-Sketch",
  classCount: 1000,
  metric: "acc1",
  licence,
  page: "https://github.com/HaohanWang/ImageNet-Sketch",
  archives: ["ImageNet-Sketch.zip"],
  layout: "1,000 folders with WordNet numbers in sketch/.",
  origin: "one split, for testing",
  expected: { test: 50_889 },
  places: ["imagenet-sketch/sketch", "imagenet_sketch/sketch", "ImageNet-Sketch/sketch", "imagenet-sketch", "imagenet_sketch", "sketch"],
  markers: ["n01440764", "n15075141"],
  open: (files) => wordNetFolders(files, ".", 1000),
};

/** Things of the household in odd places and from odd sides: 313 classes, of which 113 are in ImageNet. */
const objectNet: DatasetDefinition = {
  name: "objectnet",
  aliases: ["objectnet-1.0"],
  title: "ObjectNet (classes that ImageNet has)",
  classCount: 113,
  metric: "acc1",
  licence: "CC BY 4.0 with two conditions: no training on it, and a red frame around images that are published",
  page: "https://objectnet.dev/download.html",
  archives: ["objectnet-1.0.zip"],
  layout: "313 folders in objectnet-1.0/images/, and the lists of objectnet-1.0/mappings/.",
  origin: "one split, for testing; its authors forbid to train on it",
  expected: { test: 18_574 },
  places: ["objectnet/objectnet-1.0", "objectnet-1.0", "objectnet"],
  markers: ["mappings/objectnet_to_imagenet_1k.json"],
  open: openObjectNet,
};

/** All of them. */
export const imagenetVariants: readonly DatasetDefinition[] = [imagenetV2, imagenetA, imagenetR, imagenetSketch, objectNet];

/** @throws DataError when a folder is no class of ImageNet */
function wordNetFolders(files: DatasetFiles, folder: string, count: number): OpenedLayout {
  const { keys } = classList("imagenet1k");
  const known = new Set(keys);
  const classes = files.folders(folder);
  const unknown = classes.filter((name) => !known.has(name));
  if (unknown.length > 0) {
    throw new DataError(`${files.at(folder)}: ${unknown.length} folders are no classes of ImageNet: ${firstFew(unknown)}.`, {
      mend: "Move them elsewhere.",
    });
  }
  if (classes.length !== count) files.problem(`${classes.length} class folders, expected ${count}.`, "Unpack the download again.");
  return { classes, splits: { test: () => files.classFolders(folder, classes) } };
}

const namesSchema = z.record(z.string(), z.string());

/**
 * ObjectNet's four lists say which of its folders stand for which classes of ImageNet: folder to label, label to names of ImageNet's ("a; b"),
 * those names as lines of a file, and which line is which class.
 */
function openObjectNet(files: DatasetFiles): OpenedLayout {
  const read = <T>(name: string, schema: z.ZodType<T>): T => {
    const path = files.at(`mappings/${name}`);
    const parsed = schema.safeParse(readJson(path, "list of ObjectNet"));
    if (!parsed.success) throw new DataError(`${path}: not what ObjectNet has there: ${z.prettifyError(parsed.error)}`);
    return parsed.data;
  };
  const { keys } = classList("imagenet1k");
  const folderOf = new Map(Object.entries(read("folder_to_objectnet_label.json", namesSchema)).map(([folder, label]) => [label, folder]));
  const lineOf = Object.entries(read("pytorch_to_imagenet_2012_id.json", z.record(z.string(), z.number())));
  const classOf = new Map(lineOf.map(([number, line]) => [line, Number(number)]));
  const path = files.at("mappings/imagenet_to_label_2012_v2");
  const lines = readText(path, "list of ObjectNet")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (lines.length !== keys.length || classOf.size !== keys.length) {
    throw new DataError(`${path}: ${lines.length} names and ${classOf.size} numbers of classes, expected ${keys.length} each.`, {
      mend: "Unpack objectnet-1.0.zip again.",
    });
  }
  const wordNetOf = new Map(lines.map((name, line) => [name, keys[classOf.get(line) ?? -1]]));
  const entries = Object.entries(read("objectnet_to_imagenet_1k.json", namesSchema)).map(([label, names]) => {
    const folder = folderOf.get(label);
    if (folder === undefined) throw new DataError(`${files.at("mappings")}: no folder is known for ObjectNet's "${label}".`);
    const wordNet = names.split(";").map((name) => {
      const found = wordNetOf.get(name.trim());
      if (found === undefined) throw new DataError(`${path}: "${name.trim()}", for ObjectNet's "${label}", is no class of ImageNet.`);
      return found;
    });
    return { label, folder, wordNet };
  });
  entries.sort((a, b) => (a.folder < b.folder ? -1 : 1));
  const scored = entries.map(({ folder }) => folder);
  const others = files.folders("images").filter((folder) => !scored.includes(folder));
  files.notes.push(`${scored.length} of its classes are in ImageNet and scored; ${others.length} others are left out.`);
  return {
    classes: entries.map(({ label }) => label),
    wordNet: entries.map(({ wordNet }) => wordNet),
    splits: { test: () => scored.flatMap((folder, label) => imagesOf(files, folder, label)) },
  };
}

function imagesOf(files: DatasetFiles, folder: string, label: number): { path: string; label: number }[] {
  if (!existsSync(files.at(`images/${folder}`))) {
    files.problem(`the class folder images/${folder} is missing.`, "Unpack objectnet-1.0.zip again.");
    return [];
  }
  const images = files.images(`images/${folder}`);
  if (images.length === 0) files.problem(`the class folder images/${folder} holds no image.`, "Unpack objectnet-1.0.zip again.");
  return images.map((image) => ({ path: files.at(`images/${folder}/${image}`), label }));
}
