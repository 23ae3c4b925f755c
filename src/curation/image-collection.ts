/**
 * Images with captions as they lie on disk before they are packed: a table and the files that it names, or a folder of images for
 * each class, where the caption is made from the name of the class.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { relative, resolve } from "node:path";
import {
  FingerprintBuilder,
  HashedKeys,
  SampleTableBuilder,
  joinRewrites,
  namesTars,
  openLabelledFolder,
  openPairs,
} from "../data/index.ts";
import type { JoinRewritesOptions, JoinedPairs, OpenPairsOptions, Pairs } from "../data/index.ts";
import { DataError, UsageError } from "../support/index.ts";

/** Which images, which captions, which rewrites. */
export interface CollectionOptions extends Omit<OpenPairsOptions, "file"> {
  /** A table of captions, a folder that holds `captions.csv` (or .tsv, .jsonl, .parquet), or a folder with a folder for each class. */
  path: string;
  /** Images by class: the caption of each, `{class}` being the name of its class. Default "a photo of a {class}". */
  caption?: string | undefined;
  /** Images by class: a file with the names of the classes, see `readClassNames`. Default: the folder's own, else the folders' names. */
  classes?: string | undefined;
  /** A rewrites folder, joined by id. Default: none. */
  rewrites?: string | undefined;
  /** How the rewrites are joined. */
  join?: JoinRewritesOptions | undefined;
}

/** A collection that was opened. */
export interface Collection {
  kind: "table" | "classes";
  pairs: Pairs | JoinedPairs;
}

/** What a path holds: tars, a table of captions, or a folder of images for each class. */
export function kindOfData(path: string): "tars" | "table" | "classes" {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory() !== true) return namesTars(path) ? "tars" : "table";
  const names = readdirSync(path);
  if (names.some((name) => /^captions\.(csv|tsv|jsonl|parquet)$/.test(name))) return "table";
  return names.some((name) => namesTars(name)) ? "tars" : "classes";
}

/**
 * Opens a table or a folder of images by class, with its rewrites.
 * @throws UsageError for tars, and for flags that do not go with what the path holds
 * @throws DataError as `openPairs`, `openLabelledFolder` and `joinRewrites` do
 */
export async function openCollection({ path, caption, classes, rewrites, join, ...table }: CollectionOptions): Promise<Collection> {
  const kind = kindOfData(path);
  if (kind === "tars") {
    throw new UsageError(`${path}: these are tars already; expected a table of captions, or a folder of images for each class.`, {
      mend: "To put rewrites into tars that there are, use `laclip rewrites export --to webdataset`.",
    });
  }
  if (!existsSync(path)) throw new DataError(`${path}: no such file or folder.`);
  refuseOtherFlags(path, kind, { caption, classes, ...table });
  const pairs = kind === "table" ? await openPairs({ file: path, ...table }) : openClasses(path, { caption, classes });
  return { kind, pairs: rewrites === undefined ? pairs : await joinRewrites(pairs, rewrites, join) };
}

/** Flags that mean nothing for a kind of data. */
const otherFlags = {
  table: { caption: "--caption", classes: "--classes" },
  classes: { images: "--images", imageColumn: "--image-column", captionColumn: "--caption-column", idColumn: "--id-column" },
  tars: { caption: "--caption", classes: "--classes", images: "--images", imageColumn: "--image-column" },
} as const;
const kindNames = { table: "a table has captions of its own", classes: "this is a folder of images by class", tars: "these are tars" };

/** @throws UsageError for a flag that would have no effect */
export function refuseOtherFlags(path: string, kind: keyof typeof otherFlags, given: Partial<CollectionOptions>): void {
  const wrong = Object.entries(otherFlags[kind]).find(([name]) => given[name as keyof CollectionOptions] !== undefined);
  if (wrong) throw new UsageError(`${path}: ${kindNames[kind]}; ${wrong[1]} is not for that.`);
}

function openClasses(
  folder: string,
  { caption = "a photo of a {class}", classes }: { caption: string | undefined; classes: string | undefined },
): Pairs {
  if (!caption.includes("{class}")) {
    throw new UsageError(`--caption "${caption}": all captions would be the same.`, {
      mend: "Put {class} where the name of the class belongs.",
    });
  }
  const { path, names, items } = openLabelledFolder(folder, { classes });
  const builder = new SampleTableBuilder(path);
  const rowOf = new HashedKeys();
  const fingerprint = new FingerprintBuilder();
  for (const item of items) {
    const id = relative(path, item.path);
    const text = caption.replaceAll("{class}", () => names[item.label]![0]!);
    rowOf.set(id, builder.add(id, id, text));
    fingerprint.add(id, text);
  }
  const skipped = { emptyCaptions: 0, missingImages: 0, examples: [] };
  return { file: resolve(folder), rows: items.length, skipped, fingerprint: fingerprint.finish(), samples: builder.finish(), rowOf };
}
