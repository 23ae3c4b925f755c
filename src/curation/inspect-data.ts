/**
 * A data set as it is before anyone trains on it: how much there is, what the captions and images are like, what is broken, what is
 * there twice, whether rewrites fit, and some samples to look at.
 */
import { basename, resolve } from "node:path";
import { shownShards } from "../data/index.ts";
import { Random } from "../support/index.ts";
import { surveyCaptions } from "./caption-survey.ts";
import type { CaptionSurvey } from "./caption-survey.ts";
import { surveyImages } from "./image-survey.ts";
import type { ImageSurvey, Thumbnail } from "./image-survey.ts";
import type { DataKind } from "./image-collection.ts";
import { drawRows, openInspected } from "./inspected-data.ts";
import type { BesideText, InspectedDataOptions } from "./inspected-data.ts";
import { surveyRewrites } from "./rewrites-survey.ts";
import type { RewritesSurvey } from "./rewrites-survey.ts";

/** A sample to look at. */
export interface ShownSample {
  id: string;
  caption: string;
  /** Its rewrites: of the rewrites folder, else those in the tars. */
  rewrites: BesideText[];
  /** Left out where nobody asked for pictures. */
  picture?: Thumbnail;
}

/** What was found. */
export interface DataInspection {
  path: string;
  kind: DataKind;
  tars: number;
  /** What is wrong with tars that can't be read to their end. */
  damaged: string[];
  /** Samples of tars whose id an earlier one has too. */
  repeatedIds: number;
  /** Rows of the table, annotations, samples of the tars, or images by class. */
  rows: number;
  /** Of those, how many have a caption and an image; the others by what they lack, with the first few. */
  samples: number;
  withoutCaption: number;
  withoutImage: number;
  leftOut: string[];
  captions: CaptionSurvey;
  images: ImageSurvey;
  /** Rewrites that stand in the tars, by source. */
  packed: Record<string, number>;
  rewrites?: RewritesSurvey;
  shown: ShownSample[];
}

/** What is looked at, and how much of it. */
export interface InspectDataOptions extends Omit<InspectedDataOptions, "show" | "seed"> {
  /** A rewrites folder to hold against the data. */
  rewrites?: string | undefined;
  /** Most images that are decoded and counted. Default 2,000. */
  sample?: number | undefined;
  /** Samples to show. Default 5. */
  show?: number | undefined;
  /** Draws what is looked at and shown. Default 0. */
  seed?: number | undefined;
  /** Whether pictures of the shown samples are wanted. Default false. */
  pictures?: boolean | undefined;
}

/**
 * Looks at a data set.
 * @throws DataError when a table, tar or rewrites folder is missing or damaged, or the ids of a table repeat
 */
export async function inspectData(options: InspectDataOptions): Promise<DataInspection> {
  const { rewrites, sample = 2000, show = 5, seed = 0, pictures: withPictures = false, ...source } = options;
  const data = await openInspected({ ...source, show, seed });
  const { pairs, kind, tars, damaged, repeatedIds, packed, shown } = data;
  const { samples, rows, skipped } = pairs;
  const rowsShown = [...shown.keys()];
  const looked = drawRows(samples.length, sample, Random.of(seed, "images"));
  const { survey: images, pictures } = await surveyImages(data, looked, withPictures ? rowsShown : []);
  const held = rewrites === undefined ? undefined : await surveyRewrites(pairs, rewrites, new Set(rowsShown));
  return {
    path: shownShards(options.path),
    kind,
    tars,
    damaged: [...damaged],
    repeatedIds,
    rows,
    samples: samples.length,
    withoutCaption: skipped.emptyCaptions,
    withoutImage: skipped.missingImages,
    leftOut: skipped.examples,
    captions: surveyCaptions(samples, seed),
    images,
    packed: { ...packed },
    ...(held ? { rewrites: held.survey } : {}),
    shown: rowsShown.map((row) => ({
      id: samples.id(row),
      caption: samples.caption(row),
      rewrites: held ? (held.texts.get(row) ?? []) : [...shown.get(row)!],
      ...(pictures.has(row) ? { picture: pictures.get(row)! } : {}),
    })),
  };
}

/** The data set's name for people. */
export function inspectedName({ path }: Pick<DataInspection, "path">): string {
  return basename(resolve(path));
}
