/**
 * Captions of COCO, on the test images of Karpathy's split and on the validation images of 2017.
 *
 * Papers mean the former when they tell of "MSCOCO 5K": 5,000 images of val2014, 25,010 captions (CLIP_benchmark's `mscoco_captions`).
 */
import { z } from "zod";
import { DataError, readJson } from "../../../support/index.ts";
import type { DatasetFiles } from "../dataset-files.ts";
import type { SplitName } from "../dataset.ts";
import { readKarpathySplit } from "./karpathy-split.ts";
import type { CaptionedImage, RetrievalDefinition } from "./retrieval-dataset.ts";

const about = {
  licence: "annotations CC BY 4.0; images under the terms of Flickr, each with its own licence",
  page: "https://cocodataset.org/#download",
  places: ["mscoco_captions", "coco", "COCO", "mscoco"],
};

const wholeLists = ["dataset_coco.json", "annotations/dataset_coco.json", "karpathy/dataset_coco.json"];
/** Lists of one split: those of CLIP_benchmark and BLIP. */
const splitLists: Readonly<Record<SplitName, readonly string[]>> = {
  test: ["coco_test_karpathy.json", "coco_karpathy_test.json", "annotations/coco_karpathy_test.json"],
  validation: ["coco_karpathy_val.json", "annotations/coco_karpathy_val.json"],
  train: ["coco_karpathy_train.json", "annotations/coco_karpathy_train.json"],
};

/** COCO on Karpathy's split. */
export const mscocoCaptions: RetrievalDefinition = {
  ...about,
  name: "mscoco_captions",
  aliases: ["mscoco", "coco", "coco-karpathy", "mscoco-captions"],
  title: "MSCOCO captions (Karpathy's split)",
  archives: ["val2014.zip", "train2014.zip", "caption_datasets.zip"],
  layout:
    "Folders val2014/ and train2014/, and beside them dataset_coco.json of https://cs.stanford.edu/people/karpathy/deepimagesent/, or CLIP_benchmark's coco_test_karpathy.json.",
  origin: "Karpathy and Fei-Fei; train includes restval",
  expected: {
    train: { images: 113_287, captions: 566_747 },
    validation: { images: 5000, captions: 25_010 },
    test: { images: 5000, captions: 25_010 },
  },
  markers: [...wholeLists, ...splitLists.test],
  open: (files, split) => {
    const list = files.first(...splitLists[split], ...wholeLists);
    if (list === undefined) throw new DataError(`${files.path}: no list has the ${split} images of Karpathy's split.`);
    return { entries: readKarpathySplit(files.at(list), split, (filepath) => filepath ?? "val2014") };
  },
};

/** COCO on the images of 2017. */
export const mscocoCaptions2017: RetrievalDefinition = {
  ...about,
  name: "mscoco_captions2017",
  aliases: ["coco2017", "mscoco2017", "coco-val2017"],
  title: "MSCOCO captions 2017",
  archives: ["val2017.zip", "train2017.zip", "annotations_trainval2017.zip"],
  layout: "Folders val2017/, train2017/ and annotations/.",
  origin: "official; test is val2017, since the captions of COCO's own test images are not public",
  expected: { train: { images: 118_287, captions: 591_753 }, test: { images: 5000, captions: 25_014 } },
  markers: ["annotations/captions_val2017.json", "captions_val2017.json"],
  open: (files, split) => {
    if (split === "validation")
      throw new DataError(`${files.path}: MSCOCO captions 2017 has train and test images only (test is val2017).`);
    const year = split === "train" ? "train2017" : "val2017";
    const file = files.first(`annotations/captions_${year}.json`, `captions_${year}.json`);
    if (file === undefined) throw new DataError(`${files.path}: captions_${year}.json is missing.`);
    return { entries: readCocoCaptions(files, file, year) };
  },
};

const annotationsSchema = z.object({
  images: z.array(z.object({ id: z.number(), file_name: z.string() })),
  annotations: z.array(z.object({ image_id: z.number(), caption: z.string() })),
});

/** COCO's own form: images and captions, joined by the number of the image. */
function readCocoCaptions(files: DatasetFiles, file: string, folder: string): CaptionedImage[] {
  const path = files.at(file);
  const parsed = annotationsSchema.safeParse(readJson(path, "COCO annotation file"));
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new DataError(`${path}: this is no file of COCO captions: ${issue.path.join(".") || "top level"}: ${issue.message}.`);
  }
  const captions = new Map<number, string[]>(parsed.data.images.map(({ id }) => [id, []]));
  for (const { image_id: id, caption } of parsed.data.annotations) {
    const own = captions.get(id);
    if (own === undefined) throw new DataError(`${path}: a caption is of image ${id}, which is not in the list of images.`);
    own.push(caption);
  }
  return parsed.data.images.map(({ id, file_name: name }) => ({ image: `${folder}/${name}`, captions: captions.get(id)! }));
}
