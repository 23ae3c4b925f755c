/**
 * A folder for each class, images inside: the simplest labelled data set, for zero-shot classification.
 *
 * Beside the class folders may stand `classnames.txt` (a line for each folder, in the sorted order of the folders) or `classes.json`
 * (a list in that order, or an object from folder to name) with the names in words, and `templates.txt` with prompts, `{}` for the name.
 * Folders that are called by WordNet numbers, all or some of ImageNet's, need no names: the numbers say which classes they are.
 */
import { existsSync, statSync } from "node:fs";
import { extname, join, resolve } from "node:path";
import { DataError, readFolder } from "../support/index.ts";
import { BatchStream } from "./batch-stream.ts";
import { imageExtensions } from "./caption-table.ts";
import { areWordNetNumbers, classList } from "./class-lists.ts";
import { firstFew, readClassNames, readTemplates } from "./class-names.ts";
import { type EvaluationBatch, EvaluationImages, type EvaluationItem, type EvaluationSettings } from "./evaluation-images.ts";
import { imagesBelow, reportOthers } from "./listed-images.ts";

/** Classes and images of a data set that was opened. */
export interface LabelledFolder {
  /** Absolute path. */
  path: string;
  /** Class folders in sorted order; a label is an index into them. */
  folders: string[];
  /** Names of each class in words, at least one. */
  names: string[][];
  /** Prompts with `{}` for the name; undefined where the folder brings none. */
  templates: string[] | undefined;
  /** All images, class by class, in sorted order. */
  items: EvaluationItem[];
}

/** Files that take the place of the data set's own. */
export interface LabelledFolderOptions {
  /** File with the names of the classes, see `readClassNames`. Default: the folder's own, else ImageNet's, else the folders' names. */
  classes?: string | undefined;
  /** File with prompts, see `readTemplates`. Default: the folder's own. */
  templates?: string | undefined;
}

/** Names that folders of splits have. A class may be called "train" too; but it has images, where a split has classes. */
const splitFolder = /^(train(ing)?|val(id(ation)?)?|test)$/i;

/**
 * Finds the classes and images of a folder. Files given in the options take the place of its own, which then are not read.
 *
 * @throws DataError when there are no class folders, one is empty, the names do not match them, or they are splits with classes inside
 */
export function openLabelledFolder(folder: string, options: LabelledFolderOptions = {}): LabelledFolder {
  const path = resolve(folder);
  if (!existsSync(path)) throw new DataError(`${path}: no such folder.`);
  if (!statSync(path).isDirectory()) throw new DataError(`${path}: a file, expected a folder with a folder for each class.`);
  const folders = readFolder(path)
    .filter((name) => !name.startsWith(".") && isFolder(join(path, name)))
    .sort();
  if (folders.length === 0) {
    throw new DataError(`${path}: there is no class folder in it.`, { mend: "Put the images of each class into a folder of its own." });
  }
  if (folders.every((name) => splitFolder.test(name) && holdsFoldersOnly(join(path, name)))) {
    throw new DataError(`${path}: its folders are splits (${folders.join(", ")}), not classes.`, {
      mend: `Give one of them, such as ${join(folder, folders.find((name) => /^train/i.test(name)) ?? folders[0]!)}. Classes that are called so need images that lie in their folders themselves.`,
    });
  }
  const below = folders.map((name) => ({ name, ...imagesBelow(join(path, name)) }));
  const items = below.flatMap(({ name, images }, label) => images.map((image) => ({ path: join(path, name, image), label })));
  const filled = new Set(items.map(({ label }) => label));
  const empty = folders.filter((_, label) => !filled.has(label));
  if (empty.length > 0) {
    throw new DataError(`${path}: ${empty.length} of ${folders.length} class folders hold no image: ${firstFew(empty)}.`, {
      mend: `Images end in ${[...imageExtensions].join(", ")}. Fill these folders or remove them.`,
    });
  }
  reportOthers(
    path,
    below.flatMap(({ name, others }) => others.map((other) => join(name, other))),
  );
  const names = options.classes === undefined ? ownNames(path, folders) : readClassNames(options.classes, folders);
  const ownTemplates = join(path, "templates.txt");
  const templates = options.templates ?? (existsSync(ownTemplates) ? ownTemplates : undefined);
  return { path, folders, names, templates: templates === undefined ? undefined : readTemplates(templates), items };
}

/** How evaluation images are made, and how many may be missing. */
export interface EvaluationOptions extends EvaluationSettings {
  /** Share of images that may be unreadable, 0..1. Default 0.01. */
  maximumSkipped?: number;
  /** Batches made ahead. Default 3. */
  prefetch?: number;
  /** Whether unreadable images are told of at the end; `skipped` of the stream has them anyway. Default true. */
  report?: boolean;
}

/**
 * The images of a list in its order, made in a thread of their own. Unreadable ones are left out, counted and reported.
 *
 * @throws while loading: DataError when too many images can't be read
 */
export function evaluationBatches(items: readonly EvaluationItem[], options: EvaluationOptions): BatchStream<EvaluationBatch> {
  const { maximumSkipped = 0.01, prefetch = 3, report = true, ...settings } = options;
  const to = new EvaluationImages(items, settings).count;
  const job = { kind: "evaluation", from: 0, to, images: items.length, maximumSkipped, items, settings } as const;
  return new BatchStream<EvaluationBatch>(job, prefetch, report ? "they are left out of the evaluation" : undefined);
}

/** True for a folder with folders and without images of its own. */
function holdsFoldersOnly(path: string): boolean {
  const names = readFolder(path);
  return names.some((name) => isFolder(join(path, name))) && !names.some((name) => imageExtensions.has(extname(name).toLowerCase()));
}

/** Folders may be links; one that leads nowhere may have been a class, which must not go missing in silence. */
function isFolder(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new DataError(`${path}: this link leads nowhere.`, { mend: "Mend the link, or remove it." });
  return found.isDirectory();
}

function ownNames(path: string, folders: readonly string[]): string[][] {
  const found = ["classnames.txt", "classes.json"].filter((name) => existsSync(join(path, name)));
  if (found.length > 1) {
    throw new DataError(`${path}: both classnames.txt and classes.json name the classes.`, { mend: "Keep one of them." });
  }
  if (found.length === 1) return readClassNames(join(path, found[0]!), folders);
  if (areWordNetNumbers(folders)) return classList("imagenet1k").namesOf(folders, "openai", path);
  return folders.map((name) => [name.replaceAll("_", " ")]);
}
