/**
 * What a data set for evaluation is, whoever laid it out: classes with words for them, and images by split.
 *
 * A file beside this one that exports a `DatasetDefinition` knows one published set: how its download lies on disk, how many images it
 * has, what may be done with it. `openEvaluationDataset` turns a definition, or a folder of a person's own, into an `EvaluationDataset`.
 */
import type { EvaluationItem } from "../../data/index.ts";
import { DataError, UsageError } from "../../support/index.ts";
import type { DatasetFiles } from "./dataset-files.ts";

/** Splits under one name for all sets. `test` is what results are told of, also where the set calls it otherwise (ImageNet: val). */
export type SplitName = "train" | "validation" | "test";

export const splitNames: readonly SplitName[] = ["train", "validation", "test"];

const splitWords: Readonly<Record<string, SplitName>> = {
  train: "train",
  training: "train",
  validation: "validation",
  val: "validation",
  valid: "validation",
  test: "test",
};

/**
 * The split that a row of a table belongs to.
 * @param text what the table's column says
 * @param where the table and the row, for the message
 * @throws DataError for any other word than those of the three splits
 */
export function splitOfRow(text: string, where: string): SplitName {
  const split = splitWords[text.toLowerCase()];
  if (split === undefined) throw new DataError(`${where} is of the split "${text}", expected train, validation or test.`);
  return split;
}

/** @throws UsageError where columns are named of what is no table: what they were meant for would be passed over */
export function refuseColumns(dataset: string, columns: readonly (string | undefined)[]): void {
  const named = columns.find((column) => column !== undefined);
  if (named === undefined) return;
  throw new UsageError(`${dataset} is no table, and has no column "${named}".`, { mend: "Leave the column out, or give a table." });
}

/** The score by which a set is told of: share of right images, or the mean of that share over classes. */
export type DatasetMetric = "acc1" | "mean_per_class_recall";

/** What was looked at when a set was opened. */
export interface DatasetCheck {
  /** Images of each split that was opened. `expected` is the published number, undefined where nobody published one. */
  counts: { split: SplitName; found: number; expected: number | undefined }[];
  /** What is wrong with this copy, a sentence each: only with `incomplete`, otherwise the first of them is an error. */
  problems: string[];
  /** What a reader of results should know: which of several layouts was found, which split was drawn by chance and how. */
  notes: string[];
}

/** A set that was opened: what zero-shot, few-shot, linear probe and so on take. */
export interface EvaluationDataset {
  /** Short name, such as "food101"; of a person's own folder the folder's name. Stands in results. */
  name: string;
  /** Name for people, such as "Food-101". */
  title: string;
  task: "classification";
  metric: DatasetMetric;
  /** Whether it was opened by its name: false for a person's own folder. */
  published: boolean;
  /** Absolute path of the folder in which it was found. */
  path: string;
  /** What the set itself calls its classes; a label is an index into this list. */
  classes: string[];
  /** Words for each class, at least one. */
  names: string[][];
  /** What several names of a class mean together, see `ZeroShotClasses`. Default "mean". */
  several?: "mean" | "best";
  /** Prompts with `{}` for the name, at least one. */
  templates: string[];
  /** Whose names and templates these are: "own" where a file or the folders' names give them. */
  words: string;
  /** Images of the splits that were asked for and are there. Their `label` is an index into `classes`. */
  splits: Partial<Record<SplitName, EvaluationItem[]>>;
  checked: DatasetCheck;
}

/** What a definition finds in a folder. Splits are read only when somebody asks for them. */
export interface OpenedLayout {
  /** What the set calls its classes, in the order of its labels. */
  classes: string[];
  splits: Partial<Record<SplitName, () => EvaluationItem[] | Promise<EvaluationItem[]>>>;
  /** Images in all, where the definition says how many there should be. */
  total?: number | undefined;
  /** Words and prompts that lie in the folder itself, for layouts that bring them. */
  names?: string[][] | undefined;
  templates?: string[] | undefined;
  /** WordNet numbers of the classes of ImageNet that each class stands for, where it is scored by these (ObjectNet). */
  wordNet?: string[][] | undefined;
  /** Published images of each split in this layout, where it differs from the definition's. */
  expected?: Partial<Record<SplitName, number>> | undefined;
}

/** A published data set. Its file says what is known of the layout, and from where. */
export interface DatasetDefinition {
  /** Short name, as in CLIP_benchmark where it has one; what `--dataset` takes. */
  name: string;
  /** Other names by which people ask for it, in small letters. */
  aliases?: readonly string[];
  /** Name for people. */
  title: string;
  classCount: number;
  metric: DatasetMetric;
  /** What may be done with it, in a line. */
  licence: string;
  /** Page from which it is downloaded. */
  page: string;
  /** Files to download from there; one that lies below the root unopened is told of. */
  archives: readonly string[];
  /** How they lie below the root when they are unpacked, in a sentence or two. */
  layout: string;
  /** Where the splits come from, in a line. */
  origin: string;
  /** Published images of each split. */
  expected: Partial<Record<SplitName, number>>;
  /** Published images in all, where splits are drawn from some of them. */
  total?: number;
  /** Folders below the root in which it may lie, the usual ones first. */
  places: readonly string[];
  /** Paths within such a folder of which the first that exists shows that the set is there. */
  markers: readonly string[];
  /**
   * Looks at a folder in which a marker was found.
   * @throws DataError when a list is missing or damaged
   */
  open(files: DatasetFiles): OpenedLayout | Promise<OpenedLayout>;
}

/** The images of a split. @throws DataError when the set has no such split, or it is empty */
export function splitItems(dataset: EvaluationDataset, split: SplitName): EvaluationItem[] {
  const items = dataset.splits[split];
  if (items !== undefined && items.length > 0) return items;
  const there = splitNames.filter((name) => (dataset.splits[name]?.length ?? 0) > 0);
  throw new DataError(`${dataset.path}: ${dataset.title} has no ${split} images here.`, {
    mend: there.length === 0 ? "Download them first." : `There are images to ${there.join(", ")}. Choose one of these, or add the others.`,
  });
}
