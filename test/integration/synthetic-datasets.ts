/**
 * Small copies of the published data sets, in the layout of their downloads, byte-true: lists, .mat files, binary batches, pickles, pixmaps.
 *
 *   node dist/test/integration/synthetic-datasets.js FOLDER
 */
import { pathToFileURL } from "node:url";
import { cells, matFile, numbers, structs, text } from "./mat-writer.ts";
import { classFolders, lines, padded, photo, pixmap, put } from "./synthetic-pictures.ts";
import { cifar100Binary, cifar100Python, cifar10Binary, cifar10Python, stl10 } from "./synthetic-pixel-files.ts";

/** What a copy holds: the labels of each split, in its order, and how many classes there are. */
export interface SyntheticDataset {
  /** Name of the set for `--dataset`. */
  name: string;
  /** Which of its layouts. */
  layout: string;
  classes: string[];
  splits: { train?: number[]; validation?: number[]; test?: number[] };
  write(root: string): Promise<void>;
}

const three = ["apple_pie", "baby_back_ribs", "baklava"];

const repeated = (classes: number, each: number): number[] => Array.from({ length: classes * each }, (_, i) => Math.floor(i / each));

const food101: SyntheticDataset = {
  name: "food101",
  layout: "official",
  classes: three,
  splits: { train: [2, 0, 1, 0], test: [1, 2] },
  async write(root) {
    const base = "food-101";
    put(root, `${base}/meta/classes.txt`, lines(three));
    for (const [split, first] of [
      ["train", 1000],
      ["test", 2000],
    ] as const) {
      const names = this.splits[split]!.map((label, i) => `${three[label]}/${first + i}`);
      put(root, `${base}/meta/${split}.txt`, lines(names));
      for (const [i, name] of names.entries()) await photo(root, `${base}/images/${name}.jpg`, this.splits[split]![i]!);
    }
  },
};

const scenes = ["abbey", "apartment_building/outdoor", "bakery/shop"];

function sun397(folder: string): SyntheticDataset {
  return {
    name: "sun397",
    layout: folder === "" ? "lists beside the images" : "lists in Partitions",
    classes: scenes,
    splits: { train: [0, 1, 2], test: [0, 1, 1, 2] },
    async write(root) {
      const path = (label: number, i: number): string => `/${scenes[label]![0]}/${scenes[label]}/sun_a${label}${i}.jpg`;
      put(root, `SUN397/${folder}ClassName.txt`, lines(scenes.map((name) => `/${name[0]}/${name}`)));
      for (const [split, list, first] of [
        ["train", "Training_01", 10],
        ["test", "Testing_01", 20],
      ] as const) {
        const names = this.splits[split]!.map((label, i) => path(label, first + i));
        // The original lists have the line ends of Windows.
        put(root, `SUN397/${folder}${list}.txt`, names.join("\r\n"));
        for (const [i, name] of names.entries()) await photo(root, `SUN397${name}`, this.splits[split]![i]!);
      }
    },
  };
}

const cars = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"];

const carsDevkit: SyntheticDataset = {
  name: "cars",
  layout: "devkit",
  classes: cars,
  splits: { train: [2, 0, 1], test: [1, 1, 0] },
  async write(root) {
    const base = "stanford_cars";
    put(root, `${base}/devkit/cars_meta.mat`, matFile({ class_names: cells(cars.map((name) => text(name))) }));
    const list = (labels: readonly number[]): Uint8Array =>
      matFile({
        annotations: structs(
          labels.map((label, i) => ({
            bbox_x1: numbers([39 + i]),
            class: numbers([label + 1]),
            fname: text(`${padded(i + 1, 5)}.jpg`),
          })),
        ),
      });
    put(root, `${base}/devkit/cars_train_annos.mat`, list(this.splits.train!));
    put(root, `${base}/cars_test_annos_withlabels.mat`, list(this.splits.test!));
    for (const split of ["train", "test"] as const) {
      for (const [i, label] of this.splits[split]!.entries()) await photo(root, `${base}/cars_${split}/${padded(i + 1, 5)}.jpg`, label);
    }
  },
};

const carsOneList: SyntheticDataset = {
  ...carsDevkit,
  layout: "cars_annos.mat",
  async write(root) {
    const base = "cars";
    const { train, test } = this.splits;
    const all = [...train!.map((label) => ({ label, test: 0 })), ...test!.map((label) => ({ label, test: 1 }))];
    const image = (i: number): string => `car_ims/${padded(i + 1, 6)}.jpg`;
    const annotations = all.map(({ label, test }, i) => ({
      relative_im_path: text(image(i)),
      class: numbers([label + 1]),
      test: numbers([test]),
    }));
    put(root, `${base}/cars_annos.mat`, matFile({ annotations: structs(annotations), class_names: cells(cars.map((name) => text(name))) }));
    for (const [i, { label }] of all.entries()) await photo(root, `${base}/${image(i)}`, label);
  },
};

