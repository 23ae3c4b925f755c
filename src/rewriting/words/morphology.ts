/**
 * English endings: from a word as it stands in a caption to base forms it may come from, and from a base form to another's ending.
 *
 * Regular endings follow Morphy's rules (morphy(7WN)) and back; irregular nouns are those of the package `pluralize`, irregular verbs
 * and those that double their last letter those of `english-verbs-irregular`, since WordNet's package brings no list of exceptions.
 */
import { createRequire } from "node:module";
import pluralize from "pluralize";
import { readJson } from "../../support/index.ts";
import type { PartOfSpeech } from "./wordnet.ts";

/**
 * What an ending says. "past" and "participle" stand where the verb tells them apart ("ate", "eaten"), "ed" where it does not
 * ("walked", "held").
 */
export type Form = "base" | "plural" | "third" | "ing" | "ed" | "past" | "participle" | "comparative" | "superlative";

/** A base form that a word may come from. */
export interface BaseForm {
  readonly lemma: string;
  readonly part: PartOfSpeech;
  readonly form: Form;
}

// The package leaves these as they are.
pluralize.addPluralRule(/polis$/i, "polises");

type Rule = readonly [ending: string, base: string];

const rules: Readonly<Record<"plural" | "third" | "ed" | "ing" | "comparative" | "superlative", readonly Rule[]>> = {
  plural: [
    ["s", ""],
    ["es", ""],
    ["ies", "y"],
    ["men", "man"],
  ],
  third: [
    ["s", ""],
    ["es", ""],
    ["ies", "y"],
  ],
  ed: [
    ["ed", "e"],
    ["ed", ""],
    ["ied", "y"],
    ["cked", "c"],
  ],
  ing: [
    ["ing", "e"],
    ["ing", ""],
    ["ying", "ie"],
    ["cking", "c"],
  ],
  comparative: [
    ["er", "e"],
    ["er", ""],
    ["ier", "y"],
  ],
  superlative: [
    ["est", "e"],
    ["est", ""],
    ["iest", "y"],
  ],
};

const irregularAdjectives: Readonly<Record<string, readonly [comparative: string, superlative: string]>> = {
  good: ["better", "best"],
  bad: ["worse", "worst"],
  far: ["farther", "farthest"],
  little: ["littler", "littlest"],
};

/** Verbs of several syllables with the last one stressed, which the package lacks: "preferred". */
const stressedAtTheEnd =
  /^(?:confer|defer|infer|prefer|refer|transfer|occur|incur|recur|patrol|compel|expel|dispel|excel|enrol|acquit|equip)$/;

let irregular: { verbs: ReadonlyMap<string, readonly [past: string, participle: string]>; forms: ReadonlyMap<string, BaseForm[]> };

/** Irregular verbs and their forms, read when first asked for. */
function irregularVerbs(): typeof irregular {
  if (irregular !== undefined) return irregular;
  const path = createRequire(import.meta.url).resolve("english-verbs-irregular/dist/verbs.json");
  const list = readJson(path, "list of irregular verbs") as Record<string, readonly (readonly [string, string])[]>;
  const verbs = new Map<string, readonly [string, string]>();
  const forms = new Map<string, BaseForm[]>();
  const add = (word: string, lemma: string, form: Form): void => {
    forms.set(word, [...(forms.get(word) ?? []), { lemma, part: "verb", form }]);
  };
  for (const [lemma, pairs] of Object.entries(list)) {
    verbs.set(lemma, pairs[0]!);
    for (const [past, participle] of pairs) {
      if (past === participle) add(past, lemma, "ed");
      else {
        add(past, lemma, "past");
        if (participle !== lemma) add(participle, lemma, "participle");
      }
    }
  }
  irregular = { verbs, forms };
  return irregular;
}

/** All base forms that a word may come from, the word itself among them; whether there are such words is for a dictionary to say. */
export function baseForms(word: string): BaseForm[] {
  const found: BaseForm[] = (["noun", "verb", "adj", "adv"] as const).map((part) => ({ lemma: word, part, form: "base" }));
  const singular = pluralize.singular(word);
  if (singular !== word) found.push({ lemma: singular, part: "noun", form: "plural" });
  for (const lemma of strip(word, "plural")) if (lemma !== singular) found.push({ lemma, part: "noun", form: "plural" });
  found.push(...(irregularVerbs().forms.get(word) ?? []));
  for (const form of ["third", "ed", "ing"] as const) {
    // "sited" is of "site"; "putted" would be of "put" but for its irregular forms.
    for (const lemma of strip(word, form))
      if (form !== "ed" || !irregularVerbs().verbs.has(lemma)) found.push({ lemma, part: "verb", form });
  }
  for (const form of ["comparative", "superlative"] as const)
    for (const lemma of strip(word, form)) found.push({ lemma, part: "adj", form });
  for (const [lemma, [comparative, superlative]] of Object.entries(irregularAdjectives)) {
    if (word === comparative) found.push({ lemma, part: "adj", form: "comparative" });
    if (word === superlative) found.push({ lemma, part: "adj", form: "superlative" });
  }
  return found;
}

