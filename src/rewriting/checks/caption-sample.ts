/**
 * A bounded sample of a stream whose length nobody knows: what belongs to some captions, all of it, chosen by their ids alone.
 *
 * Each id has a place in 0 .. 2^32 by its hash; taken are those below a bar, which is lowered whenever too many are held. So the sample
 * does not depend on the order of the stream, and everything that belongs to a caption in it is there.
 */
import { hash64 } from "../../data/index.ts";

/** Place of an id among all, 0 .. 2^32 - 1; another seed gives another order. */
export function placeOf(id: string, seed: number): number {
  return hash64(`${seed} ${id}`)[0];
}

/** Values of some captions, grouped by id. */
export class CaptionSample<T> {
  readonly #values = new Map<string, T[]>();
  #bar = 2 ** 32;

  /**
   * @param most captions that are held at any time
   * @param seed another one gives another sample
   */
  constructor(
    readonly most: number,
    readonly seed: number,
  ) {}

  /** Whether values of this id are being held, so far. */
  takes(id: string): boolean {
    return this.#bar === 2 ** 32 || placeOf(id, this.seed) < this.#bar;
  }

  add(id: string, value: T): void {
    if (!this.takes(id)) return;
    const held = this.#values.get(id);
    if (held) held.push(value);
    else this.#values.set(id, [value]);
    while (this.#values.size > this.most) this.#lower();
  }

  /** Whether all ids are in the sample. */
  get isWhole(): boolean {
    return this.#bar === 2 ** 32;
  }

  /** The captions of the sample with their values, in an order that follows from the ids. */
  captions(): [id: string, values: readonly T[]][] {
    return [...this.#values].sort(([a], [b]) => placeOf(a, this.seed) - placeOf(b, this.seed) || (a < b ? -1 : 1));
  }

  #lower(): void {
    this.#bar /= 2;
    for (const id of this.#values.keys()) if (placeOf(id, this.seed) >= this.#bar) this.#values.delete(id);
  }
}

/** The few values of a stream whose place, by a measure, comes first. */
export class Few<T> {
  readonly #held: { place: number; value: T }[] = [];

  /** @param most values that are held @param placeOfValue the smaller, the sooner */
  constructor(
    readonly most: number,
    readonly placeOfValue: (value: T) => number,
  ) {}

  add(value: T): void {
    const place = this.placeOfValue(value);
    const last = this.#held.at(-1);
    if (this.#held.length >= this.most && (last === undefined || place >= last.place)) return;
    const at = this.#held.findIndex((held) => held.place > place);
    this.#held.splice(at === -1 ? this.#held.length : at, 0, { place, value });
    if (this.#held.length > this.most) this.#held.pop();
  }

  get values(): T[] {
    return this.#held.map(({ value }) => value);
  }
}
