/**
 * Cleaning of captions before they are cut into tokens, as open_clip does it (`get_clean_fn` of its tokenizer.py):
 * mojibake is mended (ftfy), HTML references are decoded twice, white space is folded, and letters are lowered.
 *
 * Most captions are printable ASCII without `&`, on which ftfy and the HTML step change nothing; they take a short way.
 */
import { createRequire } from "node:module";
import { UsageError, nearest } from "../support/index.ts";
import { unescapeHtml } from "./html-entities.ts";

/** What is done after mending: see {@link cleanText}. */
export const cleaningModes = ["lower", "whitespace", "canonicalize"] as const;

/** What is done with a caption after it was mended. */
export type CleaningMode = (typeof cleaningModes)[number];

/** True for a name of a cleaning mode. */
export function isCleaningMode(name: string): name is CleaningMode {
  return (cleaningModes as readonly string[]).includes(name);
}

/** What Python's `str.split` and `str.strip` take for white space: other than in JavaScript with U+001C-1F and U+0085, without U+FEFF. */
// oxlint-disable-next-line no-control-regex -- these control characters are white space to Python
const whitespace = /[\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/gu;
const punctuation = /[!-/:-@[-`{-~]/gu;

/**
 * The caption as the tokenizer sees it.
 *
 * @param mode `lower` (default, CLIP and LaCLIP): white space folded to single blanks, letters lowered;
 *   `whitespace`: case is kept; `canonicalize` (SigLIP): ASCII punctuation is removed too
 * @throws UsageError when the mode is unknown
 */
export function cleanText(text: string, mode: CleaningMode = "lower"): string {
  const state = survey(text);
  const mended = state === State.unknown ? unescapeHtml(unescapeHtml(fixText(text))) : text;
  const folded = state === State.clean ? mended : foldWhitespace(mended);
  switch (mode) {
    case "lower":
      return folded.toLowerCase();
    case "whitespace":
      return folded;
    case "canonicalize":
      return foldWhitespace(folded.replaceAll("_", " ").replace(punctuation, "").toLowerCase());
    default:
      throw new UsageError(`cleaning mode "${String(mode)}" is unknown.`, {
        mend: `Choose ${nearest(String(mode), cleaningModes).join(", ")}.`,
      });
  }
}

/** `clean`: nothing to mend, single blanks only; `spaced`: nothing to mend; `unknown`: ftfy must look at it. */
const State = { clean: 0, spaced: 1, unknown: 2 } as const;

/** A loop over the characters, as two regular expressions take longer than all the rest of the tokenizer. */
function survey(text: string): (typeof State)[keyof typeof State] {
  const blank = 0x20;
  const ampersand = 0x26;
  let previous = blank;
  let state: (typeof State)[keyof typeof State] = State.clean;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < blank || unit > 0x7e || unit === ampersand) return State.unknown;
    if (unit === blank && previous === blank) state = State.spaced;
    previous = unit;
  }
  return previous === blank ? State.spaced : state;
}

function foldWhitespace(text: string): string {
  const folded = text.replace(whitespace, " ");
  // Not trim(): it would take U+FEFF as well.
  return folded.slice(folded.startsWith(" ") ? 1 : 0, folded.length > 1 && folded.endsWith(" ") ? -1 : undefined);
}

type Ftfy = typeof import("ftfy-js");
let ftfy: Ftfy | undefined;

/** Loaded only when a caption needs it: its tables take longer to load than everything else of the tokenizer together. */
function fixText(text: string): string {
  ftfy ??= createRequire(import.meta.url)("ftfy-js") as Ftfy;
  return ftfy.fix_text(text);
}
