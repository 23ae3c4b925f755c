/**
 * Example pairs from a COCO annotation file (`captions_train2017.json` and its like): groups of five captions that five people wrote
 * for one image. A prompt shows two of a group as caption and rewrite (LaCLIP, section 3.1), so that the model learns to say what
 * another person would have said of the same image.
 */
import { basename } from "node:path";
import { z } from "zod";
import { DataError, Random, UsageError, readJson, sha256File } from "../../support/index.ts";
import { normalise } from "../checks/checks.ts";
import type { RecordedSource } from "./pairs-file.ts";
import { examplesPerPrompt } from "./pairs.ts";
import { exampleFault, safeCaption } from "../prompts/prompt.ts";

/** Captions of an image that are shown to the model; COCO has five for nearly every image, and more for some. */
const captionsPerImage = 5;

const annotationsSchema = z.object({
  info: z.object({ description: z.string().optional() }).optional(),
  annotations: z.array(z.object({ image_id: z.union([z.number(), z.string()]), caption: z.string() })),
});

/** What to draw from an annotation file. */
export interface CocoPairsOptions {
  /** Name of the new source. */
  name: string;
  /** Images. Default 16. */
  count?: number;
  seed: number;
  /** Program and version, for the record. */
  createdWith: string;
}

/**
 * Draws images and their captions from a COCO annotation file; the same seed draws the same from any order of the same annotations.
 * @throws DataError when the file is no caption annotation file, or has too few images with five different captions
 * @throws UsageError for fewer images than a prompt shows examples
 */
export async function cocoPairs(path: string, options: CocoPairsOptions): Promise<Omit<RecordedSource, "provenance">> {
  const { name, count = 16, seed, createdWith } = options;
  if (count < examplesPerPrompt)
    throw new UsageError(`A prompt shows ${examplesPerPrompt} pairs; ${count} images are too few for a source.`);
  const { info, annotations } = readAnnotations(path);
  const images = captionsByImage(annotations);
  const fit = [...images.keys()].filter((image) => images.get(image)!.length >= captionsPerImage).sort();
  if (fit.length < count) {
    throw new DataError(
      `${path}: ${fit.length} of its ${images.size} images have ${captionsPerImage} different captions; ${count} are needed.`,
      { mend: "Give COCO's own captions_train2017.json or captions_val2017.json, or ask for fewer images with --count." },
    );
  }
  const drawn = Random.of("pairs from coco", seed).sample(fit, count);
  return {
    name,
    groups: drawn.map((image) => images.get(image)!.slice(0, captionsPerImage)),
    record: {
      by: "annotations",
      dataset: info?.description?.trim() || basename(path),
      seed,
      captions: { name: basename(path), count: annotations.length, hash: await sha256File(path) },
      created: new Date().toISOString(),
      createdWith,
    },
  };
}

type Annotations = z.infer<typeof annotationsSchema>;

function readAnnotations(path: string): Annotations {
  const found = annotationsSchema.safeParse(readJson(path, "COCO annotation file"));
  if (found.success) return found.data;
  const issue = found.error.issues[0]!;
  throw new DataError(`${path}: this is no file of COCO captions: ${issue.path.join(".") || "top level"}: ${issue.message}.`, {
    mend: 'Expected {"annotations": [{"image_id": 1, "caption": "..."}, ...]}, as in captions_val2017.json; files of instances or keypoints have no captions.',
  });
}

/** The captions of each image that can be examples, in an order that does not depend on that of the file; each once. */
function captionsByImage(annotations: Annotations["annotations"]): Map<string, string[]> {
  const images = new Map<string, Map<string, string>>();
  for (const { image_id: image, caption } of annotations) {
    const id = String(image);
    let captions = images.get(id);
    if (!captions) images.set(id, (captions = new Map()));
    const { text, shortened } = safeCaption(caption);
    const plain = normalise(text);
    if (shortened || plain === "" || exampleFault(text) !== undefined) continue;
    const known = captions.get(plain);
    if (known === undefined || text < known) captions.set(plain, text);
  }
  return new Map([...images].map(([id, captions]) => [id, [...captions.values()].sort()]));
}
