/**
 * Opens a data set by its name or by its folder: what `--dataset` means.
 *
 * A folder of a person's own has a folder for each class, or such folders in `train`, `validation` and `test`; or it is one that
 * CLIP_benchmark has packed. A table of a person's own has an image and its class in each row.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { type LabelledFolder, type ProtocolName, openLabelledFolder, readClassNames, readTemplates } from "../../data/index.ts";
import { DataError, UsageError } from "../../support/index.ts";
import { isBenchmarkFolder, openBenchmarkClasses } from "./benchmark-shards.ts";
import { DatasetFiles } from "./dataset-files.ts";
import { type DatasetDefinition, type EvaluationDataset, type OpenedLayout, type SplitName, refuseColumns, splitNames } from "./dataset.ts";
import { isTable, openLabelledTable } from "./labelled-table.ts";
import { datasetDefinition, findDefinition } from "./registry.ts";
import { type DatasetWords, datasetWords, ownWords } from "./words.ts";

/** Where a set is looked for, and what takes the place of its own. */
export interface OpenDatasetOptions {
  /** Folder of the published sets. Default: LACLIP_DATASETS. */
  root?: string | undefined;
  /** Splits to read. Default: all that are there. */
  splits?: readonly SplitName[] | undefined;
  /** Whose names and prompts a published set gets. Default "openai". */
  protocol?: ProtocolName | undefined;
  /** Column of a table's image paths, see `openLabelledTable`. */
  imageColumn?: string | undefined;
  /** Column of a table's classes, likewise. */
  labelColumn?: string | undefined;
  /** File with the names of the classes, see `readClassNames`. Default: the set's. */
  classes?: string | undefined;
  /** Whether classes are read as words: without, a table's may be numbers that nothing explains. Default true. */
  worded?: boolean | undefined;
  /** File with prompts, see `readTemplates`. Default: the set's. */
  templates?: string | undefined;
  /** Open a copy in which images are missing; what is wrong is written into `checked.problems`. Default false. */
  incomplete?: boolean | undefined;
}

/** Names that sub-folders of splits have. */
const splitFolders: Readonly<Record<SplitName, readonly string[]>> = {
  train: ["train", "training"],
  validation: ["validation", "val", "valid"],
  test: ["test"],
};

/**
 * Opens a published set by its name, or a folder of images by its path.
 *
 * @throws UsageError when there is neither a folder nor a set of this name, or no root; DataError when the copy is not whole, see
 *   `incomplete`
 */
export async function openEvaluationDataset(nameOrFolder: string, options: OpenDatasetOptions = {}): Promise<EvaluationDataset> {
  const root = options.root ?? (process.env.LACLIP_DATASETS || undefined);
  const definition = findDefinition(nameOrFolder);
  if (!isTable(nameOrFolder)) refuseColumns(nameOrFolder, [options.imageColumn, options.labelColumn]);
  const isFolder = existsSync(nameOrFolder);
  if (definition !== undefined && (root !== undefined || !isFolder)) {
    if (root !== undefined) return await openDefinedDataset(definition, root, options);
    throw new UsageError(`Where is ${definition.title}? No folder of data sets is known.`, {
      mend: "Give it with --root DIR, or set LACLIP_DATASETS. `laclip evaluate datasets` says what belongs there.",
    });
  }
  if (!isFolder && !/[/\\]/.test(nameOrFolder) && !isTable(nameOrFolder)) datasetDefinition(nameOrFolder);
  const path = resolve(nameOrFolder);
  const files = new DatasetFiles(basename(path), path, { incomplete: options.incomplete ?? false });
  if (isFolder && isBenchmarkFolder(path)) return await ownDataset(files, openBenchmarkClasses(path), basename(path), options);
  if (isTable(path) && !(isFolder && statSync(path).isDirectory())) {
    return await ownDataset(files, await openLabelledTable(path, options, files), basename(path).replace(/\.[^.]+$/, ""), options);
  }
  return openOwnFolder(path, options);
}

