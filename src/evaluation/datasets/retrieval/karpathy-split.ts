/**
 * Lists of images with their captions as Karpathy and Fei-Fei split COCO and Flickr (arXiv 1412.2306), on which retrieval is told of.
 *
 * Two forms: Karpathy's own `dataset_coco.json`, an object with all splits, and the list of one split that BLIP, ALBEF and CLIP_benchmark
 * use, `[{"image": "val2014/....jpg", "caption": ["...", ...]}, ...]`.
 */
import { z } from "zod";
import { DataError, readJson } from "../../../support/index.ts";
import type { SplitName } from "../dataset.ts";
import type { CaptionedImage } from "./retrieval-dataset.ts";

const wholeSchema = z.object({
  images: z.array(
    z.object({
      filepath: z.string().optional(),
      filename: z.string(),
      split: z.string(),
      sentences: z.array(z.object({ raw: z.string() })),
    }),
  ),
});

const listSchema = z.array(z.object({ image: z.string(), caption: z.union([z.string(), z.array(z.string())]) }));

/** Karpathy's names of our splits: COCO's `restval` is trained on by all who use his splits. */
const splits: Readonly<Record<SplitName, readonly string[]>> = { train: ["train", "restval"], validation: ["val"], test: ["test"] };

/**
 * The images of a split with their captions, in the order of the file.
 * @param file absolute path
 * @param folderOf folder of an image below the set's folder, from the `filepath` it is listed with
 * @throws DataError when there is no such file, it has neither form, or the split is not in it
 */
export function readKarpathySplit(file: string, split: SplitName, folderOf: (filepath: string | undefined) => string): CaptionedImage[] {
  const value = readJson(file, "list of images and captions");
  if (Array.isArray(value)) {
    const list = checked(listSchema, value, file);
    return list.map(({ image, caption }) => ({ image, captions: typeof caption === "string" ? [caption] : caption }));
  }
  const { images } = checked(wholeSchema, value, file);
  const entries = images
    .filter((image) => splits[split].includes(image.split))
    .map(({ filepath, filename, sentences }) => ({
      image: `${folderOf(filepath)}/${filename}`,
      captions: sentences.map(({ raw }) => raw),
    }));
  if (entries.length > 0) return entries;
  const there = [...new Set(images.map((image) => image.split))].join(", ");
  throw new DataError(`${file}: no image is of the split ${splits[split].join(" or ")}; there are ${there || "none at all"}.`);
}

function checked<T>(schema: z.ZodType<T>, value: unknown, file: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new DataError(`${file}: this is no list of images and captions: ${issue.path.join(".") || "top level"}: ${issue.message}.`, {
    mend: 'Expected Karpathy\'s {"images": [{"filename", "split", "sentences": [{"raw"}]}]}, or [{"image": "...", "caption": ["..."]}].',
  });
}
