/** SUN397 (Xiao et al. 2010): 397 scenes; of ten partitions of 50 + 50 images a class the first is used, as others do. */
import { DataError } from "../../support/index.ts";
import type { DatasetFiles } from "./dataset-files.ts";
import type { DatasetDefinition } from "./dataset.ts";

export const sun397: DatasetDefinition = {
  name: "sun397",
  aliases: ["sun-397"],
  title: "SUN397",
  classCount: 397,
  metric: "acc1",
  licence: "for academic research only",
  page: "https://vision.princeton.edu/projects/2010/SUN/",
  archives: ["SUN397.tar.gz", "Partitions.zip"],
  layout:
    "Unpack SUN397.tar.gz in the root: SUN397/a/abbey/sun_....jpg. Unpack Partitions.zip in SUN397 or in SUN397/Partitions: ClassName.txt, Training_01.txt, Testing_01.txt.",
  origin: "Training_01.txt, Testing_01.txt",
  expected: { train: 19_850, test: 19_850 },
  places: ["SUN397", "sun397/SUN397", "sun397"],
  markers: ["a/abbey", "Training_01.txt", "Partitions/Training_01.txt"],
  open(files) {
    const at = (name: string): string => {
      const found = files.first(name, `Partitions/${name}`);
      if (found !== undefined) return found;
      throw new DataError(`${files.path}: there is no ${name}.`, { mend: "Unpack Partitions.zip there: the splits are in it." });
    };
    // The lists begin each path with a stroke: /a/abbey.
    const classes = files.lines(at("ClassName.txt")).map(({ text }) => text.replace(/^\/\w\//, ""));
    return {
      classes,
      splits: {
        train: () => listed(files, at("Training_01.txt"), classes),
        test: () => listed(files, at("Testing_01.txt"), classes),
      },
    };
  },
};

function listed(files: DatasetFiles, list: string, classes: readonly string[]): ReturnType<DatasetFiles["listed"]> {
  const labelOf = files.labels(classes);
  const entries = files.lines(list).map(({ text, where }) => {
    const image = text.replace(/^\//, "");
    return { image, label: labelOf(image.split("/").slice(1, -1).join("/"), where) };
  });
  return files.listed(list, entries);
}
