/**
 * All that is looked for in a rewrite: to add a check is to add an entry. docs/checks.md says more on each.
 *
 * The paper checks nothing but the number of words, and that in training. The limits here are this program's own, set so that they
 * find what is surely wrong: what a check rejects is useless as a caption; what it flags is worth a look.
 */
import type { CheckSubject } from "./check-subject.ts";
import { distinctPairs, givesNumber, shareKept } from "./content-words.ts";
import { declinesTask } from "../prompts/forms/chat-answer.ts";

/** What becomes of a rewrite in which a check finds something: kept out of training, only marked, or not looked for at all. */
export type Verdict = "reject" | "flag" | "off";

interface CheckBasics {
  /** Its flag, and its name in `--check`. */
  readonly name: string;
  /** What it finds, in words that go on from "the rewrite". */
  readonly finds: string;
  /** Default. */
  readonly verdict: Verdict;
}

/** A check that finds something or does not. */
export interface PlainCheck extends CheckBasics {
  found(subject: CheckSubject): boolean;
}

/** A check of a number against a limit; outside of it something is found. */
export interface MeasuringCheck extends CheckBasics {
  /** What is measured, in words. */
  readonly measures: string;
  /** Whether that is a share, 0..1. Default: any number from 0. */
  readonly isShare?: boolean;
  /** Whether it compares with the caption; its mean over many rewrites then says how faithful they are. Default false. */
  readonly againstCaption?: boolean;
  /** The number; undefined where there is nothing to measure, and so nothing to find. */
  measure(subject: CheckSubject): number | undefined;
  /** Smallest and largest number that is in order. Either may be missing. */
  readonly least?: number;
  readonly most?: number;
  /** A quick way to see that nothing can be found, for measures that cost. */
  surelyFine?(subject: CheckSubject): boolean;
}

/** An entry of the table: a check that says yes or no, or one that measures against a limit. */
export type RewriteCheck = PlainCheck | MeasuringCheck;

