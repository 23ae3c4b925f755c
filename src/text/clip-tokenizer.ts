/**
 * The CLIP tokenizer: caption -> token ids, the same as open_clip's `SimpleTokenizer` gives.
 *
 * A cleaned caption is cut into words, contractions, single digits and runs of other characters; each piece is written as UTF-8 bytes
 * and its bytes are merged by rank. Nothing here is random or learned, and one instance may serve the whole program.
 */
import { UsageError } from "../support/index.ts";
import { mergePairs } from "./byte-pairs.ts";
import { type CleaningMode, cleanText } from "./clean-text.ts";
import { Vocabulary, endOfText, startOfText, vocabularySize } from "./vocabulary.ts";
import { WordCache } from "./word-cache.ts";

/** Number of tokens that CLIP's text tower takes, start and end included. */
export const contextLength = 77;

/** How the two special tokens are written when a caption contains them literally. */
const specialNames = {
  /** open_clip */
  "open-clip": ["<start_of_text>", "<end_of_text>"],
  /** OpenAI, SLIP and LaCLIP */
  laclip: ["<|startoftext|>", "<|endoftext|>"],
} as const;

/** How a tokenizer cleans, and which words it reads as special tokens. */
export interface TokenizerOptions {
  /** Default `lower`. */
  cleaning?: CleaningMode;
  /** Literals read as special tokens. Default `open-clip`. */
  specials?: keyof typeof specialNames;
}

/** Captions as one block of ids: what a text tower is fed with. */
export interface TokenBatch {
  /** `[batch, length]`, row by row, padded with 0 behind the end-of-text token */
  ids: Int32Array;
  /** Tokens of the longest caption, start and end included. */
  length: number;
  /** `[batch]` tokens of each caption, start and end included; the end-of-text token stands at `lengths[i] - 1` */
  lengths: Int32Array;
}

/** Texts to token ids, int32, at most 77 of them for each unless told otherwise. */
export class ClipTokenizer {
  readonly #vocabulary: Vocabulary;
  readonly #cleaning: CleaningMode;
  readonly #specials: readonly [string, string];
  readonly #pieces: RegExp;
  readonly #cache = new WordCache();
  /** Ids of the caption in work; grows, and is used again for the next one. */
  #ids = new Int32Array(256);
  #count = 0;

  private constructor(vocabulary: Vocabulary, { cleaning = "lower", specials = "open-clip" }: TokenizerOptions) {
    this.#vocabulary = vocabulary;
    this.#cleaning = cleaning;
    this.#specials = specialNames[specials];
    this.#pieces = piecePattern(this.#specials);
  }

  static readonly #loaded = new Map<string, ClipTokenizer>();

  /**
   * The tokenizer with these options, made once in the process.
   *
   * @throws ModelFormatError when the merge list is missing or another one than OpenAI's
   */
  static load(options: TokenizerOptions = {}): ClipTokenizer {
    const key = `${options.cleaning ?? "lower"} ${options.specials ?? "open-clip"}`;
    let tokenizer = ClipTokenizer.#loaded.get(key);
    if (tokenizer === undefined) {
      tokenizer = new ClipTokenizer(Vocabulary.load(), options);
      ClipTokenizer.#loaded.set(key, tokenizer);
    }
    return tokenizer;
  }

