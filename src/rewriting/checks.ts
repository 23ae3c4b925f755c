/**
 * What is looked for in a rewrite before it is kept.
 *
 * A flag that starts with "rejected:" keeps a text out of training; the others are only counted, since what they find may be right.
 * The paper checks nothing but the length, and that in training: fewer than two words and the original is used.
 */

/** Rewrites with this many words or fewer than `minimumWords` carry no caption. */
const minimumWords = 2;
/** Ratio of lengths, in characters, outside of which a rewrite is conspicuous. */
const lengthRatios = [0.3, 4] as const;

/** A rewrite that was looked at, with what was found. */
export interface CheckedRewrite {
  readonly text: string;
  readonly flags: readonly string[];
}

/** What a rewrite is held against. */
export interface CheckOptions {
  /** The original caption. */
  caption: string;
  /** Outputs of the source's example pairs, normalised: a rewrite equal to one of them was copied. */
  knownOutputs: ReadonlySet<string>;
  /** How the generation ended: "stop" or "length". */
  finish: string;
  /** Whether the caption was shortened for the prompt. */
  shortened: boolean;
}

/** Looks at a rewrite; gives it back with control characters replaced by spaces, and its flags in a fixed order. */
export function checkRewrite(rewrite: string, { caption, knownOutputs, finish, shortened }: CheckOptions): CheckedRewrite {
  const flags: string[] = [];
  const text = rewrite.replace(/\p{Cc}+/gu, " ").trim();
  const words = text === "" ? 0 : text.split(/\s+/).length;
  const plain = normalise(text);
  if (words < minimumWords) flags.push("rejected:too-short");
  if (text.includes("=>")) flags.push("rejected:arrow");
  if (/\p{Cc}|\ufffd/u.test(rewrite)) flags.push("rejected:control-characters");
  if (knownOutputs.has(plain)) flags.push("rejected:copies-example");
  if (plain === normalise(caption)) flags.push("same-as-caption");
  const ratio = text.length / Math.max(1, caption.trim().length);
  if (ratio < lengthRatios[0] || ratio > lengthRatios[1]) flags.push("length-ratio");
  if (finish === "length") flags.push("cut-at-limit");
  if (shortened) flags.push("caption-shortened");
  return { text, flags };
}

/** A text without case, punctuation and spacing, for telling whether two say the same in the same words. */
export function normalise(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .trim();
}