/** The checks, in the order of the flags. */
export const rewriteChecks: readonly RewriteCheck[] = [
  {
    name: "too-short",
    finds: "has so few words that training would take the caption instead",
    verdict: "reject",
    measures: "words",
    measure: ({ rewrite }) => rewrite.spacedWords,
    least: 2,
  },
  {
    name: "arrow",
    finds: "holds =>: the model went on with the prompt's form",
    verdict: "reject",
    found: ({ rewrite }) => rewrite.text.includes("=>"),
  },
  {
    name: "control-characters",
    finds: "held control characters or broken ones",
    verdict: "reject",
    found: ({ damaged }) => damaged,
  },
  {
    name: "copies-example",
    finds: "says what an example pair says",
    verdict: "reject",
    found: ({ rewrite, knownOutputs }) => knownOutputs.has(rewrite.plain),
  },
  {
    name: "chatter",
    finds: "talks to whoever asked instead of describing the picture",
    verdict: "reject",
    found: ({ rewrite, caption }) => (chatter.test(rewrite.text) && !chatter.test(caption.text)) || declinesTask(rewrite.text),
  },
  {
    name: "repetitive",
    finds: "says the same words again and again",
    verdict: "reject",
    measures: "different word pairs among all word pairs",
    isShare: true,
    measure: ({ rewrite }) => distinctPairs(rewrite.words),
    least: 0.5,
  },
  {
    name: "other-script",
    finds: "is written in a script that the caption does not use",
    verdict: "reject",
    measures: "share of letters in scripts that the caption lacks",
    isShare: true,
    measure: foreignLetters,
    most: 0.5,
  },
  {
    name: "same-as-caption",
    finds: "is the caption again",
    verdict: "flag",
    found: ({ rewrite, caption }) => rewrite.plain === caption.plain,
  },
  {
    name: "length-ratio",
    finds: "is much shorter or longer than the caption",
    verdict: "flag",
    againstCaption: true,
    measures: "characters for each of the caption's",
    measure: ({ rewrite, caption }) => rewrite.text.length / Math.max(1, caption.text.trim().length),
    least: 0.3,
    most: 4,
  },
  {
    name: "few-shared-words",
    finds: "has few of the caption's content words",
    verdict: "flag",
    againstCaption: true,
    measures: "share of the caption's content words that are kept",
    isShare: true,
    measure: ({ rewrite, caption }) => shareKept(caption.content, rewrite.content),
    least: 0.2,
  },
  {
    name: "numbers-lost",
    finds: "lacks numbers of the caption",
    verdict: "flag",
    againstCaption: true,
    measures: "share of the caption's numbers that are kept",
    isShare: true,
    measure: ({ rewrite, caption }) => shareKept(caption.numbers, { has: (number) => givesNumber(rewrite.numbers, rewrite.words, number) }),
    least: 0.5,
  },
  {
    name: "numbers-invented",
    finds: "has numbers that the caption lacks",
    verdict: "flag",
    againstCaption: true,
    measures: "numbers that the caption lacks",
    measure: ({ rewrite, known }) => [...rewrite.numbers].filter((number) => !givesNumber(known.numbers, known.words, number)).length,
    most: 0,
  },
  {
    name: "names-lost",
    finds: "lacks names of the caption",
    verdict: "flag",
    againstCaption: true,
    measures: "share of the caption's names that are kept",
    isShare: true,
    measure: ({ rewrite, caption }) => (caption.names?.size ? shareKept(caption.names, rewrite.stems) : undefined),
    least: 0.5,
  },
  {
    name: "names-invented",
    finds: "has names that the caption lacks",
    verdict: "flag",
    againstCaption: true,
    measures: "names that the caption lacks",
    measure: ({ rewrite, known }) => rewrite.names && [...rewrite.names].filter((name) => !known.stems.has(name)).length,
    most: 0,
  },
  {
    name: "placeholder-lost",
    finds: "lacks a placeholder of the caption, such as <PERSON>",
    verdict: "flag",
    found: ({ rewrite, caption }) => [...caption.placeholders].some((placeholder) => !rewrite.placeholders.has(placeholder)),
  },
  {
    name: "placeholder-invented",
    finds: "has a placeholder that the caption lacks",
    verdict: "flag",
    found: ({ rewrite, known }) => [...rewrite.placeholders].some((placeholder) => !known.placeholders.has(placeholder)),
  },
  {
    name: "too-many-tokens",
    finds: "is longer than CLIP's text tower reads",
    verdict: "flag",
    measures: "CLIP tokens, start and end included",
    measure: ({ rewrite }) => rewrite.tokens,
    most: 77,
    surelyFine: ({ surelyFits }) => surelyFits,
  },
  {
    name: "cut-at-limit",
    finds: "was cut off at the limit of new tokens",
    verdict: "flag",
    found: ({ finish }) => finish === "length",
  },
  {
    name: "caption-shortened",
    finds: "was made of a caption that had to be shortened for the prompt",
    verdict: "flag",
    found: ({ shortened }) => shortened,
  },
  {
    name: "duplicate",
    finds: "says the same as another rewrite of the caption (seen only by `laclip rewrites check`)",
    verdict: "flag",
    found: ({ duplicate }) => duplicate,
  },
];

/** True for a check that has a number. */
export function isMeasuring(check: RewriteCheck): check is MeasuringCheck {
  return "measure" in check;
}

/** How answers of chat models begin that are about the task and not about the picture. */
const chatter =
  /^["'*\s]*(?:sure\b[,!.:]|certainly\b[,!.:]|of course\b[,!.:]|okay\b[,!.:]|here(?:'s|’s| is| are) (?:a |an |the |your |my |some |one )?(?:\w+ ){0,3}(?:captions?|rewrites?|rewritten|rewording|rephrased|rephrasing|version|paraphrase|description)\b|(?:rewritten|new|rephrased|revised) (?:caption|version|description) ?:|as an? (?:ai|language model)\b|i(?:'m| am) sorry\b|i (?:can(?:no|')t|cannot|am unable)\b|(?:caption|rewrite|output|answer|assistant|rewritten) ?:)/i;

function foreignLetters({ rewrite, known }: CheckSubject): number | undefined {
  let [letters, foreign] = [0, 0];
  if (known.scripts.size === 0) return undefined;
  for (const [script, count] of rewrite.scripts) {
    letters += count;
    if (!known.scripts.has(script)) foreign += count;
  }
  return letters === 0 ? undefined : foreign / letters;
}
