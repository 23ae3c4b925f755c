/** What images a result is about, as one number: two results with the same one may be compared image by image. */
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { dirname, isAbsolute, relative, sep } from "node:path";
import type { EvaluationItem } from "../../data/index.ts";
import { tableFormat } from "../../formats/index.ts";

/**
 * What an image is called in results: its path below the data set's folder where it lies there, with `/` between the parts.
 * @param root that folder; of a set that is a table, the table, beside which its images lie
 */
export function itemName(path: string, root: string): string {
  // An image inside a table has the name that the table gives it, which is no place on this disk.
  if (!isAbsolute(path)) return path;
  const below = relative(tableFormat(root) === undefined ? root : dirname(root), path);
  return below === "" || below.startsWith("..") || isAbsolute(below) ? path : below.split(sep).join("/");
}

/**
 * SHA-256 over the name, the size in bytes and the class of each image, in their order: the same wherever the data set lies.
 * @param classes names of the classes that labels are indices of
 */
export function itemsHash(items: readonly EvaluationItem[], root: string, classes: readonly string[]): string {
  const hash = createHash("sha256");
  for (const { path, source, label } of items) {
    hash.update(`${JSON.stringify([itemName(path, root), sizeOf(path, source), classes[label] ?? label])}\n`);
  }
  return hash.digest("hex");
}

function sizeOf(path: string, source: EvaluationItem["source"]): number {
  if (source === undefined) return statSync(path, { throwIfNoEntry: false })?.size ?? -1;
  return source instanceof Uint8Array ? source.byteLength : source.size;
}
