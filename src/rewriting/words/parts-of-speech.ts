/**
 * What a word of a caption is: noun, verb, adjective or adverb, in which form, of which base form.
 *
 * Each word has few readings that a dictionary knows of. The likeliest is taken, from left to right: how often the dictionary's
 * texts had it, times how well such a word follows the one before it ("a" before a noun, a noun before "riding"), times a hint from
 * the next. The weights are guesses that were tried on captions of photos; a trained tagger would be right more often and is ten
 * times slower than rewriting at speed allows.
 */
import { stopWords } from "../checks/stop-words.ts";
import type { BaseForm, Form } from "./morphology.ts";
import type { Sense } from "./wordnet.ts";

/** One way to read a word. */
export interface Reading extends BaseForm {
  /** How often the dictionary's texts had the base form as this part of speech. */
  readonly count: number;
  /** At least one, the most frequent first. */
  readonly senses: readonly Sense[];
}

/** What stands before a word, as far as it matters for the word. */
type Context = "start" | "determiner" | "preposition" | "to" | "be" | "have" | "modal" | "pronoun" | "conjunction" | Content;
type Content = "noun" | "nouns" | "adj" | "adv" | "verb" | "unknown";
type Kind = "noun" | "nouns" | "adj" | "adv" | "base" | "third" | "ed" | "ing";

/** How well each kind of word follows: noun, plural, adj, adv, verb as it stands, with -s, -ed, -ing. */
const kinds: readonly Kind[] = ["noun", "nouns", "adj", "adv", "base", "third", "ed", "ing"];
const affinities: Readonly<Record<Context, readonly number[]>> = {
  start: [4, 4, 3, 1, 0.3, 0.05, 0.5, 1],
  determiner: [8, 8, 8, 1, 0.01, 0.01, 1, 0.5],
  preposition: [5, 5, 4, 0.5, 0.02, 0.02, 0.3, 1.5],
  to: [3, 3, 2, 0.5, 6, 0.01, 0.1, 0.2],
  be: [0.5, 0.5, 4, 1.5, 0.02, 0.02, 6, 8],
  have: [2, 2, 2, 1, 0.1, 0.02, 6, 0.3],
  modal: [0.2, 0.2, 0.3, 2, 8, 0.02, 0.02, 0.02],
  pronoun: [0.1, 0.1, 0.3, 2, 3, 8, 6, 2],
  conjunction: [3, 3, 2, 1, 1, 2, 1, 3],
  noun: [2, 2, 0.3, 2, 0.05, 1, 5, 8],
  nouns: [1, 1, 0.3, 2, 4, 0.1, 5, 8],
  adj: [8, 8, 2, 0.2, 0.05, 0.05, 0.3, 0.5],
  adv: [1, 1, 4, 1, 1, 1, 3, 3],
  verb: [3, 3, 2, 3, 0.05, 0.05, 0.3, 0.3],
  unknown: [1, 1, 1, 1, 1, 1, 1, 1],
};

/** A word that follows so badly has not been understood. */
const possible = 0.04;
/** Added to every count. Captions are about things more than the texts that the dictionary counted. */
const unseen = { noun: 1, other: 0.5 } as const;

const functionWords = new Map<string, Context>();
for (const [context, words] of [
  [
    "determiner",
    "a an the this these those my your his her its our their each every some any no both few several many most more other another all such same own various two three four five six seven eight nine ten",
  ],
  ["pronoun", "i you he she it we they who which that whom someone something somebody anybody everybody nobody"],
  [
    "preposition",
    "of past in on at by with for from into about against between through during above below under over near behind beside beneath along across around inside outside onto upon toward towards without within among",
  ],
  // Where something is, not what: "in front of", "on top of", "next to". Their synonyms are of other meanings.
  ["determiner", "next front back top bottom side middle left right one lot lots way kind type"],
  ["to", "to"],
  ["be", "is are was were be been being am gets getting"],
  ["have", "have has had having"],
  ["modal", "can will would could should may might must do does did just not"],
  ["conjunction", "and or but nor so yet if because as while when where"],
] as const) {
  for (const word of words.split(" ")) functionWords.set(word, context);
}

/** True for a word that says how, not what; it has no reading. */
export function isFunctionWord(word: string): boolean {
  return functionWords.has(word) || stopWords.has(word);
}

/**
 * The likeliest reading of each word, none where there is none. Regular past forms come out as "past" or "participle".
 * @param words lower case, without punctuation, in order
 * @param readingsOf what the dictionary says of a word alone
 */
export function readWords(words: readonly string[], readingsOf: (word: string) => readonly Reading[]): (Reading | undefined)[] {
  const chosen: (Reading | undefined)[] = [];
  let before: Context = "start";
  for (const [i, word] of words.entries()) {
    const next = words[i + 1];
    const readings = isFunctionWord(word) ? [] : readingsOf(word);
    const best = likeliest(readings, before, next);
    chosen.push(best && settlePast(best, before, next));
    before = best ? contentOf(best) : (functionWords.get(word) ?? (stopWords.has(word) ? "preposition" : "unknown"));
  }
  return chosen;
}

function likeliest(readings: readonly Reading[], before: Context, next: string | undefined): Reading | undefined {
  const closes = next === undefined || isFunctionWord(next);
  let best: Reading | undefined;
  // A word that WordNet has as a verb alone is no verb after "the".
  let highest = 0;
  for (const reading of readings) {
    const kind = kindOf(reading);
    const { part } = reading;
    // An adjective looks for its noun; a verb with an ending for what it does or where.
    const ahead = kind === "adj" ? (closes && before !== "be" ? 0.5 : 3) : kind === "third" ? (next !== undefined && closes ? 2 : 0.5) : 1;
    const affinity = affinities[before][kinds.indexOf(kind)]!;
    if (affinity < possible) continue;
    const score = (reading.count + (part === "noun" ? unseen.noun : unseen.other)) * affinity * ahead;
    if (score > highest) [best, highest] = [reading, score];
  }
  return best;
}

function kindOf({ part, form }: Reading): Kind {
  if (part === "noun") return form === "plural" ? "nouns" : "noun";
  if (part !== "verb") return part;
  return form === "base" || form === "third" || form === "ing" ? form : "ed";
}

function contentOf({ part, form }: Reading): Content {
  return part === "noun" && form === "plural" ? "nouns" : part;
}

/** "held by a man" against "held a ball". */
function settlePast(reading: Reading, before: Context, next: string | undefined): Reading {
  if (reading.form !== "ed") return reading;
  const follows = next === undefined ? undefined : functionWords.get(next);
  const past = before === "pronoun" || ((before === "noun" || before === "nouns") && (follows === "determiner" || follows === "pronoun"));
  const form: Form = past ? "past" : "participle";
  return { ...reading, form };
}
