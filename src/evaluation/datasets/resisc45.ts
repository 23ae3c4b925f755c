/**
 * NWPU-RESISC45 (Cheng et al. 2017): aerial images, 700 of each of 45 classes.
 *
 * It has no splits. CLIP's line of work trains on a tenth; here another tenth is for validation, and the rest is to test. Which images is not
 * published: they are drawn.
 */
import type { DatasetDefinition } from "./dataset.ts";
import { drawSplits } from "./draw-split.ts";

const tenth = (images: number): number => Math.floor(images / 10);

export const resisc45: DatasetDefinition = {
  name: "resisc45",
  aliases: ["nwpu-resisc45"],
  title: "NWPU-RESISC45",
  classCount: 45,
  metric: "acc1",
  licence: "no licence given; for research",
  page: "https://gcheng-nwpu.github.io/#Datasets",
  archives: ["NWPU-RESISC45.rar", "NWPU-RESISC45.zip"],
  layout: "Unpack NWPU-RESISC45.rar in the root: NWPU-RESISC45/airplane/airplane_001.jpg.",
  origin: "a tenth of each class to train, a tenth to validate, the others to test, drawn with a fixed seed",
  expected: { train: 3_150, validation: 3_150, test: 25_200 },
  places: ["NWPU-RESISC45", "resisc45/NWPU-RESISC45", "resisc45"],
  markers: ["airplane", "wetland"],
  open(files) {
    const classes = files.folders(".");
    const items = files.classFolders(".", classes);
    files.notes.push("No official splits: a tenth of each class drawn to train, a tenth to validate, the others to test (seeded).");
    return { classes, splits: drawSplits("resisc45", classes, items, { train: tenth, validation: tenth, test: (images) => images }) };
  },
};
