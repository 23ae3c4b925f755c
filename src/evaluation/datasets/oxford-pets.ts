/** Oxford-IIIT Pets (Parkhi et al. 2012): 37 breeds of cats and dogs, in the order of the set's own class numbers. */
import { DataError } from "../../support/index.ts";
import type { DatasetFiles, ListedLine } from "./dataset-files.ts";
import type { DatasetDefinition } from "./dataset.ts";

const lists = { train: "annotations/trainval.txt", test: "annotations/test.txt" } as const;

export const oxfordPets: DatasetDefinition = {
  name: "pets",
  aliases: ["oxford-pets", "oxford-iiit-pet", "oxford_pets", "oxfordiiitpet"],
  title: "Oxford-IIIT Pets",
  classCount: 37,
  metric: "mean_per_class_recall",
  licence: "CC BY-SA 4.0",
  page: "https://www.robots.ox.ac.uk/~vgg/data/pets/",
  archives: ["images.tar.gz", "annotations.tar.gz"],
  layout:
    "Unpack images.tar.gz and annotations.tar.gz in oxford-iiit-pet: oxford-iiit-pet/images and oxford-iiit-pet/annotations/trainval.txt.",
  origin: "annotations/trainval.txt (to train), annotations/test.txt",
  expected: { train: 3_680, test: 3_669 },
  places: ["oxford-iiit-pet", "oxford_pets", "oxford-pets", "pets"],
  markers: ["annotations/trainval.txt", "annotations/test.txt"],
  open(files) {
    const names = new Map<number, string>();
    for (const list of Object.values(lists)) {
      for (const { name, number, where } of files.lines(list).map((line) => entryOf(line))) {
        const known = names.get(number);
        if (known !== undefined && known !== name) {
          throw new DataError(`${where}: class ${number} is "${name}" here and "${known}" before.`, {
            mend: "Unpack annotations.tar.gz again.",
          });
        }
        names.set(number, name);
      }
    }
    const last = Math.max(...names.keys());
    const absent = Array.from({ length: last }, (_, i) => i + 1).find((number) => !names.has(number));
    if (absent !== undefined) {
      throw new DataError(`${files.path}: no image is of class ${absent}, yet there is a class ${last}.`, {
        mend: "Unpack annotations.tar.gz again.",
      });
    }
    const classes = Array.from({ length: last }, (_, i) => names.get(i + 1)!);
    return { classes, splits: { train: () => listed(files, lists.train), test: () => listed(files, lists.test) } };
  },
};

/** A line such as "Abyssinian_100 1 1 1": image, class, cat or dog, breed. */
function entryOf({ text, where }: ListedLine): { image: string; name: string; number: number; where: string } {
  const [, image, name, number] = /^((\S+)_\d+) (\d+) \d+ \d+$/.exec(text) ?? [];
  if (image === undefined || name === undefined || !(Number(number) >= 1 && Number(number) <= 1000)) {
    throw new DataError(`${where}: expected an image and three numbers, such as "Abyssinian_100 1 1 1".`, {
      mend: "Unpack annotations.tar.gz again.",
    });
  }
  return { image, name, number: Number(number), where };
}

function listed(files: DatasetFiles, list: string): ReturnType<DatasetFiles["listed"]> {
  const entries = files.lines(list).map((line) => entryOf(line));
  return files.listed(
    list,
    entries.map(({ image, number }) => ({ image: `images/${image}.jpg`, label: number - 1 })),
  );
}
