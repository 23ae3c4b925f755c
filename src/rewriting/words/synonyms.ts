/**
 * Synonyms that can stand in a word's place: of the meaning it most likely has in a caption, with the ending it has.
 *
 * "two dogs running" gives "domestic dogs" for "dogs" and "sprinting" for "running", not the "firedogs" and "functioning" of
 * WordNet's other senses. What WordNet knows as one word stays one: "fire hydrant" is a "fireplug", no "flame hydrant".
 */
import { baseForms, inflect } from "./morphology.ts";
import type { BaseForm, Form } from "./morphology.ts";
import { isFunctionWord, readWords } from "./parts-of-speech.ts";
import type { Reading } from "./parts-of-speech.ts";
import { WordNet } from "./wordnet.ts";
import type { PartOfSpeech, Sense } from "./wordnet.ts";

/** One or several words of a caption that others may replace. */
export interface Replaceable {
  /** Index of the first word. */
  readonly at: number;
  /** Number of words. */
  readonly length: number;
  /** At least one, those of the likeliest sense first; each may be of several words. */
  readonly synonyms: readonly string[];
}

/** Lexicographer files of what a picture can show: animals, artifacts, bodies, food, objects, people, plants, substances. */
const visibleTopics: ReadonlySet<number> = new Set([5, 6, 8, 13, 17, 18, 20, 27]);
/** Bodies, people and substances count less than things: a controller is not an accountant. */
const lessLikelyTopics: ReadonlySet<number> = new Set([8, 18, 27]);
const lessLikely = 0.4;
/** Senses this much rarer than the most frequent one are left out; so are synonyms that mean something else as much more often. */
const rarer = 0.5;
/** Other parts of speech may be more frequent by this; the ending tells. */
const otherwise = 0.2;
/** A visible sense is preferred to others unless it is this much rarer: a trick is not a person. */
const muchRarer = 0.1;
/** More senses than these are those of a word that means everything: "pass", "take". */
const mostSenses = 2;
/** Insults that WordNet does not mark. */
const unfit = /^(?:negro|coloured|arse|ass|fanny|crapper|whore|bitch|bastard|savage)s?$/;
/** Second words of verbs of two words: "looking at". Those with "in" and "on" are places more often: "standing in". */
const particles: ReadonlySet<string> = new Set("at up down off out around away along".split(" "));
/** A white horse is a horse, whatever WordNet says. */
const colours: ReadonlySet<string> = new Set("black white red green blue brown yellow gray grey orange pink purple".split(" "));
/** Words that are kept; captions of the web have no end of misspellings. */
const remembered = 100_000;

/** A dictionary of synonyms that reads words in their place. */
export class Synonyms {
  readonly #wordnet: WordNet;
  readonly #readings = new Map<string, readonly Reading[]>();
  readonly #synonyms = new WeakMap<readonly Sense[], Map<Form, readonly string[]>>();

  constructor(wordnet = new WordNet()) {
    this.#wordnet = wordnet;
  }

  /**
   * What can be replaced in a caption, in order.
   * @param words lower case, without punctuation, in order
   */
  replaceable(words: readonly string[]): Replaceable[] {
    const starts: number[] = [];
    const units: string[] = [];
    for (let at = 0; at < words.length;) {
      const unit = this.#unit(words, at);
      starts.push(at);
      units.push(unit.text);
      at += unit.length;
    }
    const found: Replaceable[] = [];
    for (const [i, reading] of readWords(units, (unit) => this.readings(unit)).entries()) {
      if (!reading) continue;
      const synonyms = this.#of(reading, units[i]!);
      const at = starts[i]!;
      if (synonyms.length > 0) found.push({ at, length: (starts[i + 1] ?? words.length) - at, synonyms });
    }
    return found;
  }

  /** All ways to read a word, or several that are one, by themselves; none for what is not in the dictionary. */
  readings(word: string): readonly Reading[] {
    const known = this.#readings.get(word);
    if (known) return known;
    if (isFunctionWord(word) || !/^[a-z]{2,}(?:[ -][a-z]+)*$/.test(word)) return [];
    const readings = this.#lookUp(word);
    if (this.#readings.size >= remembered) this.#readings.clear();
    this.#readings.set(word, readings);
    return readings;
  }

  /** The words from here on that the dictionary has as one: up to three for a noun, two for a verb with its particle. */
  #unit(words: readonly string[], at: number): { text: string; length: number } {
    const first = words[at]!;
    const alone = { text: first, length: 1 };
    const second = words[at + 1];
    if (second === undefined || isFunctionWord(first) || colours.has(first)) return alone;
    if (particles.has(second)) {
      // Not "close up": the verb must have an ending, or it is no verb.
      const verb = this.readings(first).find(({ part, form }) => part === "verb" && form !== "base");
      return verb && this.#wordnet.continuations(verb.lemma).has(second) ? { text: `${first} ${second}`, length: 2 } : alone;
    }
    const continuations = this.#wordnet.continuations(first);
    if (continuations.size === 0 || isFunctionWord(second)) return alone;
    const third = words[at + 2];
    if (third !== undefined && !isFunctionWord(third) && this.#ends(third, (noun) => continuations.has(`${second} ${noun}`)))
      return { text: `${first} ${second} ${third}`, length: 3 };
    return this.#ends(second, (noun) => continuations.has(noun)) ? { text: `${first} ${second}`, length: 2 } : alone;
  }

  /** Whether the last word of a compound fits, as it is or as the noun it comes from. */
  #ends(word: string, fits: (noun: string) => boolean): boolean {
    if (fits(word)) return true;
    const noun = this.readings(word).find(({ part }) => part === "noun");
    return noun !== undefined && noun.lemma !== word && fits(noun.lemma);
  }

