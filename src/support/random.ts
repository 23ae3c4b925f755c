/**
 * Random numbers as a value that is passed down, never a global.
 *
 * A generator is named by the things its draws depend on, for example (run seed, epoch, sample id), so that a draw is the same
 * whatever was drawn before it, on whichever worker. Generator: sfc32 (PractRand), seeded by SHA-256 of the names.
 */
import { hash } from "node:crypto";

/** A generator of random numbers that belongs to names: `Random.of(seed, "crop", epoch, id)`. Not for secrets. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter: number;

  private constructor(words: readonly [number, number, number, number]) {
    [this.#a, this.#b, this.#c, this.#counter] = words;
  }

  /** The generator that belongs to these names; the same names give the same draws on every machine. */
  static of(...names: readonly (string | number)[]): Random {
    // The one-shot hash, and its digest as a string of bytes, take a third of the time of a hash object and a buffer.
    const digest = hash("sha256", JSON.stringify(names), "binary");
    const word = (at: number): number =>
      digest.charCodeAt(at) | (digest.charCodeAt(at + 1) << 8) | (digest.charCodeAt(at + 2) << 16) | (digest.charCodeAt(at + 3) << 24);
    return new Random([word(0), word(4), word(8), word(12)]);
  }

  /** 32 random bits, 0 to 2^32 - 1. */
  bits(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return sum >>> 0;
  }

  /** Uniform in [0, 1), with 53 random bits. */
  uniform(): number {
    return ((this.bits() >>> 5) * 67108864 + (this.bits() >>> 6)) / 9007199254740992;
  }

  /** Uniform integer in [0, count). */
  integer(count: number): number {
    return Math.floor(this.uniform() * count);
  }

  /** One element, each with the same chance. */
  choice<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error("internal: choice from an empty list");
    return items[this.integer(items.length)]!;
  }

  /** `count` different elements in random order (a partial Fisher-Yates shuffle of a copy). */
  sample<T>(items: readonly T[], count: number): T[] {
    const pool = [...items];
    for (let i = 0; i < count; i++) {
      const j = i + this.integer(pool.length - i);
      [pool[i], pool[j]] = [pool[j]!, pool[i]!];
    }
    return pool.slice(0, count);
  }

  /** A random permutation of 0 .. count - 1. */
  permutation(count: number): Uint32Array {
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const swap = order[i]!;
      order[i] = order[j]!;
      order[j] = swap;
    }
    return order;
  }
}
