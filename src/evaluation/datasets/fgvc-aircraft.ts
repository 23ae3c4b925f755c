/** FGVC-Aircraft (Maji et al. 2013): photos of aircraft by variant, the finest of its three levels that is used in evaluation. */
import type { DatasetFiles } from "./dataset-files.ts";
import type { DatasetDefinition } from "./dataset.ts";

export const fgvcAircraft: DatasetDefinition = {
  name: "fgvc_aircraft",
  aliases: ["aircraft", "fgvc-aircraft", "fgvcaircraft"],
  title: "FGVC-Aircraft",
  classCount: 100,
  metric: "mean_per_class_recall",
  licence: "for non-commercial research",
  page: "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
  archives: ["fgvc-aircraft-2013b.tar.gz"],
  layout: "Unpack fgvc-aircraft-2013b.tar.gz in the root: fgvc-aircraft-2013b/data/images and fgvc-aircraft-2013b/data/variants.txt.",
  origin: "images_variant_train.txt, images_variant_val.txt, images_variant_test.txt",
  expected: { train: 3_334, validation: 3_333, test: 3_333 },
  places: ["fgvc-aircraft-2013b/data", "fgvc-aircraft/data", "fgvc_aircraft/fgvc-aircraft-2013b/data", "fgvc_aircraft", "aircraft"],
  markers: ["variants.txt"],
  open(files) {
    const classes = files.lines("variants.txt").map(({ text }) => text);
    const split = (name: string) => () => listed(files, `images_variant_${name}.txt`, classes);
    return { classes, splits: { train: split("train"), validation: split("val"), test: split("test") } };
  },
};

/** Lines such as "1025794 707-320"; variants have spaces in them. */
function listed(files: DatasetFiles, list: string, classes: readonly string[]): ReturnType<DatasetFiles["listed"]> {
  const labelOf = files.labels(classes);
  const entries = files.lines(list).map(({ text, where }) => {
    const space = text.indexOf(" ");
    return { image: `images/${text.slice(0, space)}.jpg`, label: labelOf(text.slice(space + 1), where) };
  });
  return files.listed(list, entries);
}
