/**
 * Captions in annotation files: RedCaps' (`annotations` with `image_id`, `caption`, `raw_caption`, `url`, `subreddit`; a file for each
 * subreddit and year) and COCO's (`annotations` with an `id` of their own, since an image has several captions).
 *
 * Rewriting and training read them here, so that both have the same ids. The layout is that of RedCaps' own downloader:
 * `annotations/SUBREDDIT_YEAR.json` and `images/SUBREDDIT/IMAGE_ID.jpg`.
 */
import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { DataError, readBytes, readFolder } from "../support/index.ts";
import { describeHash, hashedColumns, hashedId } from "./hashed-ids.ts";
import { type JsonObject, parseJsonObject, textUnder } from "./json-texts.ts";
import { decodeText } from "./strict-text.ts";

/** Which key of an annotation is which. */
export interface AnnotationKeys {
  /** Key with the id; `hash:NAME` or `hash:NAME,NAME` for a hash of keys. Default: `id`, else `image_id`. */
  idColumn?: string | undefined;
  /** Default: `caption`, else `raw_caption`. */
  captionColumn?: string | undefined;
  /** Key with another caption of the same image. Default: none is read. */
  secondColumn?: string | undefined;
}

/** An annotation. */
export interface AnnotationRow {
  /** "" where it has none. */
  id: string;
  /** May be empty. */
  caption: string;
  /** Only where a key for it was named; "" where the annotation has none. */
  second?: string;
  /** RedCaps: path of its image in the folder of images; "" in other files. */
  image: string;
  /** Where it stands, in words. */
  where: string;
}

/** True for an annotation file, a folder of nothing but such, or one that holds them in `annotations/`. */
export function isAnnotated(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isDirectory()) return found !== undefined && annotationName.test(path);
  // Where there are folders beside the files, these say something of the folders: the names of classes, for instance.
  return (
    holdsFiles(join(path, "annotations")) ||
    (holdsFiles(path) && readdirSync(path, { withFileTypes: true }).every((entry) => entry.isFile()))
  );
}

const annotationName = /\.json$/i;

function holdsFiles(folder: string): boolean {
  return (
    statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true && readFolder(folder).some((name) => annotationName.test(name))
  );
}

/** The annotation files that a path names: the file, or all `.json` in its `annotations/` or in itself, in the order of their names. */
export function annotationFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  const folder = holdsFiles(join(path, "annotations")) ? join(path, "annotations") : path;
  return readFolder(folder)
    .filter((name) => annotationName.test(name))
    .sort()
    .map((name) => join(folder, name));
}

/** RedCaps' folder of images, absolute: `images` beside the folder of the annotation files. */
export function annotatedImages(path: string): string {
  return join(dirname(dirname(resolve(annotationFiles(path)[0]!))), "images");
}

/** Where the ids of annotations come from, in words. */
export function annotationIdsFrom({ idColumn }: AnnotationKeys): string {
  const hashed = hashedColumns(idColumn);
  if (hashed) return describeHash(hashed);
  return idColumn === undefined ? '"id" of each annotation, else its "image_id"' : `"${idColumn}" of each annotation`;
}

/**
 * The captions in annotation files, file by file; one file is in memory at a time.
 * @throws DataError when a file is no JSON, is too long, or holds no list of annotations
 */
export async function* annotationRows(files: readonly string[], keys: AnnotationKeys): AsyncGenerator<AnnotationRow[]> {
  for (const file of files) {
    const annotations = readAnnotations(file);
    for (const [i, annotation] of annotations.entries()) {
      if (typeof annotation !== "object" || annotation === null || Array.isArray(annotation))
        throw new DataError(`${file}: annotation ${i + 1} is not an object: ${JSON.stringify(annotation).slice(0, 60)}`);
    }
    yield annotations.map((annotation, i) => annotationRow(annotation as JsonObject, `${basename(file)}, annotation ${i + 1}`, keys));
  }
}

function annotationRow(annotation: JsonObject, where: string, { idColumn, captionColumn, secondColumn }: AnnotationKeys): AnnotationRow {
  const text = (key: string): string => textUnder(annotation, key);
  const hashed = hashedColumns(idColumn);
  let id: string;
  if (hashed) id = hashed.some((column) => text(column) === "") ? "" : hashedId(...hashed.map((column) => text(column)));
  else id = idColumn === undefined ? text("id") || text("image_id") : text(idColumn);
  return {
    id,
    caption: captionColumn === undefined ? text("caption") || text("raw_caption") : text(captionColumn),
    ...(secondColumn === undefined ? {} : { second: text(secondColumn) }),
    image: imagePath(text("subreddit"), text("image_id")),
    where,
  };
}

/** "" for names that lead elsewhere: the file may come from anyone. */
function imagePath(subreddit: string, image: string): string {
  return [subreddit, image].every((name) => /^[\w-][\w.-]*$/.test(name)) ? `${subreddit}/${image}.jpg` : "";
}

/** V8 holds no longer text. */
const longestFile = 512 << 20;

function readAnnotations(file: string): readonly unknown[] {
  const { size } = statSync(file);
  const mend =
    "Expected RedCaps' or COCO's form: an object with a list `annotations` of objects with a caption. Other data come as csv, tsv, jsonl or parquet.";
  if (size > longestFile)
    throw new DataError(`${file}: this file of annotations is longer than ${longestFile >> 20} MiB.`, {
      mend: "Convert it to jsonl, which is read line by line.",
    });
  const text = decodeText(readBytes(file), (line) => `${file}: line ${line}`).replace(/^\ufeff/, "");
  if (/^\s*\[/.test(text)) throw new DataError(`${file}: this is a list, not a file of annotations.`, { mend });
  const { annotations } = parseJsonObject(text, `${file}: this file`);
  if (!Array.isArray(annotations)) throw new DataError(`${file}: there is no list \`annotations\` in this file.`, { mend });
  return annotations as readonly unknown[];
}
