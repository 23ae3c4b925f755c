/**
 * ImageNet-1k (ILSVRC 2012). The official validation images are what everyone tells results of: they are `test` here.
 *
 * Validation images lie in folders by WordNet number, or all in one folder, as the archive has them; then the devkit's lists
 * (ILSVRC2012_validation_ground_truth.txt with meta.mat) or Kaggle's LOC_val_solution.csv say what they show. Classes are in the order of
 * their WordNet numbers, as in all published class lists; the devkit counts in another.
 */
import type { EvaluationItem } from "../../data/index.ts";
import { DataError } from "../../support/index.ts";
import type { DatasetFiles } from "./dataset-files.ts";
import type { DatasetDefinition } from "./dataset.ts";
import { MatLists } from "./mat-lists.ts";

const trainFolders = ["train", "ILSVRC/Data/CLS-LOC/train"];
const testFolders = ["val", "validation", "ILSVRC/Data/CLS-LOC/val"];
const devkits = ["ILSVRC2012_devkit_t12/data", "devkit/data", "data"];
const wordnetNumber = /^n\d{8}$/;

export const imagenet: DatasetDefinition = {
  name: "imagenet1k",
  aliases: ["imagenet", "imagenet-1k", "ilsvrc2012"],
  title: "ImageNet-1k",
  classCount: 1000,
  metric: "acc1",
  licence: "for non-commercial research and education",
  page: "https://image-net.org/download-images.php",
  archives: [
    "ILSVRC2012_img_val.tar",
    "ILSVRC2012_img_train.tar",
    "ILSVRC2012_devkit_t12.tar.gz",
    "imagenet-object-localization-challenge.zip",
  ],
  layout:
    "Unpack ILSVRC2012_img_val.tar in imagenet/val and ILSVRC2012_devkit_t12.tar.gz in imagenet; to train on it, each class's tar of ILSVRC2012_img_train.tar in imagenet/train/nNNNNNNNN. Kaggle's archive and folders by WordNet number in val do as well.",
  origin: "the official training images; the official validation images as test",
  expected: { train: 1_281_167, test: 50_000 },
  places: ["imagenet", "imagenet1k", "imagenet-1k", "ILSVRC2012", "ImageNet"],
  markers: [
    "val/n01440764",
    "val/ILSVRC2012_val_00000001.JPEG",
    "validation/n01440764",
    "train/n01440764",
    "ILSVRC/Data/CLS-LOC/val",
    "val",
    "ILSVRC2012_devkit_t12",
  ],
  open(files) {
    const train = files.first(...trainFolders);
    const test = files.first(...testFolders);
    const classes = wordnetNumbers(files, train, test);
    return {
      classes,
      splits: {
        ...(train && { train: () => files.classFolders(train, classes) }),
        ...(test && {
          test: () => (files.folders(test).length > 0 ? files.classFolders(test, classes) : flatImages(files, test, classes)),
        }),
      },
    };
  },
};

/** From wherever they stand, in sorted order. */
function wordnetNumbers(files: DatasetFiles, ...folders: readonly (string | undefined)[]): string[] {
  for (const folder of folders) {
    const found = folder === undefined ? [] : files.folders(folder).filter((name) => wordnetNumber.test(name));
    if (found.length > 0) return found;
  }
  if (files.has("LOC_synset_mapping.txt")) {
    return files
      .lines("LOC_synset_mapping.txt")
      .map(({ text }) => text.split(" ")[0]!)
      .sort();
  }
  return devkitNumbers(files).toSorted();
}

/** WordNet numbers in the devkit's order: class 1 first. The classes beyond the thousandth are groups of others. */
function devkitNumbers(files: DatasetFiles): string[] {
  const meta = files.first(...devkits.map((devkit) => `${devkit}/meta.mat`));
  if (meta === undefined) {
    throw new DataError(`${files.path}: the validation images lie in one folder, and no list says what they show.`, {
      mend: "Unpack ILSVRC2012_devkit_t12.tar.gz there, or put LOC_val_solution.csv and LOC_synset_mapping.txt of Kaggle's archive beside them.",
    });
  }
  const list = new MatLists(files.at(meta));
  const ids = list.fieldNumbers("synsets", "ILSVRC2012_ID");
  const numbers = list.fieldTexts("synsets", "WNID");
  const found = numbers.map((number, i) => ({ number, id: ids[i]! })).filter(({ id }) => id <= 1000);
  return found.sort((a, b) => a.id - b.id).map(({ number }) => number);
}

function flatImages(files: DatasetFiles, folder: string, classes: readonly string[]): EvaluationItem[] {
  const labelOf = files.labels(classes);
  if (files.has("LOC_val_solution.csv")) {
    // "ILSVRC2012_val_00048981,n03995372 85 1 499 272": image, then a class and a box for each thing that was marked, all of one class.
    const rows = files.lines("LOC_val_solution.csv").filter(({ text }) => !text.startsWith("ImageId,"));
    const entries = rows.map(({ text, where }) => {
      const [name = "", shown = ""] = text.split(",");
      return { image: `${folder}/${name}.JPEG`, label: labelOf(shown.split(" ")[0]!, where) };
    });
    return files.listed(
      "LOC_val_solution.csv",
      entries.sort((a, b) => (a.image < b.image ? -1 : 1)),
    );
  }
  const truth = files.first(...devkits.map((devkit) => `${devkit}/ILSVRC2012_validation_ground_truth.txt`));
  if (truth === undefined) {
    throw new DataError(`${files.at(folder)}: the images lie in one folder, and no list says what they show.`, {
      mend: "Unpack ILSVRC2012_devkit_t12.tar.gz beside it, or put LOC_val_solution.csv of Kaggle's archive there.",
    });
  }
  const numbers = devkitNumbers(files);
  const entries = files.lines(truth).map(({ text, where }, i) => ({
    image: `${folder}/ILSVRC2012_val_${String(i + 1).padStart(8, "0")}.JPEG`,
    label: labelOf(numbers[files.label(Number(text), where, numbers.length, 1)]!, where),
  }));
  return files.listed(truth, entries);
}
