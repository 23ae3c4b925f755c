/**
 * The files of one data set on disk: lists read by line, images looked up in folders, and what is missing written down.
 *
 * Folders are listed once instead of asking for each image: a set may have a million. With `incomplete`, what is missing is counted and left
 * out; without, it is an error.
 */
import { type Dirent, existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { type EvaluationItem, imageExtensions } from "../../data/index.ts";
import { DataError, explainReadFailure, readText } from "../../support/index.ts";

/** A line of a list, for messages about it. */
export interface ListedLine {
  text: string;
  /** Path of the list and number of the line, "meta/train.txt:12". */
  where: string;
}

export interface DatasetFilesOptions {
  /** What is missing or too much is written into `problems` instead of thrown. Default false. */
  incomplete?: boolean;
}

/** Reads the files of one set, below its folder. Names are relative to that, with `/`. */
export class DatasetFiles {
  /** What is wrong with this copy. */
  readonly problems: string[] = [];
  /** What is worth knowing about it. */
  readonly notes: string[] = [];
  readonly #incomplete: boolean;
  readonly #folders = new Map<string, Set<string>>();

  /** @param title the set's name for people @param path its absolute folder */
  constructor(
    readonly title: string,
    readonly path: string,
    { incomplete = false }: DatasetFilesOptions = {},
  ) {
    this.#incomplete = incomplete;
  }

  /** Something is wrong with the copy. @throws DataError unless `incomplete` */
  problem(message: string, mend: string): void {
    if (!this.#incomplete) {
      throw new DataError(`${this.path}: ${message}`, {
        mend: `${mend} \`laclip evaluate\` takes the copy as it is with --incomplete: then the result says what is wrong with it.`,
      });
    }
    this.problems.push(message);
  }

  /**
   * Checks a label of a list.
   * @param first the lowest label of the list, 0 or 1
   * @returns the label from 0
   * @throws DataError when it is no whole number or there is no such class
   */
  label(value: number, where: string, classes: number, first: 0 | 1): number {
    const label = value - first;
    if (Number.isInteger(label) && label >= 0 && label < classes) return label;
    throw new DataError(`${where}: label ${value}, expected ${first} to ${classes - 1 + first}.`, {
      mend: "The list is damaged or of another set: unpack the download again.",
    });
  }

  /** A reader of class names: the label of a name in `classes`. It throws a DataError for others. */
  labels(classes: readonly string[]): (name: string, where: string) => number {
    const known = new Map(classes.map((name, label) => [name, label]));
    return (name, where) => {
      const label = known.get(name);
      if (label !== undefined) return label;
      throw new DataError(`${where}: there is no class "${name}" among the ${classes.length} of ${this.title}.`, {
        mend: "The list is damaged or of another set: unpack the download again.",
      });
    };
  }

  /** Absolute path of a file or folder of the set. */
  at(name: string): string {
    return join(this.path, name);
  }

  has(name: string): boolean {
    return existsSync(this.at(name));
  }

  /** The first of these that is there. */
  first(...names: readonly string[]): string | undefined {
    return names.find((name) => this.has(name));
  }

  /** The lines of a list that are not empty. @throws DataError when it is missing or has none */
  lines(name: string): ListedLine[] {
    const lines = readText(this.at(name), "list")
      .split("\n")
      .map((text, i) => ({ text: text.trim(), where: `${this.at(name)}:${i + 1}` }))
      .filter(({ text }) => text !== "");
    if (lines.length === 0) throw new DataError(`${this.at(name)}: the list is empty.`, { mend: "Unpack the download again." });
    return lines;
  }

  /** Sub-folders in sorted order, without those that begin with a dot. @throws DataError when there is no such folder */
  folders(name: string): string[] {
    return this.#list(name)
      .filter((entry) => (entry.isSymbolicLink() ? this.#leadsToFolder(join(name, entry.name)) : entry.isDirectory()))
      .map((entry) => entry.name)
      .filter((folder) => !folder.startsWith("."))
      .sort();
  }

  /** Names of the images that lie in a folder, in sorted order. @throws DataError when there is no such folder */
  images(name: string): string[] {
    return this.#list(name)
      .filter((entry) => !entry.isDirectory() && !entry.name.startsWith(".") && isImage(entry.name))
      .map((entry) => entry.name)
      .sort();
  }

  /**
   * Images of a list, in its order, with those left out that are not there.
   * @param what what lists them, for messages
   * @throws DataError when some are missing, unless `incomplete`
   */
  listed(what: string, entries: readonly { image: string; label: number }[]): EvaluationItem[] {
    const missing: string[] = [];
    const items: EvaluationItem[] = [];
    for (const { image, label } of entries) {
      if (this.#isThere(image)) items.push({ path: this.at(image), label });
      else missing.push(image);
    }
    if (missing.length > 0) {
      this.problem(
        `${missing.length} of ${entries.length} images of ${what} are missing: ${missing.slice(0, 3).join(", ")}${missing.length > 3 ? ", ..." : ""}.`,
        "Unpack the archive of images again.",
      );
    }
    return items;
  }

  /**
   * All images of a folder for each class, class by class.
   * @param parent folder of the class folders @param classes their names, in the order of labels
   * @throws DataError when a folder is missing or empty, or another is there, unless `incomplete`
   */
  classFolders(parent: string, classes: readonly string[]): EvaluationItem[] {
    const there = new Set(this.folders(parent));
    const missing = classes.filter((name) => !there.has(name));
    const extra = [...there].filter((name) => !classes.includes(name));
    const few = (names: readonly string[]): string => names.slice(0, 3).join(", ") + (names.length > 3 ? ", ..." : "");
    if (missing.length > 0) {
      this.problem(`${missing.length} of ${classes.length} class folders are missing in ${parent}: ${few(missing)}.`, "Unpack it again.");
    }
    if (extra.length > 0) {
      this.problem(`${extra.length} folders in ${parent} are no classes of ${this.title}: ${few(extra)}.`, "Move them elsewhere.");
    }
    const items = classes.flatMap((name, label) =>
      there.has(name) ? this.images(`${parent}/${name}`).map((image) => ({ path: this.at(`${parent}/${name}/${image}`), label })) : [],
    );
    const filled = new Set(items.map(({ label }) => label));
    const empty = classes.filter((name, label) => there.has(name) && !filled.has(label));
    if (empty.length > 0) this.problem(`${empty.length} class folders in ${parent} hold no image: ${few(empty)}.`, "Unpack it again.");
    return items;
  }

  #isThere(name: string): boolean {
    const folder = dirname(name);
    let names = this.#folders.get(folder);
    if (names === undefined) {
      names = new Set(this.has(folder) ? this.#list(folder).map((entry) => entry.name) : []);
      this.#folders.set(folder, names);
    }
    return names.has(basename(name));
  }

  /** A link that leads nowhere may have been a class, which must not go missing in silence. */
  #leadsToFolder(name: string): boolean {
    const found = statSync(this.at(name), { throwIfNoEntry: false });
    if (found === undefined) throw new DataError(`${this.at(name)}: this link leads nowhere.`, { mend: "Mend the link, or remove it." });
    return found.isDirectory();
  }

  #list(name: string): Dirent[] {
    try {
      return readdirSync(this.at(name), { withFileTypes: true });
    } catch (error) {
      throw explainReadFailure(error, this.at(name), "Unpack the archive that holds it.");
    }
  }
}

/** Pixmaps are no images of training data, but GTSRB's are. */
function isImage(name: string): boolean {
  const extension = extname(name).toLowerCase();
  return imageExtensions.has(extension) || extension === ".ppm";
}
