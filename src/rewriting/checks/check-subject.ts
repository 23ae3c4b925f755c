/**
 * A rewrite beside its caption, as the checks look at it. What several checks need is worked out once, and only if one needs it.
 */
import { ClipTokenizer, contextLength } from "../../text/index.ts";
import { contentStems, isAscii, knownWords, namesOf, normalise, numbersOf, placeholdersOf, stemsOf, wordsOf } from "./content-words.ts";
import type { KnownWord } from "./content-words.ts";

/** What is known of a rewrite besides its text. */
export interface CheckOptions {
  /** The original caption. */
  caption: string;
  /** Another caption of the image that was merged with it: what it says is not made up either. */
  second?: string | undefined;
  /** Outputs of the source's example pairs, normalised: a rewrite equal to one of them was copied. */
  knownOutputs: ReadonlySet<string>;
  /** How the generation ended: "stop", "length" or "none". */
  finish: string;
  /** Whether the caption was shortened for the prompt. */
  shortened: boolean;
  /** Whether another rewrite of the caption says the same; known only when a whole folder is looked at. Default false. */
  duplicate?: boolean;
}

/** A text with its words and what they speak of, each worked out when it is first asked for. */
class ReadText {
  #plain: string | undefined;
  #words: readonly KnownWord[] | undefined;
  #content: ReadonlySet<string> | undefined;
  #stems: ReadonlySet<string> | undefined;
  #numbers: ReadonlySet<string> | undefined;
  #names: { found: ReadonlySet<string> | undefined } | undefined;
  #placeholders: ReadonlySet<string> | undefined;
  #scripts: ReadonlyMap<string, number> | undefined;

  constructor(readonly text: string) {}

  /** See `normalise`. */
  get plain(): string {
    return (this.#plain ??= normalise(this.text));
  }
  /** See `wordsOf`. */
  get words(): readonly KnownWord[] {
    return (this.#words ??= knownWords(wordsOf(this.text)));
  }
  /** See `contentStems`. */
  get content(): ReadonlySet<string> {
    return (this.#content ??= contentStems(this.words));
  }
  get stems(): ReadonlySet<string> {
    return (this.#stems ??= stemsOf(this.words));
  }
  get numbers(): ReadonlySet<string> {
    return (this.#numbers ??= numbersOf(this.text, this.words));
  }
  /** See `namesOf`. */
  get names(): ReadonlySet<string> | undefined {
    return (this.#names ??= { found: namesOf(this.text) }).found;
  }
  get placeholders(): ReadonlySet<string> {
    return (this.#placeholders ??= placeholdersOf(this.text));
  }
  /** Letters of each script; where all are of one, their number may be too large. */
  get scripts(): ReadonlyMap<string, number> {
    return (this.#scripts ??= scriptsOf(this.text));
  }
  /** Words as training counts them: what stands between spaces. */
  get spacedWords(): number {
    return this.text === "" ? 0 : this.text.split(/\s+/).length;
  }
  /** CLIP tokens, start and end included. */
  get tokens(): number {
    return clipTokens(this.text);
  }
}

/** CLIP tokens of a text, start and end included, however long it is. */
export function clipTokens(text: string): number {
  return ClipTokenizer.load().encode(text).length + 2;
}

/** A rewrite, its caption, and how it came about. */
export class CheckSubject {
  readonly rewrite: ReadText;
  readonly caption: ReadText;
  /** All that was known of the picture: the caption, and the second one where two were merged. */
  readonly known: ReadText;
  /** Whether the answer held characters that no caption holds. */
  readonly damaged: boolean;
  readonly knownOutputs: ReadonlySet<string>;
  readonly finish: string;
  readonly shortened: boolean;
  readonly duplicate: boolean;

  /** @param answer what was written; control characters in it count as damage and become spaces */
  constructor(answer: string, { caption, second, knownOutputs, finish, shortened, duplicate = false }: CheckOptions) {
    this.rewrite = new ReadText(answer.replace(/\p{Cc}+/gu, " ").trim());
    this.caption = new ReadText(caption);
    this.known = second === undefined ? this.caption : new ReadText(`${caption}\n${second}`);
    this.damaged = /\p{Cc}|\ufffd/u.test(answer);
    this.knownOutputs = knownOutputs;
    this.finish = finish;
    this.shortened = shortened;
    this.duplicate = duplicate;
  }

  /** Whether the rewrite is sure to fit CLIP's text tower: a token is at least a byte. */
  get surelyFits(): boolean {
    return this.rewrite.text.length + 2 <= contextLength && isAscii(this.rewrite.text);
  }
}

const scriptNames = [
  "Latin",
  "Cyrillic",
  "Greek",
  "Arabic",
  "Hebrew",
  "Devanagari",
  "Thai",
  "Hangul",
  "Bengali",
  "Tamil",
  "Georgian",
  "Armenian",
];
const scriptPatterns: readonly (readonly [string, RegExp])[] = [
  ...scriptNames.map((name) => [name, new RegExp(`\\p{Script=${name}}`, "u")] as const),
  // One language writes with all of these.
  ["East Asian", /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u],
];

function scriptsOf(text: string): Map<string, number> {
  if (isAscii(text)) return new Map(/[a-z]/i.test(text) ? [["Latin", text.length]] : []);
  const latin = text.match(/[a-z]/gi)?.length ?? 0;
  const scripts = new Map(latin > 0 ? [["Latin", latin]] : []);
  for (const [letter] of text.matchAll(/(?![a-z])\p{L}/giu)) {
    const name = scriptPatterns.find(([, pattern]) => pattern.test(letter))?.[0] ?? "another";
    scripts.set(name, (scripts.get(name) ?? 0) + 1);
  }
  return scripts;
}
