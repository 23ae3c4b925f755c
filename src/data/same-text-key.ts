/**
 * A number by which captions that say the same are found in a batch: identical ones, and those that differ in case, punctuation or
 * spacing only.
 */
import { hash } from "node:crypto";

const notInWords = /[^\p{L}\p{N}\p{M}]+/gu;

/** 64 bits of a hash of the caption's words in lower case. Captions without words have the key of the text as it stands. */
export function sameTextKey(caption: string): bigint {
  const words = caption.normalize("NFKC").toLowerCase().replace(notInWords, " ").trim();
  return Buffer.from(hash("sha256", words === "" ? caption : words, "hex").slice(0, 16), "hex").readBigInt64LE();
}
