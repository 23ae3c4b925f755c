/**
 * The vocabulary as tokenizers of other projects write it down: tokens by id, and the merges that make them.
 *
 * A printable byte is written as the same character of Latin-1, another one as U+0100, U+0101 and so on, and the end of a word as `</w>`: the
 * merge list itself is written so.
 */
import { isPrintable, readMerges } from "./vocabulary.ts";

/** A vocabulary in the letters of its merge list. */
export interface WrittenVocabulary {
  /** Token of each id but the last two, which start and end a text: other projects write those in different ways. */
  tokens: string[];
  /** Two tokens with a blank between them, in the order in which they are merged. */
  merges: string[];
}

/** CLIP's vocabulary. @throws ModelFormatError when the merge list is missing or another one than OpenAI's */
export function writtenVocabulary(): WrittenVocabulary {
  const merges = Buffer.from(readMerges()).toString("utf8").split("\n");
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const characters = [
    ...bytes.filter((byte) => isPrintable(byte)).map((byte) => String.fromCharCode(byte)),
    ...bytes.filter((byte) => !isPrintable(byte)).map((_, place) => String.fromCharCode(0x100 + place)),
  ];
  const tokens = [...characters, ...characters.map((character) => `${character}</w>`), ...merges.map((pair) => pair.replace(" ", ""))];
  return { tokens, merges };
}