/**
 * Folder of a published set below the root, or the root itself where it is called as the set's folder is; undefined when no marker is there.
 */
export function findDataset({ places, markers }: Pick<DatasetDefinition, "places" | "markers">, root: string): string | undefined {
  const path = resolve(root);
  const itself = places.filter((place) => basename(place).toLowerCase() === basename(path).toLowerCase()).map(() => path);
  const folders = [...places.map((place) => join(path, place)), ...itself];
  return folders.find((folder) => markers.some((marker) => existsSync(join(folder, marker))));
}

/**
 * Opens a published set, also one that is described elsewhere: classes and images are held against the numbers of its definition.
 *
 * @throws DataError when it is not there, or not whole, see `incomplete`
 */
export async function openDefinedDataset(
  definition: DatasetDefinition,
  root: string,
  options: Omit<OpenDatasetOptions, "root"> = {},
): Promise<EvaluationDataset> {
  const path = findDataset(definition, root);
  if (path === undefined) {
    throw new DataError(
      `${resolve(root)}: ${definition.title} is not there. Looked for ${definition.markers.join(" or ")} in ${definition.places.join(", ")}.`,
      {
        mend: `Download it from ${definition.page}. ${definition.layout}`,
      },
    );
  }
  const files = new DatasetFiles(definition.title, path, { incomplete: options.incomplete ?? false });
  const layout = await definition.open(files);
  if (layout.classes.length !== definition.classCount) {
    files.problem(`${layout.classes.length} classes, expected ${definition.classCount}.`, "Unpack the download again.");
  }
  if (definition.total !== undefined && layout.total !== definition.total) {
    files.problem(`${layout.total} images in all, expected ${definition.total}.`, "Unpack the download again.");
  }
  const expected = layout.expected ?? definition.expected;
  const dataset: EvaluationDataset = {
    name: definition.name,
    title: definition.title,
    task: "classification",
    metric: definition.metric,
    published: true,
    path,
    classes: layout.classes,
    ...words(definition, layout, options),
    splits: {},
    checked: { counts: [], problems: files.problems, notes: files.notes },
  };
  await readSplits(dataset, layout, expected, files, options);
  return dataset;
}

async function readSplits(
  dataset: EvaluationDataset,
  layout: OpenedLayout,
  expected: Partial<Record<SplitName, number>>,
  files: DatasetFiles,
  options: OpenDatasetOptions,
): Promise<void> {
  for (const split of options.splits ?? splitNames) {
    const items = await layout.splits[split]?.();
    if (items === undefined) continue;
    const wanted = expected[split];
    dataset.splits[split] = items;
    dataset.checked.counts.push({ split, found: items.length, expected: wanted });
    if (wanted !== undefined && items.length !== wanted) {
      files.problem(`${items.length} images to ${split}, expected ${wanted}.`, "Unpack the download again.");
    }
  }
}

function words(definition: DatasetDefinition, layout: OpenedLayout, { classes, templates, protocol }: OpenDatasetOptions): DatasetWords {
  return datasetWords(definition, layout, protocol, {
    names: classes === undefined ? layout.names : readClassNames(classes, layout.classes),
    templates: templates === undefined ? layout.templates : readTemplates(templates),
  });
}

/** A set of a person's own that brings its classes in a list. */
async function ownDataset(
  files: DatasetFiles,
  layout: OpenedLayout,
  name: string,
  options: OpenDatasetOptions,
): Promise<EvaluationDataset> {
  const { classes } = layout;
  // A table's names come of that file already, if one was given.
  const names = options.classes === undefined || isTable(files.path) ? layout.names : readClassNames(options.classes, classes);
  const templates = options.templates === undefined ? layout.templates : readTemplates(options.templates);
  const dataset: EvaluationDataset = {
    name,
    title: files.title,
    task: "classification",
    metric: "acc1",
    published: false,
    path: files.path,
    classes,
    ...ownWords(classes, { names, templates }, options.protocol),
    splits: {},
    checked: { counts: [], problems: files.problems, notes: files.notes },
  };
  await readSplits(dataset, layout, {}, files, options);
  return dataset;
}

