/**
 * Caltech-101 (Fei-Fei et al. 2004): 101 kinds of things and a class of other pictures, 102 classes as in CLIP's line of work.
 *
 * It has no splits. As in that line of work 30 images of each class are drawn to train on; the rest is to test.
 */
import type { DatasetDefinition } from "./dataset.ts";
import { drawSplits } from "./draw-split.ts";

const folder = "101_ObjectCategories";

export const caltech101: DatasetDefinition = {
  name: "caltech101",
  aliases: ["caltech-101"],
  title: "Caltech-101",
  classCount: 102,
  metric: "mean_per_class_recall",
  licence: "CC BY 4.0",
  page: "https://data.caltech.edu/records/mzrjq-6wc02",
  archives: ["caltech-101.zip", "101_ObjectCategories.tar.gz"],
  layout:
    "Unpack caltech-101.zip in the root and 101_ObjectCategories.tar.gz in it: caltech-101/101_ObjectCategories/accordion/image_0001.jpg.",
  origin: "30 images a class to train, drawn with a fixed seed; the others to test",
  expected: { train: 3_060, test: 6_084 },
  places: ["caltech-101", "caltech101/caltech-101", "caltech101"],
  markers: [folder],
  open(files) {
    const classes = files.folders(folder);
    const items = files.classFolders(folder, classes);
    files.notes.push("No official splits: 30 images of each class drawn to train (seeded), the others to test.");
    return {
      classes,
      splits: drawSplits("caltech101", classes, items, { train: (images) => Math.min(30, images - 1), test: (images) => images }),
    };
  },
};
