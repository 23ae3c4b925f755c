/**
 * Captions in annotation files: RedCaps' (`annotations` with `image_id`, `caption`, `raw_caption`, `url`; a file for each subreddit
 * and year) and COCO's (`annotations` with an `id` of their own, since an image has several captions).
 */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { decodeText, describeHash, hashedColumns, hashedId, parseJsonObject, textUnder } from "../data/index.ts";
import type { JsonObject } from "../data/index.ts";
import { DataError } from "../support/index.ts";
import type { CaptionRow, CaptionsOptions } from "./captions-input.ts";

/** The annotation files that a path names: the file, or all `.json` in a folder, in the order of their names. */
export function annotationFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .filter((name) => /\.json$/i.test(name))
    .sort()
    .map((name) => join(path, name));
}

/** Where the ids of annotations come from, in words. */
export function annotationIdsFrom({ idColumn }: CaptionsOptions): string {
  const hashed = hashedColumns(idColumn);
  if (hashed) return describeHash(hashed);
  return idColumn === undefined ? '"id" of each annotation, else its "image_id"' : `"${idColumn}" of each annotation`;
}

/**
 * The captions in annotation files, file by file; one file is in memory at a time.
 * @param options columns are keys of an annotation; without any, the caption is `caption`, else `raw_caption`
 * @throws DataError when a file is no JSON, is too long, or holds no list of annotations
 */
export async function* annotationRows(files: readonly string[], options: CaptionsOptions): AsyncGenerator<CaptionRow[]> {
  for (const file of files) {
    const annotations = readAnnotations(file);
    for (const [i, annotation] of annotations.entries()) {
      if (typeof annotation !== "object" || annotation === null || Array.isArray(annotation))
        throw new DataError(`${file}: annotation ${i + 1} is not an object: ${JSON.stringify(annotation).slice(0, 60)}`);
    }
    yield annotations.map((annotation, i) => annotationRow(annotation as JsonObject, `${basename(file)}, annotation ${i + 1}`, options));
  }
}

function annotationRow(annotation: JsonObject, where: string, { idColumn, captionColumn, secondColumn }: CaptionsOptions): CaptionRow {
  const text = (key: string): string => textUnder(annotation, key);
  const hashed = hashedColumns(idColumn);
  let id: string;
  if (hashed) id = hashed.some((column) => text(column) === "") ? "" : hashedId(...hashed.map((column) => text(column)));
  else id = idColumn === undefined ? text("id") || text("image_id") : text(idColumn);
  return {
    id,
    caption: captionColumn === undefined ? text("caption") || text("raw_caption") : text(captionColumn),
    ...(secondColumn === undefined ? {} : { second: text(secondColumn) }),
    where,
  };
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
  const text = decodeText(readFileSync(file), (line) => `${file}: line ${line}`).replace(/^\ufeff/, "");
  if (/^\s*\[/.test(text)) throw new DataError(`${file}: this is a list, not a file of annotations.`, { mend });
  const { annotations } = parseJsonObject(text, `${file}: this file`);
  if (!Array.isArray(annotations)) throw new DataError(`${file}: there is no list \`annotations\` in this file.`, { mend });
  return annotations as readonly unknown[];
}