const variants = ["707-320", "Boeing 717", "F-16A/B"];

const aircraft: SyntheticDataset = {
  name: "fgvc_aircraft",
  layout: "official",
  classes: variants,
  splits: { train: [1, 0], validation: [2, 1], test: [0, 2, 1] },
  async write(root) {
    const base = "fgvc-aircraft-2013b/data";
    put(root, `${base}/variants.txt`, lines(variants));
    let id = 34_309;
    for (const [split, list] of [
      ["train", "train"],
      ["validation", "val"],
      ["test", "test"],
    ] as const) {
      const entries = this.splits[split]!.map((label) => ({ label, image: padded(id++, 7) }));
      put(root, `${base}/images_variant_${list}.txt`, lines(entries.map(({ label, image }) => `${image} ${variants[label]}`)));
      for (const { label, image } of entries) await photo(root, `${base}/images/${image}.jpg`, label);
    }
  },
};

const textures = ["banded", "blotchy", "braided"];

const dtd: SyntheticDataset = {
  name: "dtd",
  layout: "official",
  classes: textures,
  splits: { train: [0, 1, 2], validation: [0, 1, 2], test: [0, 2] },
  async write(root) {
    for (const [split, list, first] of [
      ["train", "train1", 2],
      ["validation", "val1", 50],
      ["test", "test1", 90],
    ] as const) {
      const names = this.splits[split]!.map((label, i) => `${textures[label]}/${textures[label]}_${padded(first + i, 4)}.jpg`);
      put(root, `dtd/labels/${list}.txt`, lines(names));
      for (const [i, name] of names.entries()) await photo(root, `dtd/images/${name}`, this.splits[split]![i]!);
    }
  },
};

const breeds = ["Abyssinian", "american_bulldog", "Bengal"];

const pets: SyntheticDataset = {
  name: "pets",
  layout: "official",
  classes: breeds,
  splits: { train: [0, 2, 1, 1], test: [1, 0, 2] },
  async write(root) {
    const base = "oxford-iiit-pet";
    for (const [split, list, first] of [
      ["train", "trainval", 1],
      ["test", "test", 201],
    ] as const) {
      const entries = this.splits[split]!.map((label, i) => ({ label, image: `${breeds[label]}_${first + i}` }));
      put(root, `${base}/annotations/${list}.txt`, lines(entries.map(({ label, image }) => `${image} ${label + 1} 2 ${label + 1}`)));
      for (const { label, image } of entries) await photo(root, `${base}/images/${image}.jpg`, label);
    }
    // What an Apple computer left in the original archive.
    put(root, `${base}/annotations/._trainval.txt`, "\0");
  },
};

const things = ["BACKGROUND_Google", "Faces", "accordion"];

const caltech101: SyntheticDataset = {
  name: "caltech101",
  layout: "official",
  classes: things,
  splits: { train: repeated(3, 3), test: repeated(3, 1) },
  async write(root) {
    await classFolders(root, "caltech-101/101_ObjectCategories", things, 4);
    put(root, "caltech-101/101_ObjectCategories/BACKGROUND_Google/tmp", "a script, as in the original");
  },
};

const flowers: SyntheticDataset = {
  name: "flowers",
  layout: "official",
  classes: ["1", "2", "3"],
  splits: { train: [2, 0], validation: [1], test: [0, 1, 2] },
  async write(root) {
    const base = "flowers-102";
    const { train, validation, test } = this.splits;
    // Image numbers are handed out backwards, so that an order by name is seen.
    const all = [...train!, ...validation!, ...test!].toReversed();
    const number = (i: number): number => all.length - i;
    put(root, `${base}/imagelabels.mat`, matFile({ labels: numbers(all.map((label) => label + 1)) }));
    const ids = (from: number, count: number): ReturnType<typeof numbers> =>
      numbers(Array.from({ length: count }, (_, i) => number(from + i)));
    put(root, `${base}/setid.mat`, matFile({ trnid: ids(0, 2), valid: ids(2, 1), tstid: ids(3, 3) }));
    for (const [i, label] of all.entries()) await photo(root, `${base}/jpg/image_${padded(i + 1, 5)}.jpg`, label);
  },
};

const land = ["AnnualCrop", "Forest", "SeaLake"];

function eurosat(folder: string): SyntheticDataset {
  return {
    name: "eurosat",
    layout: folder,
    classes: land,
    splits: { train: repeated(3, 2), validation: repeated(3, 2), test: repeated(3, 2) },
    write: (root) => classFolders(root, `eurosat/${folder}`, land, 7, "scene_"),
  };
}

const aerial = ["airplane", "airport", "wetland"];

const resisc45: SyntheticDataset = {
  name: "resisc45",
  layout: "official",
  classes: aerial,
  splits: { train: repeated(3, 1), validation: repeated(3, 1), test: repeated(3, 8) },
  write: (root) => classFolders(root, "NWPU-RESISC45", aerial, 10, "scene_"),
};

