/**
 * The words of one annotator, emojilib, which are kept for the evaluation and trained on by nobody.
 *
 * They ask whether a model understands a picture in words other than those of its captions, so every word of the caption is taken
 * out of them: for "cat face", emojilib's "cat" goes and "animal", "meow" stay.
 */
import { packageJson } from "./emoji-packages.ts";
import { phraseKey, plainWords, wordsOf } from "./words.ts";

/** How one concept may be called in an evaluation. */
export interface EvaluationWords {
  /** The caption the model was trained on. */
  ownWords: string[];
  /** Words and phrases of emojilib that share no word with the caption; empty when there are none. */
  otherWords: string[];
}

let library: Map<string, string[]> | undefined;

/** @param emoji the character; @param name its caption in the world */
export function evaluationWords(emoji: string, name: string): EvaluationWords {
  library ??= new Map(
    Object.entries(packageJson<Record<string, string[]>>("emojilib", "dist/emoji-en-US.json")).map(([character, words]) => [
      withoutSelector(character),
      words,
    ]),
  );
  return { ownWords: [name], otherWords: otherWords(library.get(withoutSelector(emoji)) ?? [], name) };
}

/** The texts of `words` that share no word with `name`, cleaned and without repetition. */
export function otherWords(words: readonly string[], name: string): string[] {
  const own = new Set(wordsOf(name).map(stem));
  const seen = new Set<string>([phraseKey(name)]);
  const result: string[] = [];
  for (const word of words.map(plainWords)) {
    const parts = wordsOf(word);
    // Emoticons such as ":)" have no word; "oclock" and "seafood" hide a caption word inside a longer one and are another word.
    if (parts.length === 0 || !/\p{L}{2}/u.test(word) || seen.has(phraseKey(word)) || parts.some((part) => own.has(stem(part)))) continue;
    seen.add(phraseKey(word));
    result.push(word.toLowerCase());
  }
  return result;
}

/** The same for a word and its plural: "face" and "faces", "glass" and "glasses". */
function stem(word: string): string {
  return word.length > 3 ? word.replace(/(?:es|e|(?<!s)s)$/, "") : word;
}

function withoutSelector(emoji: string): string {
  return emoji.replaceAll("\u{FE0F}", "");
}