  /** All ids of a caption, without start and end, however long it is. */
  encode(text: string): number[] {
    this.#read(text);
    const ids: number[] = [];
    for (let i = 0; i < this.#count; i++) ids.push(this.#ids[i]!);
    return ids;
  }

  /**
   * Ids as the model sees them: start, caption, end, not padded. A caption that is too long is cut, and its last kept token becomes
   * the end-of-text token.
   *
   * @param length most tokens to give, at least 2. Default 77
   */
  tokenize(text: string, length: number = contextLength): Int32Array {
    checkLength(length);
    this.#read(text);
    const ids = new Int32Array(Math.min(this.#count + 2, length));
    this.#write(ids, 0, ids.length);
    return ids;
  }

  /** {@link tokenize} for many captions at once, padded to the longest of them. */
  tokenizeBatch(texts: readonly string[], length: number = contextLength): TokenBatch {
    checkLength(length);
    const lengths = new Int32Array(texts.length);
    const wide = new Int32Array(texts.length * length);
    let longest = 0;
    texts.forEach((text, row) => {
      this.#read(text);
      lengths[row] = Math.min(this.#count + 2, length);
      longest = Math.max(longest, lengths[row]);
      this.#write(wide, row * length, lengths[row]);
    });
    const ids = new Int32Array(texts.length * longest);
    for (let row = 0; row < texts.length; row++) ids.set(wide.subarray(row * length, row * length + longest), row * longest);
    return { ids, length: longest, lengths };
  }

  /**
   * Text of ids: a blank after each word, special tokens by their names, bytes that are no UTF-8 as U+FFFD.
   *
   * @throws UsageError when an id is outside the vocabulary
   */
  decode(ids: Iterable<number>): string {
    const bytes: number[] = [];
    for (const id of ids) {
      if (!Number.isInteger(id) || id < 0 || id >= vocabularySize) {
        throw new UsageError(`token id ${id} is outside the vocabulary: expected 0 to ${vocabularySize - 1}.`);
      }
      if (id >= startOfText) {
        bytes.push(...Buffer.from(this.#specials[id - startOfText]!));
        continue;
      }
      bytes.push(...this.#vocabulary.bytesOf(id));
      if (this.#vocabulary.endsWord(id)) bytes.push(0x20);
    }
    return Buffer.from(bytes).toString("utf8");
  }

  #write(target: Int32Array, at: number, length: number): void {
    target[at] = startOfText;
    target.set(this.#ids.subarray(0, length - 2), at + 1);
    target[at + length - 1] = endOfText;
  }

  /** Leaves the ids of a caption in `#ids[0, #count)`. */
  #read(caption: string): void {
    const text = cleanText(caption, this.#cleaning);
    this.#count = 0;
    if (notAscii.test(text)) {
      for (const match of text.matchAll(this.#pieces)) this.#piece(text, match.index, match.index + match[0].length);
    } else {
      this.#readAscii(text);
    }
  }

  /** The same pieces as `#pieces` finds, several times as fast. */
  #readAscii(text: string): void {
    for (let start = 0, end = 0; start < text.length; start = end) {
      const unit = text.charCodeAt(start);
      const kind = kinds[unit]!;
      end = start + 1;
      if (kind === Kind.blank) continue;
      if (unit === apostrophe) end = start + contractionLength(text, start);
      else if (unit === lessThan) end = start + this.#specialLength(text, start);
      if (end === start + 1 && kind !== Kind.digit) while (end < text.length && kinds[text.charCodeAt(end)] === kind) end++;
      this.#piece(text, start, end);
    }
  }

  /** Length of the special token that starts here, in any case of letters; 1 when there is none. */
  #specialLength(text: string, start: number): number {
    for (const name of this.#specials) {
      if (text.length - start >= name.length && text.slice(start, start + name.length).toLowerCase() === name) return name.length;
    }
    return 1;
  }

  #piece(text: string, start: number, end: number): void {
    const known = this.#cache.get(text, start, end, this.#roomFor(end - start), this.#count);
    if (known > 0) {
      this.#count += known;
      return;
    }
    const piece = text.slice(start, end);
    const special = this.#specials.indexOf(piece);
    if (special >= 0) {
      this.#roomFor(1)[this.#count++] = startOfText + special;
      return;
    }
    const bytes = Buffer.from(piece, "utf8");
    const ids = Int32Array.from(bytes, (byte) => this.#vocabulary.byteIds[byte]!);
    ids[bytes.length - 1]! += 256;
    const count = mergePairs(this.#vocabulary, ids, bytes.length);
    this.#cache.add(text, start, end, ids, count);
    this.#roomFor(count).set(ids.subarray(0, count), this.#count);
    this.#count += count;
  }

  /** `#ids` with room for a piece of `characters`, each of which is three tokens at most. */
  #roomFor(characters: number): Int32Array {
    const needed = this.#count + 3 * characters;
    if (needed > this.#ids.length) {
      const larger = new Int32Array(2 * needed);
      larger.set(this.#ids);
      this.#ids = larger;
    }
    return this.#ids;
  }
}

function checkLength(length: number): void {
  if (!Number.isInteger(length) || length < 2) {
    throw new UsageError(`the context length must be a whole number of at least 2 (start and end), got ${length}.`);
  }
}

const notAscii = /[^\t-\r -~]/u;
const apostrophe = 0x27;
const lessThan = 0x3c;

const Kind = { blank: 1, letter: 2, digit: 3, other: 4 } as const;

const kinds = Uint8Array.from({ length: 128 }, (_, unit) => {
  const character = String.fromCharCode(unit);
  if (/\s/u.test(character)) return Kind.blank;
  if (/[a-z]/iu.test(character)) return Kind.letter;
  return /[0-9]/u.test(character) ? Kind.digit : Kind.other;
});

const contractions = ["s", "t", "re", "ve", "m", "ll", "d"] as const;

/** Length of the contraction that starts at an apostrophe, in any case of letters; 1 when there is none. */
function contractionLength(text: string, start: number): number {
  const letters = text.slice(start + 1, start + 3).toLowerCase();
  const found = contractions.find((ending) => letters.startsWith(ending));
  return 1 + (found?.length ?? 0);
}

/**
 * The reference's pattern: special tokens, contractions, runs of letters, single digits and numbers, runs of anything else that is no
 * white space; letters of the first two in any case.
 *
 * The cases are spelled out, since under the flag for it U+0345 would count as a letter here, and to the reference it is nothing at
 * all: it belongs to no piece and is lost.
 */
function piecePattern(specials: readonly string[]): RegExp {
  const literals = [...specials, ...contractions.map((ending) => `'${ending}`)].map((literal) =>
    literal.replace(/[a-z|]/gu, (unit) => (unit === "|" ? "\\|" : unit === "s" ? "[sS\u017f]" : `[${unit}${unit.toUpperCase()}]`)),
  );
  return new RegExp(`${literals.join("|")}|\\p{L}+|\\p{N}|[^\\p{White_Space}\\p{L}\\p{N}\u0345]+`, "gu");
}