  #lookUp(word: string): Reading[] {
    const best = new Map<string, Reading & { regular: boolean }>();
    for (const { lemma, part, form } of candidates(word)) {
      const senses = this.#wordnet.senses(lemma).filter((sense) => sense.part === part && sense.words.includes(lemma.replaceAll(" ", "_")));
      if (senses.length === 0) continue;
      // "planes" is not of "plan", though the rules allow it; but "travelling" may be of "travel".
      const regular = inflect(lemma, part, form) === word;
      const reading = { lemma, part, form, senses, count: total(senses), regular };
      // "leaves" is of "leaf" more often than of "leave"; "men" is of "man", though WordNet has it as a word for a work force too.
      const key = part === "noun" ? part : `${part} ${form}`;
      const other = best.get(key);
      if (!other || (regular === other.regular ? other.count < reading.count : regular)) best.set(key, reading);
    }
    return [...best.values()];
  }

  #of(reading: Reading, word: string): readonly string[] {
    // The senses of a reading are the same list in all its forms, and go when the word is forgotten.
    let forms = this.#synonyms.get(reading.senses);
    if (!forms) this.#synonyms.set(reading.senses, (forms = new Map()));
    let synonyms = forms.get(reading.form);
    if (!synonyms) forms.set(reading.form, (synonyms = this.#find(reading).filter((synonym) => synonym !== word)));
    return synonyms;
  }

  #find({ lemma, part, form, senses }: Reading): string[] {
    const found = new Set<string>();
    for (const sense of likelySenses(senses)) {
      for (const written of sense.words) {
        // Names and abbreviations (upper case) and numbered or dotted forms are no substitute for a plain word.
        if (!/^[a-z]{2,}(?:[_-][a-z]+)*$/.test(written) || unfit.test(written)) continue;
        const synonym = written.replaceAll("_", " ");
        if (isSpelling(synonym, lemma) || isFunctionWord(synonym) || !this.#means(synonym, sense)) continue;
        found.add(inflect(synonym, part, form));
      }
    }
    return [...found];
  }

  /** Whether a word is understood in this sense where nothing else tells: "soul" is not understood as a person. */
  #means(word: string, { part, place }: Sense): boolean {
    const senses = this.#wordnet.senses(word);
    const own = senses.filter((sense) => sense.part === part);
    const sense = own.find((candidate) => candidate.place === place);
    return sense !== undefined && (sense === own[0] || sense.count >= rarer * own[0]!.count) && isMostly(part, senses);
  }
}

function candidates(word: string): BaseForm[] {
  const space = word.indexOf(" ");
  if (space < 0) return baseForms(word);
  const [first, rest] = [word.slice(0, space), word.slice(space)];
  const verbs = particles.has(rest.slice(1)) ? baseForms(first).filter(({ part }) => part === "verb") : [];
  return [
    ...baseForms(word).filter(({ part }) => part === "noun" || part === "adj"),
    ...verbs.map((verb) => ({ ...verb, lemma: verb.lemma + rest })),
  ];
}

/** "living-room" says nothing that "living room" does not. */
function isSpelling(one: string, other: string): boolean {
  return one.replaceAll("-", " ") === other.replaceAll("-", " ");
}

function isMostly(part: PartOfSpeech, senses: readonly Sense[]): boolean {
  const count = total(senses.filter((sense) => sense.part === part));
  return count >= otherwise * (total(senses) - count);
}

/** Of a noun's senses those of things that can be seen, if it has any that are common; of these the most frequent. */
function likelySenses(senses: readonly Sense[]): readonly Sense[] {
  const visible = senses.filter(({ part, topic, count }) => {
    return part === "noun" && visibleTopics.has(topic) && count >= muchRarer * senses[0]!.count;
  });
  const order = ({ topic, count }: Sense): number => (lessLikelyTopics.has(topic) ? lessLikely * count : count + 0.1);
  const likely = visible.length > 0 ? visible.toSorted((a, b) => order(b) - order(a)) : senses;
  return likely.filter(({ count }, i) => i === 0 || (count > 0 && count >= rarer * likely[0]!.count)).slice(0, mostSenses);
}

function total(senses: readonly Sense[]): number {
  return senses.reduce((sum, { count }) => sum + count, 0);
}
