/**
 * EuroSAT (Helber et al. 2019): satellite images, the RGB version.
 *
 * It has no splits. CLIP's line of work takes 1,000 images of each class to train and 500 to test; here the thousand are halves for training
 * and validation. Which images is not published: they are drawn.
 */
import type { DatasetDefinition } from "./dataset.ts";
import { drawSplits } from "./draw-split.ts";

const size = (images: number): number => Math.min(500, Math.floor(images / 3));

export const eurosat: DatasetDefinition = {
  name: "eurosat",
  title: "EuroSAT",
  classCount: 10,
  metric: "acc1",
  licence: "MIT; the images are of Copernicus, free to use",
  page: "https://github.com/phelber/EuroSAT",
  archives: ["EuroSAT.zip", "EuroSAT_RGB.zip"],
  layout:
    "Unpack EuroSAT.zip or EuroSAT_RGB.zip in eurosat: eurosat/2750/AnnualCrop/AnnualCrop_1.jpg or eurosat/EuroSAT_RGB/AnnualCrop/AnnualCrop_1.jpg.",
  origin: "500 images a class for each split, drawn with a fixed seed",
  expected: { train: 5_000, validation: 5_000, test: 5_000 },
  total: 27_000,
  places: ["eurosat/2750", "eurosat/EuroSAT_RGB", "EuroSAT/2750", "EuroSAT_RGB", "EuroSAT", "eurosat", "2750"],
  markers: ["AnnualCrop", "SeaLake"],
  open(files) {
    const classes = files.folders(".");
    const items = files.classFolders(".", classes);
    files.notes.push("No official splits: 500 images of each class drawn for each split (seeded).");
    return { classes, total: items.length, splits: drawSplits("eurosat", classes, items, { test: size, train: size, validation: size }) };
  },
};
