/**
 * Images with captions as they lie on disk before they are packed: a table or annotation files and the images that these name, tars,
 * or a folder of images for each class, where the caption is made from the name of the class.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { relative, resolve } from "node:path";
import {
  FingerprintBuilder,
  HashedKeys,
  SampleTableBuilder,
  isAddress,
  isAnnotated,
  isPlainTar,
  isTableFolder,
  joinRewrites,
  listShards,
  namesTars,
  openLabelledFolder,
  openPairs,
  openTarPairs,
  shownAddress,
  shownShards,
} from "../data/index.ts";
import type { JoinRewritesOptions, JoinedPairs, OpenPairsOptions, Pairs } from "../data/index.ts";
import { DataError, UsageError } from "../support/index.ts";
import { withKeys } from "./found-tars.ts";

/** Which images, which captions, which rewrites. */
export interface CollectionOptions extends Omit<OpenPairsOptions, "file"> {
  /**
   * A table of captions; a folder that holds `captions.csv` (or .tsv, .jsonl, .parquet), RedCaps' `annotations`, tars, or a folder for
   * each class; tars by a pattern.
   */
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

/** A table of captions, RedCaps' annotation files, tars, or a folder of images for each class. */
export type DataKind = "table" | "annotations" | "tars" | "classes";

/** A collection that was opened. */
export interface Collection {
  kind: DataKind;
  pairs: Pairs | JoinedPairs;
}

/** What a path holds. */
export function kindOfData(path: string): DataKind {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory() !== true) return namesTars(path) ? "tars" : isAnnotated(path) ? "annotations" : "table";
  if (isTableFolder(path)) return "table";
  if (readdirSync(path).some((name) => namesTars(name))) return "tars";
  return isAnnotated(path) ? "annotations" : "classes";
}

/**
 * Opens a table, annotation files, tars on this machine or a folder of images by class, with its rewrites: those of the folder that is
 * given, else those that stand in the tars.
 * @throws UsageError for tars that are elsewhere or compressed, and for flags that do not go with what the path holds
 * @throws DataError as `openPairs`, `openTarPairs`, `openLabelledFolder` and `joinRewrites` do
 */
export async function openCollection({ path, caption, classes, rewrites, join, ...table }: CollectionOptions): Promise<Collection> {
  const kind = kindOfData(path);
  if (kind !== "tars" && !existsSync(path)) throw new DataError(`${shownAddress(path)}: no such file or folder.`);
  refuseOtherFlags(path, kind, { caption, classes, ...table });
  const pairs =
    kind === "classes"
      ? openClasses(path, { caption, classes })
      : kind === "tars"
        ? await openTars(path, table)
        : await openPairs({ file: path, ...table });
  return { kind, pairs: rewrites === undefined ? pairs : await joinRewrites(pairs, rewrites, join) };
}

/** Flags that mean nothing for a kind of data. */
const otherFlags = {
  table: { caption: "--caption", classes: "--classes" },
  annotations: { caption: "--caption", classes: "--classes", imageColumn: "--image-column" },
  classes: { images: "--images", imageColumn: "--image-column", captionColumn: "--caption-column", idColumn: "--id-column" },
  tars: { caption: "--caption", classes: "--classes", images: "--images", imageColumn: "--image-column" },
} as const;
const kindNames = {
  table: "a table has captions of its own",
  annotations: "these are annotation files",
  classes: "this is a folder of images by class",
  tars: "these are tars",
};

/** @throws UsageError for a flag that would have no effect */
export function refuseOtherFlags(path: string, kind: DataKind, given: Partial<CollectionOptions>): void {
  const wrong = Object.entries(otherFlags[kind]).find(([name]) => given[name as keyof CollectionOptions] !== undefined);
  if (wrong) throw new UsageError(`${shownShards(path)}: ${kindNames[kind]}; ${wrong[1]} is not for that.`);
}

async function openTars(
  path: string,
  { idColumn, captionColumn, maximumSkipped, workFolder }: Partial<OpenPairsOptions>,
): Promise<Pairs | JoinedPairs> {
  const shards = await listShards(path);
  const tars = shards.map(({ address }) => address);
  const other = tars.find((tar) => !isPlainTar(tar));
  if (other !== undefined) {
    const [what, mend] = isAddress(other)
      ? ["lies elsewhere", "Download the tars first."]
      : ["is compressed", "Unpack it first (gunzip): images in tars hardly become smaller by it."];
    throw new UsageError(`${shownAddress(other)} ${what}; tars are opened as a table only where any part can be read at once.`, { mend });
  }
  const { keys, packedFrom } = await withKeys(shards, { idColumn, captionColumn });
  const pairs = await openTarPairs(tars, { name: path, ...keys, maximumSkipped, workFolder });
  return packedFrom === undefined ? pairs : { ...pairs, fingerprint: packedFrom };
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
