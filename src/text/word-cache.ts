/**
 * Remembers the tokens of words that were seen, in flat arrays, looked up by the characters where they stand in a caption.
 *
 * A `Map` would need a new string for every word of every caption; here a hit allocates nothing. When the cache is full it starts
 * over: real captions use a few thousand words most of the time, and these are back at once.
 */

/** Words longer than this are not remembered: they are rare, and a few of them would fill the cache. */
const longestWord = 48;
const slotBits = 17;
const slotMask = (1 << slotBits) - 1;
/** Words at most: half of the slots. */
const mostWords = 1 << (slotBits - 1);

export class WordCache {
  /** Slot -> number of the word plus one, 0 when empty. */
  readonly #slots = new Int32Array(1 << slotBits);
  readonly #hashes = new Int32Array(mostWords);
  /** Word -> where its characters and tokens start; one entry more than words. */
  readonly #characterStarts = new Uint32Array(mostWords + 1);
  readonly #idStarts = new Uint32Array(mostWords + 1);
  #characters = new Uint16Array(1 << 16);
  #ids = new Uint16Array(1 << 14);
  #words = 0;

  /** Number of words remembered now. */
  get size(): number {
    return this.#words;
  }

  /** Copies the tokens of `text[start, end)` to `target` from `at` on; returns their number, or 0 when the word is not known. */
  get(text: string, start: number, end: number, target: Int32Array, at: number): number {
    const length = end - start;
    if (length > longestWord) return 0;
    const hash = hashOf(text, start, end);
    for (let slot = hash & slotMask; ; slot = (slot + 1) & slotMask) {
      const word = this.#slots[slot]! - 1;
      if (word < 0) return 0;
      if (this.#hashes[word] !== hash) continue;
      const first = this.#characterStarts[word]!;
      if (this.#characterStarts[word + 1]! - first !== length) continue;
      let i = 0;
      while (i < length && this.#characters[first + i] === text.charCodeAt(start + i)) i++;
      if (i < length) continue;
      const from = this.#idStarts[word]!;
      const count = this.#idStarts[word + 1]! - from;
      for (let k = 0; k < count; k++) target[at + k] = this.#ids[from + k]!;
      return count;
    }
  }

  /** Remembers the tokens `ids[0, count)` of the word `text[start, end)`, which must not be known yet. */
  add(text: string, start: number, end: number, ids: Int32Array, count: number): void {
    if (end - start > longestWord) return;
    if (this.#words === mostWords) this.#clear();
    const word = this.#words++;
    const hash = hashOf(text, start, end);
    this.#hashes[word] = hash;
    let slot = hash & slotMask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & slotMask;
    this.#slots[slot] = word + 1;

    const character = this.#characterStarts[word]!;
    const id = this.#idStarts[word]!;
    this.#characters = withRoom(this.#characters, character + end - start);
    this.#ids = withRoom(this.#ids, id + count);
    for (let i = start; i < end; i++) this.#characters[character + i - start] = text.charCodeAt(i);
    for (let i = 0; i < count; i++) this.#ids[id + i] = ids[i]!;
    this.#characterStarts[word + 1] = character + end - start;
    this.#idStarts[word + 1] = id + count;
  }

  #clear(): void {
    this.#slots.fill(0);
    this.#words = 0;
  }
}

function hashOf(text: string, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  // The low bits of a product know nothing of the high bits of its factors.
  return hash ^ (hash >>> 15);
}

function withRoom(array: Uint16Array<ArrayBuffer>, length: number): Uint16Array<ArrayBuffer> {
  if (length <= array.length) return array;
  const larger = new Uint16Array(2 * length);
  larger.set(array);
  return larger;
}
