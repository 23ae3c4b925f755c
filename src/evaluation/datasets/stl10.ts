/** STL-10 (Coates et al. 2011): 96 x 96 pixels by columns, ten classes. Its hundred thousand images without labels are not used. */
import type { DatasetDefinition } from "./dataset.ts";
import { recordsWithLabels, type RecordForm } from "./pixel-batches.ts";

const form: RecordForm = { before: 0, side: 96, order: "planes-by-columns" };

export const stl10: DatasetDefinition = {
  name: "stl10",
  aliases: ["stl-10"],
  title: "STL-10",
  classCount: 10,
  metric: "acc1",
  licence: "no licence given; the images are from ImageNet, whose terms apply",
  page: "https://cs.stanford.edu/~acoates/stl10/",
  archives: ["stl10_binary.tar.gz"],
  layout: "Unpack stl10_binary.tar.gz in the root: stl10_binary/train_X.bin, train_y.bin, test_X.bin, test_y.bin, class_names.txt.",
  origin: "files of its own; the ten folds of train are not used",
  expected: { train: 5_000, test: 8_000 },
  places: ["stl10_binary", "stl10/stl10_binary", "stl10"],
  markers: ["test_X.bin", "train_X.bin", "class_names.txt"],
  open(files) {
    const classes = files.lines("class_names.txt").map(({ text }) => text);
    const split = (name: string) => recordsWithLabels(files, `${name}_X.bin`, `${name}_y.bin`, classes.length, form);
    return { classes, splits: { train: () => split("train"), test: () => split("test") } };
  },
};
