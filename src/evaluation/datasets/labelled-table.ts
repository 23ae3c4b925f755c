/**
 * A table of one's own with an image and its class in each row: csv, tsv, jsonl or parquet, which may hold the images themselves.
 *
 * Classes are called in text, or are numbers; what numbers mean, a file of names must say, where words are read at all. A column `split` tells which rows are for what.
 */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import {
  type EvaluationItem,
  HeldImages,
  areWordNetNumbers,
  classKeys,
  classList,
  findColumn,
  imageColumns,
  readClassNames,
} from "../../data/index.ts";
import { bytesColumns, missingColumn, readTable, tableColumns, tableFormat, type TableValue } from "../../formats/index.ts";
import { DataError, sha256 } from "../../support/index.ts";
import type { DatasetFiles } from "./dataset-files.ts";
import { type OpenedLayout, type SplitName, splitOfRow } from "./dataset.ts";

/** Names tried for the classes, in this order and in any case, where no column is named. */
const labelColumns = ["label", "class", "class_name", "classname", "category", "target", "labels"];

/** Which column is which, and what the classes are called. */
export interface LabelledTableOptions {
  /** Default: the first of image, filepath, path, file, file_name, filename, image_path that there is. */
  imageColumn?: string | undefined;
  /** Default: the first of label, class, class_name, classname, category, target, labels that there is. */
  labelColumn?: string | undefined;
  /** File with the names of the classes: a list in the order of labels that are numbers, or an object from label to names. */
  classes?: string | undefined;
  /** Whether classes need words; without, those that are numbers are called by their numbers. Default true. */
  worded?: boolean | undefined;
}

/** True for the path of a table. */
export function isTable(path: string): boolean {
  return tableFormat(path) !== undefined;
}

/**
 * Reads a table; paths of images are relative to it.
 * @param files takes what is missing
 * @throws DataError when a column is missing, a row has no image or no class, or a list of them, a class has no name, or images are not there (unless
 *   `incomplete`)
 */
export async function openLabelledTable(file: string, options: LabelledTableOptions, files: DatasetFiles): Promise<OpenedLayout> {
  const known = await tableColumns(file);
  const named = options.imageColumn ?? findColumn(known, imageColumns);
  const labelColumn = options.labelColumn ?? findColumn(known, labelColumns);
  for (const name of [options.imageColumn, options.labelColumn]) {
    if (name !== undefined && !known.includes(name)) throw missingColumn(file, name, known);
  }
  if (named === undefined) throw unknownColumn(file, "image", imageColumns, known);
  if (labelColumn === undefined) throw unknownColumn(file, "label", labelColumns, known);
  const inside = (await bytesColumns(file)).get(named);
  const imageColumn = inside ? inside.path : named;
  const splitColumn = findColumn(known, ["split"]);

  const folder = dirname(resolve(file));
  const rows: { item: Omit<EvaluationItem, "label">; label: string; split: SplitName }[] = [];
  const missing: string[] = [];
  let held: HeldImages | undefined;
  let row = 0;
  const columns = [...new Set([imageColumn, inside?.bytes, labelColumn, splitColumn].filter((name) => name !== undefined))];
  const flat = columns.filter((name) => name !== inside?.bytes);
  for await (const batch of readTable(file, { columns, flat })) {
    for (let i = 0; i < batch.rows; i++) {
      row++;
      const image = imageColumn === undefined ? "" : text(batch.columns[imageColumn]![i]);
      const bytes = inside === undefined ? undefined : batch.columns[inside.bytes]![i];
      const label = text(batch.columns[labelColumn]![i]);
      const split = splitColumn === undefined ? "test" : splitOfRow(text(batch.columns[splitColumn]![i]), `${file}: row ${row}`);
      if (label === "") throw new DataError(`${file}: row ${row} has no class (column "${labelColumn}").`);
      if (bytes instanceof Uint8Array) {
        held ??= new HeldImages();
        const path = image === "" ? `${file}, row ${row}` : image;
        rows.push({ item: { path, source: held.add(bytes, path, sha256(bytes)) }, label, split });
        continue;
      }
      if (image === "") throw new DataError(`${file}: row ${row} has no image.`);
      const path = resolve(folder, image);
      if (existsSync(path)) rows.push({ item: { path }, label, split });
      else missing.push(image);
    }
  }
  if (missing.length > 0) {
    files.problem(
      `${missing.length} of ${row} images are missing: ${missing.slice(0, 3).join(", ")}${missing.length > 3 ? ", ..." : ""}.`,
      "Paths are relative to the table: mend them.",
    );
  }
  if (rows.length === 0) throw new DataError(`${file}: there is no image in it.`);

  const { classes, names } = classesOf(file, new Set(rows.map(({ label }) => label)), options);
  const place = new Map(classes.map((name, i) => [name, i]));
  const items: Partial<Record<SplitName, EvaluationItem[]>> = {};
  for (const { item, label, split } of rows) {
    const found = place.get(label);
    if (found === undefined) {
      throw new DataError(`${file}: ${item.path} is of the class "${label}", for which ${options.classes!} has no name.`, {
        mend: `It has names for ${classes[0]!} to ${classes.at(-1)!}. Add one, or mend the label.`,
      });
    }
    (items[split] ??= []).push({ ...item, label: found });
  }
  if (splitColumn === undefined) files.notes.push("One table without a column split: all its images are taken as test.");
  return { classes, names, splits: Object.fromEntries(Object.entries(items).map(([split, own]) => [split, () => own])) };
}

function classesOf(
  file: string,
  labels: ReadonlySet<string>,
  { classes: namesFile, worded = true }: LabelledTableOptions,
): { classes: string[]; names: string[][] } {
  // A number below 0 is a number, and out of range.
  const numbers = [...labels].every((label) => /^-?\d+$/.test(label));
  const sorted = (values: Iterable<string>): string[] =>
    [...values].sort(numbers ? (a, b) => Number(a) - Number(b) : (a, b) => (a < b ? -1 : 1));
  if (namesFile !== undefined) {
    const keys = classKeys(namesFile);
    // Numbers count through a list of names, some of which may have no image here; text is matched against the classes that are there.
    const classes = typeof keys !== "number" ? sorted(keys) : numbers ? Array.from({ length: keys }, (_, i) => String(i)) : sorted(labels);
    return { classes, names: readClassNames(namesFile, classes) };
  }
  const classes = sorted(labels);
  if (numbers && worded) {
    throw new DataError(`${file}: its classes are numbers (${classes.slice(0, 3).join(", ")}, ...), and nothing says what they mean.`, {
      mend: "Give their names with --classes: a list in the order of the numbers, or a JSON object from number to name.",
    });
  }
  const names = areWordNetNumbers(classes)
    ? classList("imagenet1k").namesOf(classes, "openai", file)
    : classes.map((name) => [name.replaceAll("_", " ")]);
  return { classes, names };
}

function unknownColumn(file: string, kind: string, tried: readonly string[], known: readonly string[]): DataError {
  return new DataError(
    `${file}: which column holds the ${kind}? Expected one of: ${tried.join(", ")}. Its columns are: ${known.join(", ") || "none"}.`,
    { mend: `Name it with --${kind}-column.` },
  );
}

function text(value: TableValue | undefined): string {
  return value === null || value === undefined ? "" : String(value).trim();
}
