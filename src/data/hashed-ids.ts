/**
 * Ids made of what a row holds, for data sets that give their samples no names: the hash of an image's address, or of a caption.
 *
 * As a column of ids, `hash:url` means the hash of the column `url`, and `hash:url,caption` that of both together, for data sets
 * that have an address with several captions.
 */
import { sha256 } from "../support/index.ts";

/** 16 hexadecimal digits of the SHA-256 of a text, or of several with line breaks between them. */
export function hashedId(...texts: readonly string[]): string {
  return sha256(texts.join("\n")).slice(0, 16);
}

/** The columns that are hashed to an id, or undefined where the column holds the ids themselves. */
export function hashedColumns(idColumn: string | undefined): string[] | undefined {
  return idColumn?.startsWith("hash:") ? idColumn.slice("hash:".length).split(",") : undefined;
}

/** Where such ids come from, in words. */
export function describeHash(columns: readonly string[]): string {
  return `a hash of ${columns.length === 1 ? "column" : "columns"} ${columns.map((column) => `"${column}"`).join(" and ")}`;
}
