/** CIFAR-10 (Krizhevsky 2009): 32 x 32 pixels, ten classes. The binary version is taken where both are there. */
import { cifarRecords, pickledImages, pickledNames } from "./cifar-layout.ts";
import type { DatasetDefinition } from "./dataset.ts";
import { labelledRecords } from "./pixel-batches.ts";

const numbers = [1, 2, 3, 4, 5];

export const cifar10: DatasetDefinition = {
  name: "cifar10",
  aliases: ["cifar-10"],
  title: "CIFAR-10",
  classCount: 10,
  metric: "acc1",
  licence: "no licence given; its authors ask to be cited",
  page: "https://www.cs.toronto.edu/~kriz/cifar.html",
  archives: ["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"],
  layout:
    "Unpack cifar-10-binary.tar.gz (or cifar-10-python.tar.gz) in the root: cifar-10-batches-bin/data_batch_1.bin (or cifar-10-batches-py/data_batch_1).",
  origin: "five batches to train on, one to test",
  expected: { train: 50_000, test: 10_000 },
  places: ["cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "cifar-10-batches-py", "cifar10/cifar-10-batches-py", "cifar10"],
  markers: ["batches.meta.txt", "batches.meta"],
  open(files) {
    if (files.has("batches.meta.txt")) {
      const classes = files.lines("batches.meta.txt").map(({ text }) => text);
      const batch = (name: string) => labelledRecords(files, name, classes.length, cifarRecords(1));
      return {
        classes,
        splits: { train: () => numbers.flatMap((n) => batch(`data_batch_${n}.bin`)), test: () => batch("test_batch.bin") },
      };
    }
    const classes = pickledNames(files, "batches.meta", "label_names");
    const batch = (name: string) => pickledImages(files, name, "labels", classes.length);
    return { classes, splits: { train: () => numbers.flatMap((n) => batch(`data_batch_${n}`)), test: () => batch("test_batch") } };
  },
};
