/**
 * A set of whole numbers from 0 up, at one bit each: which of millions of numbered things are done.
 */
export class BitSet {
  #words = new Uint32Array(64);

  has(number: number): boolean {
    return ((this.#words[number >>> 5] ?? 0) & (1 << (number & 31))) !== 0;
  }

  /** Puts a number into the set; false when it was there already. */
  add(number: number): boolean {
    const at = number >>> 5;
    if (at >= this.#words.length) this.#grow(at);
    const bit = 1 << (number & 31);
    if ((this.#words[at]! & bit) !== 0) return false;
    this.#words[at]! |= bit;
    return true;
  }

  /** How many numbers from `from` up to and without `to` are in the set. Default: all. */
  count(from = 0, to = this.#words.length * 32): number {
    const end = Math.min(to, this.#words.length * 32);
    let count = 0;
    for (let number = from; number < end;) {
      if ((number & 31) === 0 && end - number >= 32) {
        count += onesIn(this.#words[number >>> 5]!);
        number += 32;
      } else {
        if (this.has(number)) count++;
        number++;
      }
    }
    return count;
  }

  #grow(at: number): void {
    const larger = new Uint32Array(Math.max(at + 1, Math.ceil(this.#words.length * 1.5)));
    larger.set(this.#words);
    this.#words = larger;
  }
}

/** Number of ones among 32 bits, added up in pairs, then fours, then bytes. */
function onesIn(bits: number): number {
  const pairs = bits - ((bits >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
