/** Oxford Flowers 102 (Nilsback and Zisserman 2008): its lists give numbers for images and classes, and no names. */
import { DataError } from "../../support/index.ts";
import type { DatasetDefinition } from "./dataset.ts";
import { MatLists } from "./mat-lists.ts";

export const flowers102: DatasetDefinition = {
  name: "flowers",
  aliases: ["flowers102", "flowers-102", "oxford-flowers"],
  title: "Oxford Flowers 102",
  classCount: 102,
  metric: "mean_per_class_recall",
  licence: "no licence given",
  page: "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
  archives: ["102flowers.tgz"],
  layout: "Unpack 102flowers.tgz in flowers-102 and put imagelabels.mat and setid.mat beside it: flowers-102/jpg/image_00001.jpg.",
  origin: "setid.mat: trnid, valid, tstid",
  expected: { train: 1_020, validation: 1_020, test: 6_149 },
  places: ["flowers-102", "flowers102", "flowers"],
  markers: ["setid.mat", "imagelabels.mat"],
  open(files) {
    const labels = new MatLists(files.at("imagelabels.mat")).numbers("labels");
    const sets = new MatLists(files.at("setid.mat"));
    const classes = Array.from({ length: labels.reduce((most, label) => Math.max(most, label), 0) }, (_, i) => String(i + 1));
    const split = (name: string) => () => {
      const entries = sets.numbers(name).map((number) => {
        const label = labels[number - 1];
        if (label === undefined) {
          throw new DataError(
            `${files.at("setid.mat")}: "${name}" lists image ${number}, and imagelabels.mat has ${labels.length} labels.`,
            {
              mend: "Fetch both lists again.",
            },
          );
        }
        const where = `${files.at("imagelabels.mat")}, image ${number}`;
        return { image: `jpg/image_${String(number).padStart(5, "0")}.jpg`, label: files.label(label, where, classes.length, 1) };
      });
      return files.listed(`setid.mat (${name})`, entries);
    };
    return { classes, splits: { train: split("trnid"), validation: split("valid"), test: split("tstid") } };
  },
};