function* strip(word: string, form: keyof typeof rules): Generator<string> {
  for (const [ending, base] of rules[form]) {
    if (!word.endsWith(ending)) continue;
    const stem = word.slice(0, -ending.length) + base;
    if (stem.length < 2) continue;
    yield stem;
    // "running", "bigger": the doubled consonant belongs to the ending.
    if (base === "" && form !== "plural" && form !== "third" && /([bdfgklmnprtz])\1$/.test(stem)) yield stem.slice(0, -1);
  }
}

/**
 * Puts an ending on a base form: "pick up" becomes "picked up", "fire engine" "fire engines", "loaf of bread" "loaves of bread".
 * @param form "ed" is taken for the participle
 */
export function inflect(lemma: string, part: PartOfSpeech, form: Form): string {
  if (form === "base") return lemma;
  const words = lemma.split(" ");
  const preposition = words.findIndex((word, i) => i > 0 && /^(?:of|in|for|with|on|at|to|by)$/.test(word));
  const head = part === "verb" ? 0 : part === "adj" || preposition < 0 ? words.length - 1 : preposition - 1;
  if (part === "noun") words[head] = pluralize.plural(words[head]!);
  else if (part === "verb") words[head] = inflectVerb(words[head]!, form);
  else if (part === "adj") return inflectAdjective(lemma, form);
  return words.join(" ");
}

function inflectVerb(verb: string, form: Form): string {
  if (form === "third") {
    if (verb === "have") return "has";
    if (verb === "be") return "is";
    return /[^aeiou]y$/.test(verb) ? `${verb.slice(0, -1)}ies` : /(?:s|x|z|ch|sh|o)$/.test(verb) ? `${verb}es` : `${verb}s`;
  }
  const irregularPast = irregularVerbs().verbs.get(verb);
  if (form !== "ing") {
    if (irregularPast) return irregularPast[form === "past" ? 0 : 1];
    if (/[^aeiou]y$/.test(verb)) return `${verb.slice(0, -1)}ied`;
    return verb.endsWith("e") ? `${verb}d` : `${doubled(verb)}ed`;
  }
  if (/[^aeiou]ie$/.test(verb)) return `${verb.slice(0, -2)}ying`;
  if (/[^aeoy]e$/.test(verb) && verb.length > 2) return `${verb.slice(0, -1)}ing`;
  return `${doubled(verb)}ing`;
}

/** "run" as it stands before an ending that begins with a vowel: "runn". */
function doubled(word: string): string {
  const last = word.at(-1)!;
  if (word.endsWith("ic")) return `${word}k`;
  if (!/[^aeiou][aeiou][bdfgklmnprtz]$|^[aeiou][bdfgklmnprtz]$|qu[aeiou][bdgklmnprtz]$/.test(word)) return word;
  const listed = irregularVerbs().verbs.get(word);
  const oneSyllable = /^[^aeiou]*(?:qu)?[aeiou][bdfgklmnprtz]$/.test(word);
  return oneSyllable || listed !== undefined || stressedAtTheEnd.test(word) ? word + last : word;
}

function inflectAdjective(adjective: string, form: Form): string {
  const at = form === "comparative" ? 0 : 1;
  const known = irregularAdjectives[adjective];
  if (known) return known[at];
  const ending = ["er", "est"][at]!;
  if (/^[^aeiou]*[aeiou]*[^aeiou]+y$/.test(adjective)) return `${adjective.slice(0, -1)}i${ending}`;
  if (/^[^aeiou]*[aeiou]+[^aeiou]*e?$/.test(adjective))
    return (adjective.endsWith("e") ? adjective.slice(0, -1) : doubled(adjective)) + ending;
  return `${["more", "most"][at]!} ${adjective}`;
}

/** "a" or "an", as English has it before this word. */
export function articleBefore(word: string): "a" | "an" {
  // Letters are spoken by their names: "an SUV", "a TV".
  if (/^[A-Z](?:[A-Z0-9-]|$)/.test(word) && !/[AEIOU][A-Z]*[AEIOU]/.test(word)) return /^[AEFHILMNORSX]/.test(word) ? "an" : "a";
  if (/^(?:8|11(?!\d)|18(?!\d))/.test(word)) return "an";
  if (/^(?:hour|honest|honou?r|heir)/i.test(word)) return "an";
  if (/^(?:uni(?!n|m)|u[bfkst][aeiou]|eu|ew|on(?:e|ce)(?![a-z])|one-|ouija)/i.test(word)) return "a";
  return /^[aeiou]/i.test(word) ? "an" : "a";
}
