/**
 * What a text speaks of, as far as single words tell: content words, numbers, names, placeholders.
 *
 * Held against the caption's, they show what a rewrite has lost and what it has made up. Content words are compared by their stem
 * (Porter 1980), so that "running dogs" has the words of "a dog runs". Made for English; other languages are cut into words too, but
 * have neither stems nor stop words here.
 */
import { stemmer } from "stemmer";
import { stopWords } from "./stop-words.ts";

/** `<PERSON>`, `[LOCATION]`: what data sets put in place of names. */
const placeholderPattern = /<[A-Z][A-Z_ ]*\d*>|\[[A-Z][A-Z_ ]+\d*\]/g;
const wordPattern = /[\p{L}\p{M}\p{N}]+(?:['’]\p{L}+)?/gu;
/** Scripts that put no spaces between words. */
const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Khmer}\p{Script=Lao}\p{Script=Myanmar}]/u;

/** A text without case, punctuation and spacing, for telling whether two say the same in the same words. */
export function normalise(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .trim();
}

/** Placeholders of a text, as written, each once. */
export function placeholdersOf(text: string): Set<string> {
  return new Set(text.includes("<") || text.includes("[") ? text.match(placeholderPattern) : []);
}

/** Words of a text in lower case, in order, without punctuation, possessives and placeholders. */
export function wordsOf(text: string): string[] {
  const plain = withoutPlaceholders(text).toLowerCase();
  if (unspaced.test(plain)) return segments(plain);
  const words = plain.match(wordPattern) ?? [];
  return /['’]/.test(plain) ? words.map(withoutPossessive) : words;
}

/** Stems of the words that say what is there: no stop words, no numbers. */
export function contentStems(words: readonly string[]): Set<string> {
  const stems = new Set<string>();
  for (const word of words) if (!stopWords.has(word) && !numberWords.has(word) && !/\d/.test(word)) stems.add(stemOf(word));
  return stems;
}

/** Share of `wanted` that is among `given`, 0..1; undefined where nothing is wanted. */
export function shareKept(wanted: ReadonlySet<string>, given: { has(value: string): boolean }): number | undefined {
  if (wanted.size === 0) return undefined;
  let kept = 0;
  for (const value of wanted) if (given.has(value)) kept++;
  return kept / wanted.size;
}

const units =
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen";
const tens = "twenty thirty forty fifty sixty seventy eighty ninety";
const numberWords: ReadonlyMap<string, number> = new Map([
  ...units.split(" ").map((word, i) => [word, i] as const),
  ...tens.split(" ").map((word, i) => [word, 20 + 10 * i] as const),
]);
const factors: ReadonlyMap<string, number> = new Map([
  ["hundred", 100],
  ["thousand", 1000],
  ["million", 1_000_000],
]);
/** Words that say a number without being one: enough to keep it, too little to have made it up. */
const implied: ReadonlyMap<string, string> = new Map(
  ["1 a an one single", "2 pair couple both duo twin twins two double", "3 trio triple", "4 quartet", "12 dozen"].flatMap((line) => {
    const [number, ...words] = line.split(" ");
    return words.map((word) => [word, number!] as const);
  }),
);

/**
 * The numbers of a text in digits, each once: "2 dogs", "two dogs" and "twenty-one" give 2, 2 and 21. "one" is mostly no number.
 * @param words the text's words, see `wordsOf`
 */
export function numbersOf(text: string, words: readonly string[]): Set<string> {
  const numbers = new Set<string>();
  if (/\d/.test(text)) {
    for (const [digits] of withoutPlaceholders(text).matchAll(/\d+(?:[.,:]\d+)*/g))
      numbers.add(digits.replace(/,(?=\d{3}\b)/g, "").replace(/^0+(?=\d)/, ""));
  }
  for (let i = 0; i < words.length; i++) {
    const start = i;
    let value = numberWords.get(words[i]!);
    if (value === undefined) continue;
    const unit = numberWords.get(words[i + 1] ?? "");
    if (value >= 20 && unit !== undefined && unit > 0 && unit < 10) {
      value += unit;
      i++;
    }
    for (let factor; (factor = factors.get(words[i + 1] ?? "")) !== undefined; i++) value *= factor;
    if (value !== 1 || i > start) numbers.add(String(value));
  }
  return numbers;
}

/** Whether a text gives a number, in digits, as a word, or in passing: "a pair of dogs" has 2. */
export function givesNumber(numbers: ReadonlySet<string>, words: readonly string[], number: string): boolean {
  return numbers.has(number) || words.some((word) => implied.get(word) === number);
}

/**
 * Stems of the capitalised words inside of sentences: mostly names. The first word of a sentence says nothing, since it is
 * capitalised anyway.
 * @returns undefined where capitals mean nothing: in a Heading Like This, in CAPITALS
 */
export function namesOf(text: string): Set<string> | undefined {
  const names = new Set<string>();
  const plain = withoutPlaceholders(text);
  if (!/.\p{Lu}/su.test(plain)) return names;
  let [words, capitalised, end] = [0, 0, -1];
  for (const { 0: word, index } of plain.matchAll(wordPattern)) {
    const opens = end < 0 || /[.!?:;"“‘(|–—]/.test(plain.slice(end, index));
    end = index + word.length;
    if (!/^\p{L}/u.test(word) || word.length < 2 || stopWords.has(word)) continue;
    words++;
    if (!/^\p{Lu}/u.test(word)) continue;
    capitalised++;
    if (!opens && !stopWords.has(word.toLowerCase())) names.add(stemOf(withoutPossessive(word.toLowerCase())));
  }
  return words > 2 && capitalised > words / 2 ? undefined : names;
}

/** Stems of all words, for looking up names. */
export function stemsOf(words: readonly string[]): Set<string> {
  return new Set(words.map((word) => stemOf(word)));
}

/** How many stems are kept; captions have far fewer different words than this. */
const knownStems = 100_000;
const stems = new Map<string, string>();

function stemOf(word: string): string {
  let stem = stems.get(word);
  if (stem !== undefined) return stem;
  stem = /^[a-z]+$/.test(word) ? stemmer(word) : word;
  if (stems.size >= knownStems) stems.clear();
  stems.set(word, stem);
  return stem;
}

function withoutPlaceholders(text: string): string {
  return text.includes("<") || text.includes("[") ? text.replace(placeholderPattern, " ") : text;
}

function withoutPossessive(word: string): string {
  return word.replace(/['’]s?$/, "");
}

let segmenter: Intl.Segmenter | undefined;

function segments(text: string): string[] {
  segmenter ??= new Intl.Segmenter(undefined, { granularity: "word" });
  return Array.from(segmenter.segment(text)).flatMap(({ segment, isWordLike }) => (isWordLike ? [segment] : []));
}
