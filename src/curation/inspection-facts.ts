/**
 * What an inspection found, in words that both the terminal and the page use: the facts, and what is worth a second look.
 */
import { formatBytes, percent, percentOf, thousands } from "../support/index.ts";
import type { Spread } from "./image-survey.ts";
import type { DataInspection } from "./inspect-data.ts";

/** Facts as pairs of a name and a value. */
export type Facts = [name: string, value: string][];

/** Number of samples, and what the others lack. */
export function describeSamples({ kind, tars, rows, samples, withoutCaption, withoutImage }: DataInspection): string {
  const names = {
    table: "rows of a table",
    annotations: "annotations",
    tars: `samples in ${thousands(tars)} ${tars === 1 ? "tar" : "tars"}`,
    classes: "images by class",
  };
  const from = names[kind];
  if (rows === samples) return `${thousands(rows)} ${from}, each with a caption and an image`;
  const lacking = [
    withoutCaption > 0 ? `${thousands(withoutCaption)} without a caption` : "",
    withoutImage > 0 ? `${thousands(withoutImage)} without an image` : "",
  ].filter((words) => words !== "");
  return `${thousands(rows)} ${from}, ${thousands(samples)} of them with both caption and image, ${lacking.join(", ")}`;
}

/** How many captions and images were looked at, where that was not all. */
export function describeSampling({ samples, captions, images }: DataInspection): string | undefined {
  const parts = [
    captions.length.texts < samples ? `lengths are those of ${thousands(captions.length.texts)} captions` : "",
    images.looked < samples ? `what is said of images is measured on ${thousands(images.looked)}` : "",
  ].filter((words) => words !== "");
  return parts.length === 0 ? undefined : `Drawn by chance from all: ${parts.join("; ")}.`;
}

/** The captions in numbers. */
export function captionFacts({ samples, captions }: DataInspection): Facts {
  const { length, distinct, repeated } = captions;
  return [
    ["different captions", thousands(distinct)],
    ["the same as an earlier one", `${thousands(repeated)} (${percentOf(repeated, samples)})`],
    ["CLIP tokens", `${length.mean.toFixed(1)} on average, median ${length.median}, longest ${length.longest}`],
    ["over 77 tokens, cut off in training", percent(length.truncated)],
  ];
}

/** The images in numbers. */
export function imageFacts({ images }: DataInspection): Facts {
  const { looked, broken, formats, bytes, repeated, width, height, shorterSide } = images;
  const whole = Object.values(formats).reduce((sum, number) => sum + number, 0);
  const undecoded: Facts[number] = ["can't be decoded", `${thousands(broken)} of ${thousands(looked)} (${percentOf(broken, looked)})`];
  if (broken === looked) return [undecoded];
  return [
    undecoded,
    [
      "formats",
      Object.entries(formats)
        .map(([format, number]) => `${format} ${percentOf(number, whole)}`)
        .join(", "),
    ],
    ["width", `${spread(width)} pixels`],
    ["height", `${spread(height)} pixels`],
    ["shorter side", `${spread(shorterSide)} pixels`],
    ["file", `${formatBytes(bytes.least)} to ${formatBytes(bytes.most)}, ${formatBytes(bytes.mean)} on average`],
    ["the same file as an earlier one", `${thousands(repeated)} (${percentOf(repeated, looked)})`],
  ];
}

/** The rewrites in numbers; undefined where there are none. */
export function rewriteFacts({ samples, packed, rewrites }: DataInspection): Facts | undefined {
  const inTars = Object.entries(packed).map(([source, number]): [string, string] => [
    `in the tars: ${source}`,
    `${thousands(number)} (${percentOf(number, samples)})`,
  ]);
  if (!rewrites) return inTars.length > 0 ? inTars : undefined;
  const { texts, matched, unmatched, firstUnmatched, foreign, firstForeign, unusable, sameCaptions } = rewrites;
  const ids = (first: readonly string[]): string => (first.length > 0 ? `; first: ${first.join(", ")}` : "");
  return [
    ["samples with a rewrite", `${thousands(matched)} (${percentOf(matched, samples)})`],
    ["samples without", `${thousands(unmatched)}${ids(firstUnmatched)}`],
    ...Object.entries(texts).map(([source, number]): [string, string] => [`from ${source}`, thousands(number)]),
    ["rejected or empty", thousands(unusable)],
    ["of other ids", `${thousands(foreign)}${ids(firstForeign)}`],
    ["made for these captions", sameCaptions ? "yes" : "no, for others or for a part of them"],
    ...inTars,
  ];
}

/** What is worth a second look before training, as sentences. */
export function concerns(inspection: DataInspection): string[] {
  const { damaged, repeatedIds, rows, samples, captions, images, rewrites } = inspection;
  const found: string[] = damaged.map((message) => `A tar can't be read to its end. ${message}`);
  const add = (says: string): number => found.push(says);
  if (samples === 0) {
    const elsewhere =
      inspection.kind === "table" && inspection.withoutImage > 0 ? " Say with --images which folder their paths are relative to." : "";
    add(`Nothing can be trained on: no row has both a caption and an image.${elsewhere}`);
  }
  if (repeatedIds > 0)
    add(`${thousands(repeatedIds)} ids were there before; training refuses such tars unless another id is named (--id-column).`);
  if (rows > samples * 1.01)
    add(`${percentOf(rows - samples, rows)} of the rows can't be used: ${inspection.leftOut.slice(0, 2).join("; ")}.`);
  if (images.broken > images.looked * 0.01)
    add(`${percentOf(images.broken, images.looked)} of the images can't be decoded; training allows 1 % unless told otherwise.`);
  if (captions.length.truncated > 0.05)
    add(`${percent(captions.length.truncated)} of the captions are longer than CLIP reads; their ends are never seen.`);
  if (captions.repeated > samples * 0.1) {
    add(
      `${percentOf(captions.repeated, samples)} of the captions are there more than once: in a batch such pairs are counted as wrong although they are right.`,
    );
  }
  if (images.repeated > images.looked * 0.01)
    add(`${percentOf(images.repeated, images.looked)} of the images are the same file as another.`);
  if (images.shorterSide.median > 640) {
    add(
      `Half of the images have a shorter side of more than ${images.shorterSide.median - 1} pixels: packed with --resize they are read faster.`,
    );
  }
  if (rewrites && rewrites.matched < samples * 0.99)
    add(`${percentOf(rewrites.unmatched, samples)} of the samples have no rewrite; training refuses that unless told otherwise.`);
  if (rewrites && !rewrites.sameCaptions) add("The rewrites were made for other captions, or for a part of these.");
  return found;
}

function spread({ least, median, most }: Spread): string {
  return least === most ? String(least) : `${least} to ${most}, median ${median}`;
}
