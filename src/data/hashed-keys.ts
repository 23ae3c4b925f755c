/**
 * A map from millions of texts to small numbers that costs 15 to 22 bytes an entry, whatever the texts' length.
 *
 * Texts are known by a 64-bit hash only. Among 50 million texts the chance that any two share a hash is 7 in 100,000.
 * The table is in pieces that grow one at a time, each by a half, so that growing never takes a second copy of the whole.
 */

/** Number of pieces, a power of two. */
const pieces = 64;
/** Numbers a slot takes: two halves of the hash, the second never 0 where the slot is taken, and the value. */
const slotSize = 3;

/** A map as plain memory: posting it to another thread of the process shares it, for reading. */
export interface HashedKeysMemory {
  size: number;
  pieces: readonly SharedArrayBuffer[];
}

/** Texts to whole numbers; threads of a process share one through `memory`. */
export class HashedKeys {
  readonly #pieces: Piece[];
  #size = 0;

  /** @param expected how many texts will be stored, where that is known; or the memory of another map */
  constructor(expected: number | HashedKeysMemory = 0) {
    if (typeof expected === "number") {
      this.#pieces = Array.from({ length: pieces }, () => new Piece(expected / pieces));
    } else {
      this.#size = expected.size;
      this.#pieces = expected.pieces.map((memory) => new Piece(memory));
    }
  }

  get memory(): HashedKeysMemory {
    return { size: this.#size, pieces: this.#pieces.map(({ memory }) => memory) };
  }

  /** Number of texts stored. */
  get size(): number {
    return this.#size;
  }

  /** The number stored for `text`, or undefined. */
  get(text: string): number | undefined {
    const [low, high] = hash64(text);
    return this.#pieces[high & (pieces - 1)]!.get(low, high);
  }

  has(text: string): boolean {
    return this.get(text) !== undefined;
  }

  /** Stores `value` (0 to 2^32 - 1) for `text`. */
  set(text: string, value = 0): void {
    const [low, high] = hash64(text);
    if (this.#pieces[high & (pieces - 1)]!.set(low, high, value)) this.#size++;
  }

  /** The number stored for `text`; where there is none, the number of texts so far is stored for it. Texts are numbered thus in their order. */
  intern(text: string): number {
    const [low, high] = hash64(text);
    const piece = this.#pieces[high & (pieces - 1)]!;
    const known = piece.get(low, high);
    if (known !== undefined) return known;
    piece.set(low, high, this.#size);
    return this.#size++;
  }
}

/** A part of the table: open addressing, at most four slots in five taken. */
class Piece {
  #size = 0;
  #capacity: number;
  #slots: Uint32Array;

  constructor(expected: number | SharedArrayBuffer) {
    if (typeof expected === "number") {
      this.#capacity = Math.max(4, Math.ceil(expected * 1.25) + 1);
      this.#slots = emptySlots(this.#capacity);
      return;
    }
    this.#slots = new Uint32Array(expected);
    this.#capacity = this.#slots.length / slotSize;
  }

  get memory(): SharedArrayBuffer {
    return this.#slots.buffer as SharedArrayBuffer;
  }

  get(low: number, high: number): number | undefined {
    const at = this.#find(low, high);
    return this.#slots[at + 1] === 0 ? undefined : this.#slots[at + 2];
  }

  /** True where the hash is new. */
  set(low: number, high: number, value: number): boolean {
    if ((this.#size + 1) * 5 > this.#capacity * 4) this.#grow();
    const at = this.#find(low, high);
    const isNew = this.#slots[at + 1] === 0;
    if (isNew) this.#size++;
    this.#slots[at] = low;
    this.#slots[at + 1] = high;
    this.#slots[at + 2] = value;
    return isNew;
  }

  /** Where this hash is stored, or the free slot where it belongs. */
  #find(low: number, high: number): number {
    const slots = this.#slots;
    const end = slots.length;
    // The share of the table that the hash is of all hashes: unlike its lowest bits, this serves any capacity.
    let at = Math.floor((low / 2 ** 32) * this.#capacity) * slotSize;
    while (slots[at + 1] !== 0 && (slots[at] !== low || slots[at + 1] !== high)) {
      at += slotSize;
      if (at === end) at = 0;
    }
    return at;
  }

  #grow(): void {
    const before = this.#slots;
    this.#capacity = Math.ceil(this.#capacity * 1.5);
    this.#slots = emptySlots(this.#capacity);
    for (let from = 0; from < before.length; from += slotSize) {
      if (before[from + 1] === 0) continue;
      const at = this.#find(before[from]!, before[from + 1]!);
      this.#slots[at] = before[from]!;
      this.#slots[at + 1] = before[from + 1]!;
      this.#slots[at + 2] = before[from + 2]!;
    }
  }
}

function emptySlots(capacity: number): Uint32Array {
  return new Uint32Array(new SharedArrayBuffer(capacity * slotSize * 4));
}

/** Two 32-bit hashes of a text's UTF-16 units, multiplied and mixed crosswise; the second is never 0, which marks an empty slot. */
export function hash64(text: string): [low: number, high: number] {
  let a = 0x9e3779b9 ^ text.length;
  let b = 0x85ebca6b;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x9e3779b1);
    b = Math.imul(b ^ unit, 0x5f356495);
    b = (b << 13) | (b >>> 19);
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  a ^= a >>> 16;
  b ^= b >>> 15;
  return [a >>> 0, b >>> 0 || 1];
}
