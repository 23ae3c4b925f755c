/**
 * What a data set for retrieval is: images, and captions that each belong to one of them; most images have several.
 *
 * A caption finds its image when that image is the nearest; an image finds its captions when one of them is. Published sets are opened by
 * name, one's own by the path of a table of images and captions.
 */
import { existsSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import type { EvaluationItem } from "../../../data/index.ts";
import { DataError, UsageError, nearest } from "../../../support/index.ts";
import { DatasetFiles } from "../dataset-files.ts";
import { type DatasetDefinition, type SplitName, refuseColumns } from "../dataset.ts";
import { findDataset } from "../open-dataset.ts";
import { isBenchmarkFolder, openBenchmarkRetrieval } from "../benchmark-shards.ts";
import { flickr30k } from "./flickr30k.ts";
import { mscocoCaptions, mscocoCaptions2017 } from "./mscoco.ts";
import { openRetrievalTable } from "./retrieval-table.ts";

/** An image and what is said of it. */
export interface CaptionedImage {
  /** Path below the set's folder. */
  image: string;
  captions: readonly string[];
}

/** How many of each a split has. */
export interface RetrievalCount {
  images: number;
  captions: number;
}

/** A set that was opened: what retrieval takes. */
export interface RetrievalDataset {
  /** Short name; of one's own table the file's name. Stands in results. */
  name: string;
  /** Name for people. */
  title: string;
  task: "retrieval";
  split: SplitName;
  /** Absolute path of the folder or table in which it was found. */
  path: string;
  /** `[I]`; the `label` of an image is its index. */
  images: EvaluationItem[];
  /** `[T]` in the order of their images, those of one image beside each other. */
  captions: string[];
  /** `[T]` index of the image of each caption, never falling. */
  imageOf: Uint32Array;
  checked: {
    found: RetrievalCount;
    /** What was published; undefined where nobody did. */
    expected: RetrievalCount | undefined;
    /** What is wrong with this copy, a sentence each: only with `incomplete`, otherwise the first of them is an error. */
    problems: string[];
    notes: string[];
  };
}

/** What a definition finds in a folder. */
export interface OpenedRetrieval {
  entries: CaptionedImage[];
  /** Published counts of this split in this layout, where they differ from the definition's. */
  expected?: RetrievalCount | undefined;
}

/** A published set for retrieval; for what is said of it see `DatasetDefinition`. */
export interface RetrievalDefinition extends Pick<
  DatasetDefinition,
  "name" | "aliases" | "title" | "licence" | "page" | "archives" | "layout" | "origin" | "places" | "markers"
> {
  /** Published counts of each split. */
  expected: Partial<Record<SplitName, RetrievalCount>>;
  /**
   * Reads the lists of a split.
   * @throws DataError when a list is missing, damaged, or does not have the split
   */
  open(files: DatasetFiles, split: SplitName): OpenedRetrieval | Promise<OpenedRetrieval>;
}

/** All published retrieval sets that are known by name. */
export const retrievalDefinitions: readonly RetrievalDefinition[] = [mscocoCaptions, mscocoCaptions2017, flickr30k];

/** Where a set is looked for, and which part of it is meant. */
export interface OpenRetrievalOptions {
  /** Folder of the published sets. Default: LACLIP_DATASETS. */
  root?: string | undefined;
  /** Default "test". A table of one's own has splits where it has a column `split`; else it is taken whole, as test. */
  split?: SplitName | undefined;
  /** Column of a table's image paths, see `openCaptionTable`. */
  imageColumn?: string | undefined;
  /** Column of a table's captions, likewise. */
  captionColumn?: string | undefined;
  /** Open a copy in which images are missing; what is wrong is written into `checked.problems`. Default false. */
  incomplete?: boolean | undefined;
}

/** The retrieval set of this name or alias, whatever its capitals; undefined when there is none. */
export function findRetrievalDefinition(name: string): RetrievalDefinition | undefined {
  const asked = name.toLowerCase();
  return retrievalDefinitions.find(({ name, aliases }) => name === asked || aliases?.includes(asked));
}

/**
 * Opens a published set by its name; a table of images and captions by its path; or a folder of tars as CLIP_benchmark lays them out.
 *
 * @throws UsageError when there is no such file or set, or no root; DataError when the copy is not whole, see `incomplete`
 */
export async function openRetrievalDataset(nameOrPath: string, options: OpenRetrievalOptions = {}): Promise<RetrievalDataset> {
  const root = options.root ?? (process.env.LACLIP_DATASETS || undefined);
  const definition = findRetrievalDefinition(nameOrPath);
  const isThere = existsSync(nameOrPath);
  const refuse = (): void => refuseColumns(nameOrPath, [options.imageColumn, options.captionColumn]);
  if (definition !== undefined && (root !== undefined || !isThere)) {
    refuse();
    if (root !== undefined) return await openDefinition(definition, root, options);
    throw new UsageError(`Where is ${definition.title}? No folder of data sets is known.`, {
      mend: "Give it with --root DIR, or set LACLIP_DATASETS. `laclip evaluate datasets` says what belongs there.",
    });
  }
  if (!isThere && !/[/\\.]/.test(nameOrPath)) {
    const names = retrievalDefinitions.map(({ name }) => name);
    throw new UsageError(`There is no retrieval set "${nameOrPath}".`, {
      mend: `Did you mean ${nearest(nameOrPath, names).join(", ")}? A table of your own, with images and captions, is given by its path.`,
    });
  }
  const path = resolve(nameOrPath);
  const { split = "test" } = options;
  const files = new DatasetFiles(basename(path), path, { incomplete: options.incomplete ?? false });
  if (isThere && statSync(path).isDirectory() && isBenchmarkFolder(path)) {
    refuse();
    const entries = await openBenchmarkRetrieval(path, split);
    return gathered({ name: basename(path), title: basename(path), split, path }, entries, undefined, files);
  }
  const { entries, note } = await openRetrievalTable(path, options, files);
  files.notes.push(note);
  return gathered({ name: basename(path).replace(/\.[^.]+$/, ""), title: basename(path), split, path }, entries, undefined, files);
}

async function openDefinition(definition: RetrievalDefinition, root: string, options: OpenRetrievalOptions): Promise<RetrievalDataset> {
  const { name, title, places, markers, page, layout, expected } = definition;
  const path = findDataset(definition, root);
  if (path === undefined) {
    throw new DataError(`${resolve(root)}: ${title} is not there. Looked for ${markers.join(" or ")} in ${places.join(", ")}.`, {
      mend: `Download it from ${page}. ${layout}`,
    });
  }
  const { split = "test" } = options;
  const files = new DatasetFiles(title, path, { incomplete: options.incomplete ?? false });
  const opened = await definition.open(files, split);
  const listed = opened.entries;
  const items = files.listed(
    `${title}, ${split}`,
    listed.map(({ image }, label) => ({ image, label })),
  );
  const entries = items.map(({ path: image, label }) => ({ item: { path: image }, captions: listed[label]!.captions }));
  return gathered({ name, title, split, path }, entries, opened.expected ?? expected[split], files);
}

/** An image that was found, and its captions. */
export interface FoundImage {
  item: Omit<EvaluationItem, "label">;
  captions: readonly string[];
}

function gathered(
  about: Pick<RetrievalDataset, "name" | "title" | "split" | "path">,
  entries: readonly FoundImage[],
  expected: RetrievalCount | undefined,
  files: DatasetFiles,
): RetrievalDataset {
  const images: EvaluationItem[] = [];
  const captions: string[] = [];
  const owners: number[] = [];
  for (const { item, captions: own } of entries) {
    const kept = own.map((caption) => caption.trim()).filter((caption) => caption !== "");
    if (kept.length === 0) {
      files.problem(`${item.path} has no caption.`, "Add one, or leave the image out.");
      continue;
    }
    for (const caption of kept) {
      captions.push(caption);
      owners.push(images.length);
    }
    images.push({ ...item, label: images.length });
  }
  if (images.length === 0) throw new DataError(`${about.path}: there is no image with a caption to ${about.split} in it.`);
  const found = { images: images.length, captions: captions.length };
  if (expected !== undefined && (found.images !== expected.images || found.captions !== expected.captions)) {
    files.problem(
      `${found.images} images and ${found.captions} captions to ${about.split}, expected ${expected.images} and ${expected.captions}.`,
      "Unpack the download again.",
    );
  }
  return {
    ...about,
    task: "retrieval",
    images,
    captions,
    imageOf: Uint32Array.from(owners),
    checked: { found, expected, problems: files.problems, notes: files.notes },
  };
}
