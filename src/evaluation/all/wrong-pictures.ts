/**
 * Small pictures of what a classifier gets wrong, kept beside the result: a report then shows them wherever it is made, also of data sets
 * whose images lie in no files of their own.
 */
import { existsSync, rmSync } from "node:fs";
import { z } from "zod";
import { type EvaluationItem, evaluationBatches } from "../../data/index.ts";
import { encodeJpeg } from "../../images/index.ts";
import { readJsonLines, writeFileAtomic } from "../../support/index.ts";
import { classScores, confusionMatrix } from "../results/confusion.ts";
import type { ClassifiedItem } from "../results/outcomes.ts";
import { type EvaluationResult, type StoredResult, resultPlace } from "../results/result.ts";

const pictureSchema = z.object({
  /** As in the predictions. */
  item: z.string(),
  label: z.number().int(),
  guess: z.number().int(),
  confidence: z.number(),
  /** A JPEG, in base64. */
  jpeg: z.string(),
});

/** An image that was taken for another class. */
export type WrongPicture = z.infer<typeof pictureSchema>;

// Not `.json`: CLIP_benchmark would take it for a result.
const ending = ".wrong.jsonl";

/** How many are kept. */
const worstClasses = 12;
const picturesOfEach = 4;
/** Side in pixels. */
const side = 96;

/**
 * Writes the pictures of the classes with the least recall, of each the images that the model was most sure of.
 * @param images those that `items` speaks of, in the same order
 * @returns how many there are; without any, there is no file
 */
export async function writeWrongPictures(
  folder: string,
  result: EvaluationResult,
  { items, images, classes }: { items: readonly ClassifiedItem[]; images: readonly EvaluationItem[]; classes: number },
): Promise<number> {
  const worst = classScores(confusionMatrix(items, classes))
    .filter(({ recall }) => recall < 1)
    .slice(0, worstClasses);
  const chosen = worst.flatMap(({ label }) =>
    items
      .flatMap((item, i) => (item.label === label && item.guesses[0] !== label ? [i] : []))
      .sort((a, b) => items[b]!.confidence - items[a]!.confidence)
      .slice(0, picturesOfEach),
  );
  const path = `${resultPlace(folder, result)}${ending}`;
  if (chosen.length === 0) {
    // Those of a result that was there before are not this one's.
    rmSync(path, { force: true });
    return 0;
  }
  const batches = evaluationBatches(
    chosen.map((i) => images[i]!),
    { size: side, interpolation: "bicubic", batchSize: 16, maximumSkipped: 1, report: false },
  );
  const lines: string[] = [];
  try {
    for await (const { images: pixels, rows } of batches) {
      for (const [k, row] of rows.entries()) {
        const { item, label, guesses, confidence } = items[chosen[row]!]!;
        const bytes = side * side * 3;
        const data = Buffer.from(pixels.subarray(k * bytes, (k + 1) * bytes));
        const jpeg = (await encodeJpeg({ width: side, height: side, data }, { quality: 80 })).toString("base64");
        lines.push(JSON.stringify({ item, label, guess: guesses[0]!, confidence, jpeg } satisfies WrongPicture));
      }
    }
  } finally {
    await batches.close();
  }
  writeFileAtomic(path, lines.map((line) => `${line}\n`).join(""));
  return lines.length;
}

/** The pictures beside a result; none where there is no such file. Lines that are no pictures are left out: a report without them is better than none. */
export function readWrongPictures({ path }: StoredResult): WrongPicture[] {
  const file = path.replace(/\.json$/, ending);
  if (!existsSync(file)) return [];
  const { lines } = readJsonLines(file, "file of pictures", { damaged: "mark" });
  return lines.flatMap(({ value }) => {
    const picture = pictureSchema.safeParse(value);
    return picture.success ? [picture.data] : [];
  });
}
