/**
 * Data sets as CLIP_benchmark packs them (`clip_benchmark_export_wds`, and the `wds_*` sets that its authors publish): tars in a folder
 * for each split, and lists beside them.
 *
 *     test/nshards.txt, test/0.tar, test/1.tar, ...      members NAME.webp (or .jpg, .png) and NAME.cls, the number of the class
 *     classnames.txt                                     a line for each class, in the order of the numbers
 *     zeroshot_classification_templates.txt              prompts, {c} for the name
 *     dataset_type.txt                                   "retrieval" where NAME.txt has captions, a line each, in place of the .cls
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type EvaluationItem, noteSamples } from "../../data/index.ts";
import { DataError, readText } from "../../support/index.ts";
import type { OpenedLayout, SplitName } from "./dataset.ts";
import type { FoundImage } from "./retrieval/retrieval-dataset.ts";

/** Folders of our splits. */
const folders: Readonly<Record<SplitName, readonly string[]>> = {
  train: ["train"],
  validation: ["validation", "val", "valid"],
  test: ["test"],
};

const templatesFile = "zeroshot_classification_templates.txt";

/** True for a folder that is laid out so. */
export function isBenchmarkFolder(path: string): boolean {
  return Object.values(folders)
    .flat()
    .some((name) => existsSync(join(path, name, "nshards.txt")));
}

/**
 * Opens one for classification.
 * @throws DataError when the list of names is missing, or it is a set for retrieval; when a split is read: when a tar is missing or
 *   damaged, a sample has no image or no class, or a class is out of range
 */
export function openBenchmarkClasses(path: string): OpenedLayout {
  if (isRetrieval(path)) {
    throw new DataError(`${path}: this is a set for retrieval (dataset_type.txt), it has no classes.`, {
      mend: "Use `laclip evaluate retrieval`.",
    });
  }
  const names = lines(path, "classnames.txt");
  const templates = existsSync(join(path, templatesFile)) ? lines(path, templatesFile).map((line) => template(line, path)) : undefined;
  const splits: OpenedLayout["splits"] = {};
  for (const split of Object.keys(folders) as SplitName[]) {
    if (splitFolder(path, split) !== undefined) splits[split] = async () => await labelled(path, split, names.length);
  }
  return { classes: names, names: names.map((name) => [name]), templates, splits };
}

/**
 * Opens a split of one for retrieval.
 * @throws DataError as above
 */
export async function openBenchmarkRetrieval(path: string, split: SplitName): Promise<FoundImage[]> {
  if (!isRetrieval(path)) {
    throw new DataError(`${path}: this is a set for classification, its dataset_type.txt does not say "retrieval".`, {
      mend: "Use `laclip evaluate zero-shot`.",
    });
  }
  const found: FoundImage[] = [];
  for await (const { item, text } of samples(path, split, "txt", "captions")) found.push({ item, captions: text.split("\n") });
  return found;
}

function isRetrieval(path: string): boolean {
  const file = join(path, "dataset_type.txt");
  return existsSync(file) && readText(file, "type of the data set").trim().toLowerCase() === "retrieval";
}

async function labelled(path: string, split: SplitName, classes: number): Promise<EvaluationItem[]> {
  const items: EvaluationItem[] = [];
  for await (const { item, text } of samples(path, split, "cls", "class")) {
    const label = /^\s*\d+\s*$/.test(text) ? Number(text) : NaN;
    if (!(label < classes)) {
      throw new DataError(
        `${item.path}: its class is ${JSON.stringify(text.trim().slice(0, 40))}, expected a number from 0 to ${classes - 1}.`,
        {
          mend: "classnames.txt needs a line for each class, and each .cls the number of one of them.",
        },
      );
    }
    items.push({ ...item, label });
  }
  return items;
}

/** The samples of all tars of a split, in their order, with the text beside each image. */
async function* samples(
  path: string,
  split: SplitName,
  suffix: string,
  what: string,
): AsyncGenerator<{ item: Omit<EvaluationItem, "label">; text: string }> {
  const folder = splitFolder(path, split);
  if (folder === undefined) throw new DataError(`${path}: there is no folder with ${split} tars (${folders[split].join(", ")}).`);
  const counted = readText(join(path, folder, "nshards.txt"), "number of tars").trim();
  if (!/^[1-9]\d*$/.test(counted)) {
    throw new DataError(`${join(path, folder, "nshards.txt")}: ${JSON.stringify(counted.slice(0, 40))}, expected the number of tars.`);
  }
  const tars = Array.from({ length: Number(counted) }, (_, i) => join(path, folder, `${i}.tar`));
  const missing = tars.filter((tar) => !existsSync(tar));
  if (missing.length > 0) {
    throw new DataError(`${missing[0]!}: no such tar; ${missing.length} of the ${tars.length} that nshards.txt counts are missing.`, {
      mend: "Fetch the missing ones.",
    });
  }
  const wanted = new Set([suffix]);
  for (const tar of tars) {
    for await (const { key, image, texts } of noteSamples(tar, {}, wanted)) {
      const text = texts.get(suffix);
      if (image === undefined || text === undefined) {
        const missing = image === undefined ? "image" : `${what} (.${suffix})`;
        throw new DataError(`${tar}: sample ${key} has no ${missing}.`, { mend: "Pack the set again, or fetch the tar again." });
      }
      yield { item: { path: `${tar}/${key}`, source: image }, text: text.toString("utf8") };
    }
  }
}

function splitFolder(path: string, split: SplitName): string | undefined {
  return folders[split].find((name) => existsSync(join(path, name, "nshards.txt")));
}

function lines(path: string, name: string): string[] {
  const found = readText(join(path, name), "list")
    .split(/\r?\n/)
    .map((line) => line.trim());
  while (found.at(-1) === "") found.pop();
  const empty = found.indexOf("");
  // A line that went missing would shift all that follow.
  if (empty !== -1)
    throw new DataError(`${join(path, name)}: line ${empty + 1} is empty.`, { mend: "Remove it, or write what belongs there." });
  if (found.length === 0) throw new DataError(`${join(path, name)}: the list is empty.`);
  return found;
}

function template(line: string, path: string): string {
  const parts = line.split("{c}");
  if (parts.length === 2) return parts.join("{}");
  throw new DataError(`${join(path, templatesFile)}: ${JSON.stringify(line)} must hold {c} once, where the class name goes.`);
}
