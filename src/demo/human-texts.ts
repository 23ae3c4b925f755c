/**
 * What other people wrote about the same picture, put into phrases: the demo's stand-in for the paper's Human source.
 *
 * Nothing is generated. Every piece of a text is a name, keyword, tag or category that a person gave this emoji; only the choice of
 * pieces, the commas and an "and" are ours. Four texts a picture, as the paper has four rewrites, one from each kind:
 *   human-names     a name another platform uses, or the name with Unicode's category: "steaming bowl", "onion, vegetable, food"
 *   human-keywords  two or three CLDR keywords: "desert, bactrian, camel"
 *   human-tags      two or three tags of OpenMoji, or further keywords where it gives none: "oasis, sahara"
 *   human-phrases   the name with one or two of these words: "two-hump camel, desert and hump"
 * The drawings of one emoji get different choices, so a concept in three styles has up to twelve texts.
 */
import { Random } from "../support/index.ts";
import type { Concept, NamingAnnotator } from "./concepts.ts";
import { phraseKey, wordsOf } from "./words.ts";

/** The four kinds of text, which are also the source names in the rewrites folder. */
export const humanSources = ["human-names", "human-keywords", "human-tags", "human-phrases"] as const;

/** Name of a source of human texts, as in a rewrites folder. */
export type HumanSource = (typeof humanSources)[number];

/** Label of the folder and of every report that shows these texts. */
export const humanLabel =
  "written by people: CLDR names and keywords, OpenMoji tags, Unicode character names and groups, short codes of GitHub, Slack, JoyPixels and Emojibase; put into phrases";

/** Who wrote a piece of a text. emojilib, the evaluation's annotator, is not among them. */
export type Annotator = NamingAnnotator | "cldr" | "openmoji" | "unicode-groups";

/** A part of a human text, and who wrote it. */
export interface Piece {
  text: string;
  by: readonly Annotator[];
}

/** One text about one picture. */
export interface HumanText {
  /** Sample id. */
  id: string;
  source: HumanSource;
  /** At least two words; no two texts of a sample are the same, none is the caption. */
  text: string;
  /** The words of others that the text is made of, in order. */
  pieces: readonly Piece[];
}

interface Phrase {
  pieces: readonly Piece[];
  text: string;
}

/** The four texts of one picture; the same `id` and concept give the same texts. */
export function humanTexts(id: string, concept: Concept): HumanText[] {
  const random = Random.of("human texts", id);
  const words = gather(concept);
  const used = new Set([phraseKey(concept.name)]);
  return humanSources.map((source) => {
    const phrase = firstNew(used, () => draw(source, words, random), allPairs(words));
    used.add(phraseKey(phrase.text));
    return { id, source, text: phrase.text, pieces: phrase.pieces };
  });
}

interface Words {
  name: Piece;
  otherNames: readonly Piece[];
  categories: readonly Piece[];
  /** CLDR keywords that say something the name does not. */
  keywords: readonly Piece[];
  /** OpenMoji tags that are neither in the name nor among the keywords. */
  tags: readonly Piece[];
}

function gather(concept: Concept): Words {
  const inName = new Set(wordsOf(concept.name));
  const fresh = (text: string): boolean => wordsOf(text).some((word) => !inName.has(word));
  const keywords = concept.keywords.filter(fresh);
  const known = new Set(keywords.map(phraseKey));
  const piece =
    (...by: readonly Annotator[]) =>
    (text: string): Piece => ({ text, by });
  return {
    name: { text: concept.name, by: ["cldr"] },
    otherNames: concept.otherNames.map(({ name, by }) => ({ text: name, by })),
    categories: concept.categories.filter(fresh).map(piece("unicode-groups")),
    keywords: keywords.map(piece("cldr")),
    tags: concept.tags.filter((tag) => fresh(tag) && !known.has(phraseKey(tag))).map(piece("openmoji")),
  };
}

function draw(source: HumanSource, words: Words, random: Random): Phrase {
  const some = (pieces: readonly Piece[], most: number): Piece[] => random.sample(pieces, Math.min(pieces.length, most));
  const twoOrThree = (): number => 2 + random.integer(2);
  switch (source) {
    case "human-names": {
      if (words.otherNames.length === 0) return list([words.name, ...words.categories]);
      const other = random.choice(words.otherNames);
      return list(wordsOf(other.text).length >= 2 ? [other] : [other, ...some([...words.keywords, ...words.categories], 1)]);
    }
    case "human-keywords":
      return list(atLeastTwo(some(words.keywords, twoOrThree()), words));
    case "human-tags": {
      const tags = some(words.tags, twoOrThree());
      return list(atLeastTwo(tags.length >= 2 ? tags : [...tags, ...some([...words.keywords, ...words.categories], 2)], words));
    }
    case "human-phrases": {
      const said = some([...words.keywords, ...words.tags], 1 + random.integer(2));
      return nameAnd(words.name, said.length > 0 ? said : words.categories);
    }
  }
}

/** A list of one or no piece is filled up with the category or, failing that, the name. */
function atLeastTwo(pieces: readonly Piece[], words: Words): Piece[] {
  const filled = distinctPieces(pieces);
  for (const filler of [...words.categories, words.name]) {
    if (filled.length >= 2) break;
    if (!filled.some((piece) => phraseKey(piece.text) === phraseKey(filler.text))) filled.push(filler);
  }
  return filled;
}

function list(pieces: readonly Piece[]): Phrase {
  const kept = distinctPieces(pieces);
  return { pieces: kept, text: kept.map((piece) => piece.text).join(", ") };
}

function nameAnd(name: Piece, said: readonly Piece[]): Phrase {
  const kept = distinctPieces(said);
  return { pieces: [name, ...kept], text: [name.text, kept.map((piece) => piece.text).join(" and ")].filter(Boolean).join(", ") };
}

function distinctPieces(pieces: readonly Piece[]): Piece[] {
  const seen = new Set<string>();
  return pieces.filter((piece) => !seen.has(phraseKey(piece.text)) && seen.add(phraseKey(piece.text)));
}

/** Every way to join two pieces: the way out for the few emoji about which people wrote almost nothing. */
function allPairs(words: Words): Phrase[] {
  const pieces = distinctPieces([words.name, ...words.otherNames, ...words.categories, ...words.keywords, ...words.tags]);
  const pairs = pieces.flatMap((first) => pieces.filter((second) => second !== first).map((second) => [first, second] as const));
  return [
    ...pairs.map((pair) => list(pair)),
    ...pairs.map(([first, second]) => ({ pieces: [first, second], text: `${first.text} and ${second.text}` })),
  ];
}

function firstNew(used: ReadonlySet<string>, draw: () => Phrase, otherwise: readonly Phrase[]): Phrase {
  const isNew = (phrase: Phrase): boolean => wordsOf(phrase.text).length >= 2 && !used.has(phraseKey(phrase.text));
  for (let attempt = 0; attempt < 8; attempt++) {
    const phrase = draw();
    if (isNew(phrase)) return phrase;
  }
  const phrase = otherwise.find(isNew);
  if (!phrase)
    throw new Error(`internal: fewer than four different texts can be made of ${JSON.stringify(otherwise.map(({ text }) => text))}`);
  return phrase;
}
