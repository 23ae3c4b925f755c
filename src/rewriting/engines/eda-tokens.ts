/**
 * The words of a caption, each with the punctuation around it, so that words can be moved without it.
 */

/** A word; `core` is never empty. Written after each other, with spaces between, tokens give the caption again. */
export interface Token {
  /** Opening quotes and brackets. */
  readonly before: string;
  readonly core: string;
  /** A possessive's "'s", punctuation, and signs that stand alone behind the word. */
  readonly after: string;
}

/** Before "'s" these mean "it is" and its like, and possess nothing. */
const contracted = /^(?:it|he|she|that|this|there|here|what|who|where|let)$/i;

/** Most words. */
const plainWord = /^[A-Za-z]+$/;

/** The words of a caption. What has no letter or number goes with the word before it. */
export function readTokens(caption: string): Token[] {
  const tokens: Token[] = [];
  let opening = "";
  for (const written of caption.split(/\s+/)) {
    if (written === "") continue;
    if (plainWord.test(written)) {
      tokens.push({ before: opening, core: written, after: "" });
      opening = "";
      continue;
    }
    const parts = /^([^\p{L}\p{N}<]*)(.*?)((?:['’]s)?[^\p{L}\p{N}>]*)$/u.exec(written)!;
    const [before, core, after] = [parts[1]!, parts[2]!, parts[3]!];
    if (core !== "") {
      const mark = contracted.test(core) ? (/^['’]s/.exec(after)?.[0] ?? "") : "";
      tokens.push({ before: opening + before, core: core + mark, after: after.slice(mark.length) });
      opening = "";
      continue;
    }
    const last = tokens.pop();
    if (last) tokens.push({ ...last, after: `${last.after} ${written}` });
    else opening += `${written} `;
  }
  return tokens;
}