/** A folder for each class, or such folders for each split. */
function openOwnFolder(path: string, options: OpenDatasetOptions): EvaluationDataset {
  const found = foldersOfSplits(path);
  const wanted = options.splits ?? splitNames;
  const opened = new Map<SplitName, LabelledFolder>();
  if (found.size === 0) opened.set("test", openLabelledFolder(path, options));
  else for (const [split, name] of found) if (wanted.includes(split)) opened.set(split, openSplit(path, name, options));
  const [first] = opened.values();
  if (first === undefined) {
    throw new DataError(`${path}: there are folders for ${[...found.keys()].join(", ")}, and none for ${wanted.join(", ")}.`, {
      mend: "Choose one of these (--split), or add the folder.",
    });
  }
  for (const { path: other, folders } of opened.values()) sameClasses(first, other, folders);
  return {
    name: basename(path),
    title: basename(path),
    task: "classification",
    metric: "acc1",
    published: false,
    path,
    classes: first.folders,
    ...ownWords(first.folders, first, options.protocol),
    splits: Object.fromEntries([...opened].map(([split, { items }]) => [split, items])),
    checked: {
      counts: [...opened].map(([split, { items }]) => ({ split, found: items.length, expected: undefined })),
      problems: [],
      notes: found.size === 0 ? ["One folder without splits: all its images are taken as test."] : [],
    },
  };
}

/** Which sub-folders are splits: all of them must be, for a class may be called "train" as well. */
function foldersOfSplits(path: string): Map<SplitName, string> {
  const found = new Map<SplitName, string>();
  if (!existsSync(path) || !statSync(path).isDirectory()) return found;
  const folders = readdirSync(path, { withFileTypes: true })
    .filter((entry) => !entry.name.startsWith(".") && !entry.isFile())
    .map((entry) => entry.name);
  for (const folder of folders) {
    const split = splitNames.find((name) => splitFolders[name].includes(folder.toLowerCase()));
    if (split === undefined) return new Map();
    const other = found.get(split);
    if (other !== undefined)
      throw new DataError(`${path}: both ${other} and ${folder} hold ${split} images.`, { mend: "Keep one of them." });
    found.set(split, folder);
  }
  return new Map(splitNames.flatMap((split) => (found.has(split) ? [[split, found.get(split)!] as const] : [])));
}

/** Names and templates may lie in the split's folder, or once for all splits above it. */
function openSplit(path: string, name: string, { classes, templates }: OpenDatasetOptions): LabelledFolder {
  const above = (...files: readonly string[]): string | undefined =>
    files.some((file) => existsSync(join(path, name, file)))
      ? undefined
      : files.map((file) => join(path, file)).find((file) => existsSync(file));
  return openLabelledFolder(join(path, name), {
    classes: classes ?? above("classnames.txt", "classes.json"),
    templates: templates ?? above("templates.txt"),
  });
}

/** A label must mean the same in all splits. @throws DataError */
function sameClasses(first: LabelledFolder, path: string, folders: readonly string[]): void {
  const onlyHere = folders.filter((name) => !first.folders.includes(name));
  const onlyThere = first.folders.filter((name) => !folders.includes(name));
  if (onlyHere.length === 0 && onlyThere.length === 0) return;
  throw new DataError(
    `${path}: its class folders differ from those of ${first.path}: ${[...onlyHere.map((name) => `${name} is only here`), ...onlyThere.map((name) => `${name} is missing`)].slice(0, 3).join(", ")}.`,
    { mend: "Each split needs the same class folders." },
  );
}
