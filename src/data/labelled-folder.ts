/**
 * A folder for each class, images inside: the simplest labelled data set, for zero-shot classification.
 *
 * Beside the class folders may stand `classnames.txt` (a line for each folder, in the sorted order of the folders) or `classes.json`
 * (a list in that order, or an object from folder to name) with the names in words, and `templates.txt` with prompts, `{}` for the name.
 * Names and folders that do not match are refused: scored against each other's names, every model looks as if it were guessing.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { extname, join, resolve } from "node:path";
import { DataError, nearest, readJson } from "../support/index.ts";
import { BatchStream } from "./batch-stream.ts";
import { type EvaluationBatch, EvaluationImages, type EvaluationItem, type EvaluationSettings } from "./evaluation-images.ts";

const imageExtensions = new Set([".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".avif", ".bmp"]);

export interface LabelledFolder {
  /** Absolute path. */
  path: string;
  /** Class folders in sorted order; a label is an index into them. */
  folders: string[];
  /** Name of each class in words. */
  classes: string[];
  /** Prompts with `{}` for the name; undefined where the folder brings none. */
  templates: string[] | undefined;
  /** All images, class by class, in sorted order. */
  items: EvaluationItem[];
}

/** @throws DataError when there are no class folders, one is empty, or the names do not match them */
export function openLabelledFolder(folder: string): LabelledFolder {
  const path = resolve(folder);
  if (!existsSync(path)) throw new DataError(`${path}: no such folder.`);
  if (!statSync(path).isDirectory()) throw new DataError(`${path}: a file, expected a folder with a folder for each class.`);
  const folders = readdirSync(path)
    .filter((name) => !name.startsWith(".") && statSync(join(path, name)).isDirectory())
    .sort();
  if (folders.length === 0) {
    throw new DataError(`${path}: there is no class folder in it.`, { mend: "Put the images of each class into a folder of its own." });
  }
  const items = folders.flatMap((name, label) => imagesBelow(join(path, name)).map((image) => ({ path: image, label })));
  const filled = new Set(items.map(({ label }) => label));
  const empty = folders.filter((_, label) => !filled.has(label));
  if (empty.length > 0) {
    throw new DataError(`${path}: ${empty.length} of ${folders.length} class folders hold no image: ${list(empty)}.`, {
      mend: `Images end in ${[...imageExtensions].join(", ")}. Fill these folders or remove them.`,
    });
  }
  return { path, folders, classes: classNames(path, folders), templates: templates(path), items };
}

export interface EvaluationOptions extends EvaluationSettings {
  /** Share of images that may be unreadable, 0..1. Default 0.01. */
  maximumSkipped?: number;
  /** Batches made ahead. Default 3. */
  prefetch?: number;
}

/**
 * The images of a list in its order, made in a thread of their own. Unreadable ones are left out, counted and reported.
 *
 * @throws while loading: DataError when too many images can't be read
 */
export function evaluationBatches(items: readonly EvaluationItem[], options: EvaluationOptions): BatchStream<EvaluationBatch> {
  const { maximumSkipped = 0.01, prefetch = 3, ...settings } = options;
  const to = new EvaluationImages(items, settings).count;
  const job = { kind: "evaluation", from: 0, to, images: items.length, maximumSkipped, items, settings } as const;
  return new BatchStream<EvaluationBatch>(job, prefetch, "they are left out of the evaluation");
}

function imagesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => imageExtensions.has(extname(name).toLowerCase()))
    .sort()
    .map((name) => join(folder, name));
}

function classNames(path: string, folders: readonly string[]): string[] {
  const [text, json] = [join(path, "classnames.txt"), join(path, "classes.json")];
  if (existsSync(text) && existsSync(json)) {
    throw new DataError(`${path}: both classnames.txt and classes.json name the classes.`, { mend: "Keep one of them." });
  }
  if (existsSync(text)) return inOrder(text, lines(text), folders);
  if (!existsSync(json)) return namesFromFolders(path, folders);
  const value = readJson(json, "list of class names");
  if (Array.isArray(value) && value.every((name) => typeof name === "string")) return inOrder(json, value, folders);
  if (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((name) => typeof name === "string")
  ) {
    return byFolder(json, value as Record<string, string>, folders);
  }
  throw new DataError(`${json}: expected a list of names, or an object from folder to name.`);
}

function namesFromFolders(path: string, folders: readonly string[]): string[] {
  if (folders.every((name) => /^n\d{8}$/.test(name))) {
    throw new DataError(`${path}: the folders are WordNet numbers (${folders[0]}, ...), and nothing says what they mean.`, {
      mend: 'Add classes.json, an object from folder to name: {"n01440764": "tench", ...}.',
    });
  }
  return folders.map((name) => name.replaceAll("_", " "));
}

function inOrder(file: string, names: readonly string[], folders: readonly string[]): string[] {
  if (names.length !== folders.length) {
    throw new DataError(`${file}: ${names.length} class names for ${folders.length} class folders.`, {
      mend: `A name is needed for each folder, in sorted order: ${list(folders)}. Or use classes.json, an object from folder to name.`,
    });
  }
  // A list that holds the folders' own names, but in another order, was made for another order.
  const spelled = names.map((name) => name.replaceAll(" ", "_").toLowerCase());
  const known = new Set(folders.map((folder) => folder.replaceAll(" ", "_").toLowerCase()));
  const wrong = spelled.findIndex((name, i) => known.has(name) && name !== folders[i]!.replaceAll(" ", "_").toLowerCase());
  if (wrong >= 0) {
    throw new DataError(
      `${file}: name ${wrong + 1} is "${names[wrong]}" for folder "${folders[wrong]}", yet there is a folder of that name.`,
      {
        mend: "Bring the names into the sorted order of the folders, or use classes.json, an object from folder to name.",
      },
    );
  }
  return [...names];
}

function byFolder(file: string, names: Record<string, string>, folders: readonly string[]): string[] {
  const missing = folders.filter((folder) => !Object.hasOwn(names, folder));
  if (missing.length > 0) {
    const hint = nearest(missing[0]!, Object.keys(names), 1)[0];
    throw new DataError(`${file}: no name for ${missing.length} of ${folders.length} class folders: ${list(missing)}.`, {
      mend: hint === undefined ? "Add their names." : `Add their names. It has one for "${hint}".`,
    });
  }
  const extra = Object.keys(names).filter((name) => !folders.includes(name));
  if (extra.length > 0) {
    throw new DataError(`${file}: ${extra.length} names belong to no folder: ${list(extra)}.`, {
      mend: "Remove them, or add their folders of images.",
    });
  }
  return folders.map((folder) => names[folder]!);
}

function templates(path: string): string[] | undefined {
  const file = join(path, "templates.txt");
  if (!existsSync(file)) return undefined;
  const found = lines(file);
  const wrong = found.find((line) => line.split("{}").length !== 2);
  if (wrong !== undefined) throw new DataError(`${file}: ${JSON.stringify(wrong)} must hold {} once, where the class name goes.`);
  if (found.length === 0) throw new DataError(`${file}: there is no template in it.`, { mend: "Add a line such as: a photo of a {}." });
  return found;
}

function lines(file: string): string[] {
  return readFileSync(file, "utf8")
    .replace(/^\ufeff/, "")
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

function list(names: readonly string[]): string {
  return names.slice(0, 5).join(", ") + (names.length > 5 ? ", ..." : "");
}
