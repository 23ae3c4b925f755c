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
  const lower = text.toLowerCase();
  // The plainer pattern takes a third of the time.
  return (isAscii(lower) ? lower.replace(/[^a-z0-9]+/g, " ") : lower.replace(/[^\p{L}\p{N}]+/gu, " ")).trim();
}

/** True for a text of nothing but ASCII characters. */
export function isAscii(text: string): boolean {
  // eslint-disable-next-line no-control-regex
  return /^[\u0000-\u007f]*$/.test(text);
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

/** A word, and all that is known of it whatever text it stands in. */
export interface KnownWord {
  readonly word: string;
  readonly stem: string;
  /** False for stop words and numbers: they do not say what is there. */
  readonly isContent: boolean;
  /** What a number word stands for: 20 for "twenty". */
  readonly value: number | undefined;
  /** Different for different words of one text. */
  readonly key: number;
}

/** How many words are kept; captions have far fewer different ones than this. */
const mostKnown = 100_000;
const known = new Map<string, KnownWord>();

/** What is known of these words, in their order; a word that has come up before costs a single look. */
export function knownWords(words: readonly string[]): KnownWord[] {
  // Within a text, a word must not get a second key.
  if (known.size >= mostKnown) known.clear();
  return words.map((word) => {
    let found = known.get(word);
    if (!found) {
      const value = numberWords.get(word);
      const isContent = !stopWords.has(word) && value === undefined && !/\d/.test(word);
      known.set(word, (found = { word, stem: stemOf(word), isContent, value, key: known.size }));
    }
    return found;
  });
}

/** Stems of the words that say what is there: no stop words, no numbers. */
export function contentStems(words: readonly KnownWord[]): Set<string> {
  const stems = new Set<string>();
  for (const { isContent, stem } of words) if (isContent) stems.add(stem);
  return stems;
}

/** Different pairs of neighbouring words among all of them, 0..1; undefined below five words: so few repeat nothing. */
export function distinctPairs(words: readonly KnownWord[]): number | undefined {
  if (words.length < 5) return undefined;
  const pairs = new Set<number>();
  for (let i = 1; i < words.length; i++) pairs.add(words[i - 1]!.key * 2 ** 26 + words[i]!.key);
  return pairs.size / (words.length - 1);
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
export function numbersOf(text: string, words: readonly KnownWord[]): Set<string> {
  const numbers = new Set<string>();
  if (/\d/.test(text)) {
    for (const [digits] of withoutPlaceholders(text).matchAll(/\d+(?:[.,:]\d+)*/g))
      numbers.add(digits.replace(/,(?=\d{3}\b)/g, "").replace(/^0+(?=\d)/, ""));
  }
  for (let i = 0; i < words.length; i++) {
    const start = i;
    let { value } = words[i]!;
    if (value === undefined) continue;
    const unit = words[i + 1]?.value;
    if (value >= 20 && unit !== undefined && unit > 0 && unit < 10) {
      value += unit;
      i++;
    }
    for (let factor; (factor = factors.get(words[i + 1]?.word ?? "")) !== undefined; i++) value *= factor;
    if (value !== 1 || i > start) numbers.add(String(value));
  }
  return numbers;
}

/** Whether a text gives a number, in digits, as a word, or in passing: "a pair of dogs" has 2. */
export function givesNumber(numbers: ReadonlySet<string>, words: readonly KnownWord[], number: string): boolean {
  return numbers.has(number) || words.some(({ word }) => implied.get(word) === number);
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
export function stemsOf(words: readonly KnownWord[]): Set<string> {
  return new Set(words.map(({ stem }) => stem));
}

function stemOf(word: string): string {
  return known.get(word)?.stem ?? (/^[a-z]+$/.test(word) ? stemmer(word) : word);
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
