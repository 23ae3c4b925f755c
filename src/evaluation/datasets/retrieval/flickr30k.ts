/**
 * Flickr30k: 31,783 photographs with five captions each, of which Karpathy and Fei-Fei set 1,000 aside for testing.
 *
 * Four lists are read: Karpathy's `dataset_flickr30k.json`; the list of one split as ALBEF and BLIP have it; CLIP_benchmark's
 * `flickr30k_test_karpathy.txt`, a line `NAME.jpg,caption` each; and the captions of the download itself, `results_20130124.token`, lines
 * `NAME.jpg#0<TAB>caption`, which know no splits.
 */
import { DataError } from "../../../support/index.ts";
import type { DatasetFiles } from "../dataset-files.ts";
import type { SplitName } from "../dataset.ts";
import { readKarpathySplit } from "./karpathy-split.ts";
import type { CaptionedImage, OpenedRetrieval, RetrievalDefinition } from "./retrieval-dataset.ts";

const wholeList = "dataset_flickr30k.json";
const jsonLists: Readonly<Record<SplitName, readonly string[]>> = {
  test: ["flickr30k_test.json", "annotations/flickr30k_test.json"],
  validation: ["flickr30k_val.json", "annotations/flickr30k_val.json"],
  train: ["flickr30k_train.json", "annotations/flickr30k_train.json"],
};
const lineLists: Readonly<Record<SplitName, string>> = {
  test: "flickr30k_test_karpathy.txt",
  validation: "flickr30k_val_karpathy.txt",
  train: "flickr30k_train_karpathy.txt",
};
const tokens = ["results_20130124.token", "results.token"];
const imageFolders = ["flickr30k-images", "flickr30k_images", "Images", "images"];
const whole = { images: 31_783, captions: 158_915 };

/** Flickr30k, as retrieval is told of on it. */
export const flickr30k: RetrievalDefinition = {
  name: "flickr30k",
  aliases: ["flickr", "flickr-30k"],
  title: "Flickr30k",
  licence: "for research and teaching, on request; images under the terms of Flickr",
  page: "https://shannon.cs.illinois.edu/DenotationGraph/",
  archives: ["flickr30k-images.tar.gz", "flickr30k.tar.gz"],
  layout:
    "Folder flickr30k-images/, and beside it dataset_flickr30k.json of https://cs.stanford.edu/people/karpathy/deepimagesent/, or CLIP_benchmark's flickr30k_test_karpathy.txt.",
  origin: "Karpathy and Fei-Fei; without their list all 31,783 images are taken as test, which papers don't do",
  expected: {
    train: { images: 29_000, captions: 145_000 },
    validation: { images: 1014, captions: 5070 },
    test: { images: 1000, captions: 5000 },
  },
  places: ["flickr30k", "Flickr30k", "flickr30k_images"],
  markers: [wholeList, ...jsonLists.test, lineLists.test, ...tokens],
  open: openFlickr,
};

function openFlickr(files: DatasetFiles, split: SplitName): OpenedRetrieval {
  const folder = imageFolders.find((name) => files.has(name)) ?? imageFolders[0]!;
  const list = files.first(...jsonLists[split]);
  if (list !== undefined) return { entries: readKarpathySplit(files.at(list), split, () => folder) };
  if (files.has(lineLists[split])) return { entries: readLines(files, lineLists[split], folder, /^([^,#]+\.jpg),(.*)$/i) };
  if (files.has(wholeList)) return { entries: readKarpathySplit(files.at(wholeList), split, () => folder) };
  const token = files.first(...tokens);
  if (token === undefined || split !== "test") {
    throw new DataError(`${files.path}: no list has the ${split} images of Flickr30k.`, {
      mend: `Put ${wholeList} of https://cs.stanford.edu/people/karpathy/deepimagesent/ there.`,
    });
  }
  files.notes.push(`${token} knows no splits: all images are taken as test, not the 1,000 of Karpathy's split, on which papers tell of.`);
  return { entries: readLines(files, token, folder, /^([^,#]+\.jpg)#\d+\t(.*)$/i), expected: whole };
}

/** Lines of an image and a caption; those of one image need not stand beside each other. */
function readLines(files: DatasetFiles, list: string, folder: string, form: RegExp): CaptionedImage[] {
  const captions = new Map<string, string[]>();
  for (const { text, where } of files.lines(list)) {
    if (text === "image,caption") continue;
    const [, image, caption] = form.exec(text) ?? [];
    if (image === undefined) throw new DataError(`${where}: ${JSON.stringify(text.slice(0, 80))} is no image with its caption.`);
    const own = captions.get(image);
    if (own) own.push(caption!);
    else captions.set(image, [caption!]);
  }
  return [...captions].map(([image, own]) => ({ image: `${folder}/${image}`, captions: own }));
}
