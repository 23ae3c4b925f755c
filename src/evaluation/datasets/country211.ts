/** Country211 (Radford et al. 2021): photos of 211 countries, made for CLIP's paper from YFCC100M. */
import { DataError } from "../../support/index.ts";
import type { DatasetDefinition } from "./dataset.ts";

const folders = { train: "train", validation: "valid", test: "test" } as const;

export const country211: DatasetDefinition = {
  name: "country211",
  title: "Country211",
  classCount: 211,
  metric: "acc1",
  licence: "the photos are from Flickr, each under its own Creative Commons licence",
  page: "https://github.com/openai/CLIP/blob/main/data/country211.md",
  archives: ["country211.tgz"],
  layout: "Unpack country211.tgz in the root: country211/train/AD, country211/valid/AD, country211/test/AD.",
  origin: "folders train, valid and test",
  expected: { train: 31_650, validation: 10_550, test: 21_100 },
  places: ["country211", "country211/country211"],
  markers: ["test/AD", "valid/AD", "train/AD"],
  open(files) {
    const there = Object.values(folders).find((folder) => files.has(folder));
    if (there === undefined) throw new DataError(`${files.path}: there is no split.`, { mend: "Unpack country211.tgz again." });
    const classes = files.folders(there);
    const split = (folder: string) => (files.has(folder) ? () => files.classFolders(folder, classes) : undefined);
    const [train, validation, test] = [split(folders.train), split(folders.validation), split(folders.test)];
    return { classes, splits: { ...(train && { train }), ...(validation && { validation }), ...(test && { test }) } };
  },
};
