/**
 * What classes are called, and the prompts their names go into: files beside a data set, or given from outside.
 *
 * Names and folders that do not match are refused: scored against each other's names, every model looks as if it were guessing.
 */
import { DataError, nearest, readJson, readText } from "../support/index.ts";

/**
 * The names of each class folder, in the folders' order. A class may have several names.
 * @param file `.txt`: a line for each folder, in their order. JSON: an object from folder to its name or list of names, or a list of
 *   these in the folders' order
 * @param folders in sorted order
 * @throws DataError when there is no such file, or its names do not match the folders
 */
export function readClassNames(file: string, folders: readonly string[]): string[][] {
  if (/\.txt$/i.test(file)) return inOrder(file, lines(file, "list of class names"), folders);
  const value = readJson(file, "list of class names");
  if (Array.isArray(value)) return inOrder(file, value, folders);
  if (typeof value === "object" && value !== null) return byFolder(file, value as Record<string, unknown>, folders);
  throw new DataError(`${file}: expected an object from folder to names, or a list of names.`);
}

/**
 * What a file of class names is for, where no folders say it: the keys of an object, or how many names a list has.
 * @throws DataError when there is no such file, or it is neither
 */
export function classKeys(file: string): string[] | number {
  if (/\.txt$/i.test(file)) return lines(file, "list of class names").length;
  const value = readJson(file, "list of class names");
  if (Array.isArray(value)) return value.length;
  if (typeof value === "object" && value !== null) return Object.keys(value);
  throw new DataError(`${file}: expected an object from label to names, or a list of names.`);
}

/**
 * Prompts with `{}` for the class name, a line each.
 * @throws DataError when there is no such file, no line in it, or one that does not hold `{}` once
 */
export function readTemplates(file: string): string[] {
  const found = lines(file, "file of templates");
  const wrong = found.find((line) => line.split("{}").length !== 2);
  if (wrong !== undefined) throw new DataError(`${file}: ${JSON.stringify(wrong)} must hold {} once, where the class name goes.`);
  if (found.length === 0) throw new DataError(`${file}: there is no template in it.`, { mend: "Add a line such as: a photo of a {}." });
  return found;
}

/** The first few of a list of names, for messages. */
export function firstFew(names: readonly string[]): string {
  return names.slice(0, 5).join(", ") + (names.length > 5 ? ", ..." : "");
}

function inOrder(file: string, entries: readonly unknown[], folders: readonly string[]): string[][] {
  if (entries.length !== folders.length) {
    throw new DataError(`${file}: ${entries.length} names for ${folders.length} classes.`, {
      mend: `A name is needed for each class, in sorted order: ${firstFew(folders)}. Or use an object from class to name.`,
    });
  }
  const names = entries.map((entry, i) => namesOf(file, entry, folders[i]!));
  // A list that holds the folders' own names, but in another order, was made for another order.
  const spelled = (name: string): string => name.replaceAll(" ", "_").toLowerCase();
  const known = new Set(folders.map(spelled));
  for (const [i, own] of names.entries()) {
    const folder = folders[i]!;
    if (own.some((name) => spelled(name) === spelled(folder))) continue;
    const other = own.find((name) => known.has(spelled(name)));
    if (other === undefined) continue;
    throw new DataError(`${file}: name ${i + 1} is "${other}" for class "${folder}", yet there is a class of that name.`, {
      mend: "Bring the names into the sorted order of the classes, or use an object from class to name.",
    });
  }
  return names;
}

function byFolder(file: string, entries: Record<string, unknown>, folders: readonly string[]): string[][] {
  const missing = folders.filter((folder) => !Object.hasOwn(entries, folder));
  if (missing.length > 0) {
    const hint = nearest(missing[0]!, Object.keys(entries), 1)[0];
    throw new DataError(`${file}: no name for ${missing.length} of ${folders.length} classes: ${firstFew(missing)}.`, {
      mend: hint === undefined ? "Add their names." : `Add their names. It has one for "${hint}".`,
    });
  }
  const there = new Set(folders);
  const extra = Object.keys(entries).filter((name) => !there.has(name));
  if (extra.length > 0) {
    throw new DataError(`${file}: ${extra.length} names belong to no class: ${firstFew(extra)}.`, {
      mend: "Remove them, or add images of these classes.",
    });
  }
  return folders.map((folder) => namesOf(file, entries[folder], folder));
}

function namesOf(file: string, entry: unknown, folder: string): string[] {
  const names: unknown[] = Array.isArray(entry) ? entry : [entry];
  if (names.length > 0 && names.every((name) => typeof name === "string" && name.trim() !== "")) return names as string[];
  throw new DataError(`${file}: the entry of class "${folder}" is neither a name nor a list of names.`);
}

function lines(file: string, what: string): string[] {
  return readText(file, what)
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "");
}
