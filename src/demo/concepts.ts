/**
 * The things that are pictured: emoji of five groups that all four styles have drawn, with what people wrote about them.
 *
 * Flags, skin tones and joined sequences (ZWJ) are left out: they vary a picture rather than show another thing.
 * Every text here may be trained on. The words kept for evaluation live in `evaluation-words.ts` and never enter this type.
 */
import { DataError } from "../support/index.ts";
import type { DrawingStyle } from "./drawing-styles.ts";
import { packageJson } from "./emoji-packages.ts";
import { evaluationWords } from "./evaluation-words.ts";
import { phraseKey, plainWords } from "./words.ts";

/** Emojibase's numbers of the groups in the world. */
const conceptGroups = { 3: "animals-nature", 4: "food-drink", 5: "travel-places", 6: "activities", 7: "objects" } as const;

/** People (and platforms) who named an emoji. */
const namingAnnotators = {
  "cldr-british": "CLDR, British English",
  unicode: "The Unicode Standard",
  github: "GitHub",
  iamcal: "Slack",
  joypixels: "JoyPixels",
  emojibase: "Emojibase",
} as const;

/** Key of one of them. */
export type NamingAnnotator = keyof typeof namingAnnotators;

/** One emoji and the texts that others wrote about it. All texts are plain words: no underscores, no leading or trailing blanks. */
export interface Concept {
  /** Code points as Emojibase writes them: "1F408". */
  hexcode: string;
  /** The character itself. */
  emoji: string;
  group: (typeof conceptGroups)[keyof typeof conceptGroups];
  /** Words of Unicode's subgroup, the narrower first: ["vegetable", "food"]; empty where it only says "other objects". */
  categories: readonly string[];
  /** CLDR short name, the caption of the world: "cat face". */
  name: string;
  /** CLDR keywords (English and British English), in CLDR's order. */
  keywords: readonly string[];
  /** OpenMoji's own tags; often empty. */
  tags: readonly string[];
  /** Names others gave it that differ from `name`, each with the annotators who use it. */
  otherNames: readonly { name: string; by: readonly NamingAnnotator[] }[];
}

interface EmojibaseEntry {
  hexcode: string;
  emoji: string;
  label: string;
  group?: number;
  subgroup?: number;
  tags?: string[];
}

interface OpenmojiEntry {
  hexcode: string;
  openmoji_tags: string;
}

type Shortcodes = Record<string, string | string[]>;

/** True for the emoji that belong to the world: one of the five groups, no flag, no skin tone, no joined sequence. */
export function isConcept(hexcode: string, group: number | undefined): boolean {
  if (group === undefined || !(group in conceptGroups)) return false;
  return hexcode.split("-").every((code) => {
    const value = Number.parseInt(code, 16);
    const joiner = value === 0x200d;
    const skinTone = value >= 0x1f3fb && value <= 0x1f3ff;
    const flagPart =
      (value >= 0x1f1e6 && value <= 0x1f1ff) || (value >= 0xe0020 && value <= 0xe007f) || value === 0x1f3f3 || value === 0x1f3f4;
    return !joiner && !skinTone && !flagPart;
  });
}

/** Concepts that every style has drawn and the evaluation annotator has described, in CLDR's order. About 840. */
export function readConcepts(styles: readonly DrawingStyle[]): Concept[] {
  const entries = packageJson<EmojibaseEntry[]>("emojibase-data", "en/data.json");
  const british = new Map(packageJson<EmojibaseEntry[]>("emojibase-data", "en-gb/data.json").map((entry) => [entry.hexcode, entry]));
  const subgroups = packageJson<{ subgroups: Record<string, string> }>("emojibase-data", "meta/groups.json").subgroups;
  const unicodeNames = packageJson<Record<string, string>>("emojibase-data", "meta/unicode-names.json");
  const platforms = (["github", "iamcal", "joypixels", "emojibase"] as const).map((platform) => ({
    platform,
    codes: packageJson<Shortcodes>("emojibase-data", `en/shortcodes/${platform}.json`),
  }));
  const openmoji = new Map(packageJson<OpenmojiEntry[]>("openmoji", "data/openmoji.json").map((entry) => [entry.hexcode, entry]));

  const concepts: Concept[] = [];
  for (const entry of entries) {
    if (!isConcept(entry.hexcode, entry.group) || !styles.every((style) => style.has(entry.hexcode))) continue;
    const name = plainWords(entry.label);
    if (evaluationWords(entry.emoji, name).otherWords.length === 0) continue;
    const names: [NamingAnnotator, string][] = [
      ["cldr-british", british.get(entry.hexcode)?.label ?? ""],
      ["unicode", unicodeNames[entry.hexcode]?.toLowerCase() ?? ""],
      ...platforms.flatMap(({ platform, codes }) =>
        [codes[entry.hexcode] ?? []].flat().map((code): [NamingAnnotator, string] => [platform, code]),
      ),
    ];
    concepts.push({
      hexcode: entry.hexcode,
      emoji: entry.emoji,
      group: conceptGroups[entry.group as keyof typeof conceptGroups],
      categories: categoryWords(subgroups[String(entry.subgroup)] ?? ""),
      name,
      keywords: distinct([...(entry.tags ?? []), ...(british.get(entry.hexcode)?.tags ?? [])], [name]),
      tags: distinct((openmoji.get(entry.hexcode)?.openmoji_tags ?? "").split(","), [name]),
      otherNames: collectNames(names, name),
    });
  }
  if (concepts.length === 0)
    throw new DataError("No emoji is drawn in all four styles: the installed emoji packages do not fit each other.");
  return concepts;
}

/** "food-vegetable" -> ["vegetable", "food"]; "sky-weather" -> ["weather", "sky"]; "other-object" -> []. */
function categoryWords(subgroup: string): string[] {
  return subgroup
    .split(/[-&\s]+/)
    .filter((word) => word !== "" && word !== "other" && word !== "object")
    .toReversed();
}

function distinct(texts: readonly string[], known: readonly string[]): string[] {
  const seen = new Set(known.map(phraseKey));
  const result: string[] = [];
  for (const text of texts.map(plainWords)) {
    const key = phraseKey(text);
    if (key.length < 2 || seen.has(key)) continue;
    seen.add(key);
    result.push(text);
  }
  return result;
}

function collectNames(names: readonly [NamingAnnotator, string][], own: string): Concept["otherNames"] {
  const byKey = new Map<string, { name: string; by: NamingAnnotator[] }>();
  for (const [annotator, raw] of names) {
    // Short codes number what is already taken: "cow2" is just another cow.
    const name = plainWords(raw).replace(/(?<=\p{L})\d+$/u, "");
    const key = phraseKey(name);
    if (key.length < 2 || key === phraseKey(own)) continue;
    const known = byKey.get(key);
    if (!known) byKey.set(key, { name, by: [annotator] });
    else if (!known.by.includes(annotator)) known.by.push(annotator);
  }
  return [...byKey.values()];
}
