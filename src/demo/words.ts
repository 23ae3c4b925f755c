/**
 * Names, tags and short codes as plain words, and when two of them say the same.
 */

/** A short code, name or tag as words: underscores become blanks, pictographs and outer punctuation go. */
export function plainWords(text: string): string {
  return text
    .replaceAll("_", " ")
    .replace(/\p{Extended_Pictographic}|\u{FE0F}|\u{200D}|[“”"]/gu, " ")
    .replace(/\s+/g, " ")
    .trim();
}

/** Two spellings of one phrase have the same key: case, accents, hyphens, apostrophes and word gaps do not count. */
export function phraseKey(text: string): string {
  return text
    .toLowerCase()
    .normalize("NFD")
    .replace(/[^\p{L}\p{N}]+/gu, "");
}

/** Lower-case words of a phrase, without punctuation. */
export function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+(?:['’][\p{L}]+)?/gu) ?? [];
}
