/** Describable Textures (Cimpoi et al. 2014): 47 words for textures; of ten partitions the first is used, as others do. */
import type { DatasetFiles } from "./dataset-files.ts";
import type { DatasetDefinition } from "./dataset.ts";

export const dtd: DatasetDefinition = {
  name: "dtd",
  title: "Describable Textures",
  classCount: 47,
  metric: "acc1",
  licence: "for research",
  page: "https://www.robots.ox.ac.uk/~vgg/data/dtd/",
  archives: ["dtd-r1.0.1.tar.gz", "dtd-r1.0.1-labels.tar.gz"],
  layout: "Unpack dtd-r1.0.1.tar.gz in the root: dtd/images/CLASS/CLASS_NUMBER.jpg and dtd/labels/train1.txt.",
  origin: "labels/train1.txt, labels/val1.txt, labels/test1.txt",
  expected: { train: 1_880, validation: 1_880, test: 1_880 },
  places: ["dtd", "dtd/dtd"],
  markers: ["labels/test1.txt", "labels/train1.txt", "images/banded"],
  open(files) {
    const classes = files.folders("images");
    const split = (name: string) => () => listed(files, `labels/${name}1.txt`, classes);
    return { classes, splits: { train: split("train"), validation: split("val"), test: split("test") } };
  },
};

/** Lines such as banded/banded_0002.jpg. */
function listed(files: DatasetFiles, list: string, classes: readonly string[]): ReturnType<DatasetFiles["listed"]> {
  const labelOf = files.labels(classes);
  const entries = files.lines(list).map(({ text, where }) => ({ image: `images/${text}`, label: labelOf(text.split("/")[0]!, where) }));
  return files.listed(list, entries);
}