function gtsrb(folder: string): SyntheticDataset {
  const classes = Array.from({ length: 43 }, (_, label) => padded(label, 5));
  return {
    name: "gtsrb",
    layout: folder,
    classes,
    splits: { train: repeated(43, 1), test: [16, 1, 42, 0] },
    async write(root) {
      for (const [label, name] of classes.entries()) {
        pixmap(root, `gtsrb/GTSRB/${folder}/${name}/00000_00000.ppm`, label);
        put(root, `gtsrb/GTSRB/${folder}/${name}/GT-${name}.csv`, "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\n");
      }
      const rows = this.splits.test!.map((label, i) => `${padded(i, 5)}.ppm;32;32;5;6;27;26;${label}`);
      put(root, "gtsrb/GT-final_test.csv", ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId", ...rows].join("\r\n"));
      for (const [i, label] of this.splits.test!.entries()) pixmap(root, `gtsrb/GTSRB/Final_Test/Images/${padded(i, 5)}.ppm`, label);
    },
  };
}

const countries = ["AD", "AE", "AF"];

const country211: SyntheticDataset = {
  name: "country211",
  layout: "official",
  classes: countries,
  splits: { train: repeated(3, 3), validation: repeated(3, 1), test: repeated(3, 2) },
  async write(root) {
    await classFolders(root, "country211/train", countries, 3);
    await classFolders(root, "country211/valid", countries, 1);
    await classFolders(root, "country211/test", countries, 2);
  },
};

const synsets = ["n01440764", "n01443537", "n01484850"];
/** The devkit counts classes in another order than that of the WordNet numbers, and has groups of classes at the end. */
const devkitOrder = [1, 2, 0];

function imagenet(layout: "devkit" | "folders" | "kaggle"): SyntheticDataset {
  const test = [1, 0, 2, 2];
  return {
    name: "imagenet1k",
    layout,
    classes: synsets,
    splits: { ...(layout === "devkit" ? {} : { train: repeated(3, 2) }), test: layout === "folders" ? test.toSorted() : test },
    async write(root) {
      const base = layout === "kaggle" ? "imagenet/ILSVRC/Data/CLS-LOC" : "imagenet";
      const image = (i: number): string => `ILSVRC2012_val_${padded(i + 1, 8)}.JPEG`;
      for (const [i, label] of test.entries()) {
        await photo(root, `${base}/val/${layout === "folders" ? `${synsets[label]}/` : ""}${image(i)}`, label);
      }
      if (layout !== "devkit") {
        for (const [label, synset] of synsets.entries()) {
          for (let i = 1; i <= 2; i++) await photo(root, `${base}/train/${synset}/${synset}_${i}.JPEG`, label);
        }
      }
      if (layout === "devkit") {
        const data = "imagenet/ILSVRC2012_devkit_t12/data";
        const rows = devkitOrder.map((label, i) => ({ ILSVRC2012_ID: numbers([i + 1]), WNID: text(synsets[label]!) }));
        const group = { ILSVRC2012_ID: numbers([1001]), WNID: text("n00001740") };
        put(root, `${data}/meta.mat`, matFile({ synsets: structs([...rows, group]) }));
        put(root, `${data}/ILSVRC2012_validation_ground_truth.txt`, lines(test.map((label) => String(devkitOrder.indexOf(label) + 1))));
      }
      if (layout === "kaggle") {
        const rows = test.map((label, i) => `${image(i).replace(".JPEG", "")},${synsets[label]} 85 1 499 272 ${synsets[label]} 1 2 3 4 `);
        put(root, "imagenet/LOC_val_solution.csv", lines(["ImageId,PredictionString", ...rows.toReversed()]));
        put(root, "imagenet/LOC_synset_mapping.txt", lines(synsets.map((synset) => `${synset} a fish, another name`)));
      }
    },
  };
}

/** All layouts of all sets. */
export const syntheticDatasets: readonly SyntheticDataset[] = [
  imagenet("devkit"),
  imagenet("folders"),
  imagenet("kaggle"),
  food101,
  cifar10Binary,
  cifar10Python,
  cifar100Binary,
  cifar100Python,
  sun397(""),
  sun397("Partitions/"),
  carsDevkit,
  carsOneList,
  aircraft,
  dtd,
  pets,
  caltech101,
  flowers,
  stl10,
  eurosat("2750"),
  eurosat("EuroSAT_RGB"),
  resisc45,
  gtsrb("Training"),
  gtsrb("Final_Training/Images"),
  country211,
];

/** Writes the first layout of every set below a folder. */
export async function writeSyntheticDatasets(root: string): Promise<void> {
  const written = new Set<string>();
  for (const dataset of syntheticDatasets) {
    if (written.has(dataset.name)) continue;
    written.add(dataset.name);
    await dataset.write(root);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [root] = process.argv.slice(2);
  if (root === undefined) throw new Error("Give the folder to write to.");
  await writeSyntheticDatasets(root);
}
