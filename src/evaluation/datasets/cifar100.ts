/** CIFAR-100 (Krizhevsky 2009): 32 x 32 pixels, a hundred fine classes; the twenty coarse ones are not used. */
import { cifarRecords, pickledImages, pickledNames } from "./cifar-layout.ts";
import type { DatasetDefinition } from "./dataset.ts";
import { labelledRecords } from "./pixel-batches.ts";

export const cifar100: DatasetDefinition = {
  name: "cifar100",
  aliases: ["cifar-100"],
  title: "CIFAR-100",
  classCount: 100,
  metric: "acc1",
  licence: "no licence given; its authors ask to be cited",
  page: "https://www.cs.toronto.edu/~kriz/cifar.html",
  archives: ["cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"],
  layout:
    "Unpack cifar-100-binary.tar.gz (or cifar-100-python.tar.gz) in the root: cifar-100-binary/train.bin (or cifar-100-python/train).",
  origin: "a batch to train on, one to test",
  expected: { train: 50_000, test: 10_000 },
  places: ["cifar-100-binary", "cifar100/cifar-100-binary", "cifar-100-python", "cifar100/cifar-100-python", "cifar100"],
  markers: ["fine_label_names.txt", "meta"],
  open(files) {
    if (files.has("fine_label_names.txt")) {
      const classes = files.lines("fine_label_names.txt").map(({ text }) => text);
      // A coarse label comes before the fine one.
      const batch = (name: string) => labelledRecords(files, name, classes.length, cifarRecords(2));
      return { classes, splits: { train: () => batch("train.bin"), test: () => batch("test.bin") } };
    }
    const classes = pickledNames(files, "meta", "fine_label_names");
    const batch = (name: string) => pickledImages(files, name, "fine_labels", classes.length);
    return { classes, splits: { train: () => batch("train"), test: () => batch("test") } };
  },
};
