/**
 * A map from millions of texts to small numbers that costs 12 to 24 bytes an entry, whatever the texts' length.
 *
 * Texts are known by a 64-bit hash only. Among 50 million texts the chance that any two share a hash is 7 in 100,000.
 */
export class HashedKeys {
  #low: Uint32Array;
  #high: Uint32Array;
  #values: Uint32Array;
  #size = 0;

  constructor(expected = 1024) {
    const slots = 2 ** Math.ceil(Math.log2(Math.max(16, expected * 1.5)));
    this.#low = new Uint32Array(slots);
    this.#high = new Uint32Array(slots);
    this.#values = new Uint32Array(slots);
  }

  get size(): number {
    return this.#size;
  }

  /** The number stored for `text`, or undefined. */
  get(text: string): number | undefined {
    const [low, high] = hash64(text);
    const slot = this.#slot(low, high);
    return this.#high[slot] === 0 ? undefined : this.#values[slot];
  }

  has(text: string): boolean {
    return this.get(text) !== undefined;
  }

  /** Stores `value` (0 to 2^32 - 1) for `text`. */
  set(text: string, value = 0): void {
    if ((this.#size + 1) * 3 > this.#low.length * 2) this.#grow();
    const [low, high] = hash64(text);
    const slot = this.#slot(low, high);
    if (this.#high[slot] === 0) this.#size++;
    this.#low[slot] = low;
    this.#high[slot] = high;
    this.#values[slot] = value;
  }

  /** The slot that holds this hash, or the empty one where it belongs. */
  #slot(low: number, high: number): number {
    const mask = this.#low.length - 1;
    let slot = low & mask;
    while (this.#high[slot] !== 0 && (this.#low[slot] !== low || this.#high[slot] !== high)) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [low, high, values] = [this.#low, this.#high, this.#values];
    this.#low = new Uint32Array(low.length * 2);
    this.#high = new Uint32Array(low.length * 2);
    this.#values = new Uint32Array(low.length * 2);
    for (let i = 0; i < low.length; i++) {
      if (high[i] === 0) continue;
      const slot = this.#slot(low[i]!, high[i]!);
      this.#low[slot] = low[i]!;
      this.#high[slot] = high[i]!;
      this.#values[slot] = values[i]!;
    }
  }
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
