/** Food-101 (Bossard et al. 2014): a thousand photos of each of 101 dishes; those to train on are not cleaned. */
import type { DatasetFiles } from "./dataset-files.ts";
import type { DatasetDefinition } from "./dataset.ts";

export const food101: DatasetDefinition = {
  name: "food101",
  aliases: ["food-101"],
  title: "Food-101",
  classCount: 101,
  metric: "acc1",
  licence: "no licence; the photos are from Foodspotting, for scientific use",
  page: "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
  archives: ["food-101.tar.gz"],
  layout: "Unpack food-101.tar.gz in the root: food-101/images/CLASS/NUMBER.jpg and food-101/meta/train.txt.",
  origin: "meta/train.txt, meta/test.txt",
  expected: { train: 75_750, test: 25_250 },
  places: ["food-101", "food101/food-101", "food101"],
  markers: ["meta/classes.txt"],
  open(files) {
    const classes = files.lines("meta/classes.txt").map(({ text }) => text);
    return {
      classes,
      splits: { train: () => listed(files, "meta/train.txt", classes), test: () => listed(files, "meta/test.txt", classes) },
    };
  },
};

/** Lines such as apple_pie/1005649. */
function listed(files: DatasetFiles, list: string, classes: readonly string[]): ReturnType<DatasetFiles["listed"]> {
  const labelOf = files.labels(classes);
  const entries = files.lines(list).map(({ text, where }) => ({ image: `images/${text}.jpg`, label: labelOf(text.split("/")[0]!, where) }));
  return files.listed(list, entries);
}
