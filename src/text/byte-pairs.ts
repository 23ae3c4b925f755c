/**
 * Byte-pair merging of one word (Sennrich et al. 2016), on token ids.
 *
 * The reference merges all occurrences of the pair with the lowest rank, then looks again. A token's rank is above the ranks of its
 * parts, so a merge never creates a pair that should have come earlier, and merging one pair at a time, lowest rank first and
 * leftmost first, gives the same tokens. Short words look for that pair by scanning; long ones keep the pairs in a heap, since a
 * word of a million letters would take the square of its length otherwise.
 */
import type { Vocabulary } from "./vocabulary.ts";

const none = 0x7fffffff;

/**
 * Merges the first `count` ids of `ids` in place.
 *
 * @param ids bytes of a word as ids, the last one with its end of word; overwritten
 * @param longFrom number of ids from which on the heap is used
 * @returns the number of tokens, which stand at the front of `ids`
 */
export function mergePairs(vocabulary: Vocabulary, ids: Int32Array, count: number, longFrom = 100): number {
  if (count < 2) return count;
  return count < longFrom ? mergeByScanning(vocabulary, ids, count) : mergeByHeap(vocabulary, ids, count);
}

let ranks = new Int32Array(128);

function mergeByScanning(vocabulary: Vocabulary, ids: Int32Array, count: number): number {
  if (ranks.length < count) ranks = new Int32Array(2 * count);
  for (let i = 0; i + 1 < count; i++) ranks[i] = rank(vocabulary, ids[i]!, ids[i + 1]!);
  while (count > 1) {
    let lowest = none;
    let at = 0;
    for (let i = 0; i + 1 < count; i++) {
      if (ranks[i]! < lowest) {
        lowest = ranks[i]!;
        at = i;
      }
    }
    if (lowest === none) break;
    ids[at] = lowest;
    ids.copyWithin(at + 1, at + 2, count);
    ranks.copyWithin(at + 1, at + 2, count - 1);
    count--;
    if (at > 0) ranks[at - 1] = rank(vocabulary, ids[at - 1]!, lowest);
    if (at + 1 < count) ranks[at] = rank(vocabulary, lowest, ids[at + 1]!);
  }
  return count;
}

function mergeByHeap(vocabulary: Vocabulary, ids: Int32Array, count: number): number {
  const next = Int32Array.from({ length: count }, (_, i) => i + 1);
  const previous = Int32Array.from({ length: count }, (_, i) => i - 1);
  const pairs = new Int32Array(count).fill(none);
  const heap = new MinHeap(count);
  const offer = (i: number): void => {
    const follower = next[i]!;
    const id = follower < count ? rank(vocabulary, ids[i]!, ids[follower]!) : none;
    pairs[i] = id;
    if (id !== none) heap.push(id * positions + i);
  };
  for (let i = 0; i + 1 < count; i++) offer(i);
  for (let top = heap.pop(); top >= 0; top = heap.pop()) {
    const id = Math.floor(top / positions);
    const at = top % positions;
    // An entry is stale when its pair has changed since; a merged-away token has no pair.
    if (pairs[at] !== id) continue;
    const gone = next[at]!;
    const after = next[gone]!;
    ids[at] = id;
    pairs[gone] = none;
    next[at] = after;
    if (after < count) previous[after] = at;
    offer(at);
    if (previous[at]! >= 0) offer(previous[at]!);
  }
  let kept = 0;
  for (let i = 0; i < count; i = next[i]!) ids[kept++] = ids[i]!;
  return kept;
}

/** The merged id serves as rank: ids are given in order of rank. */
function rank(vocabulary: Vocabulary, left: number, right: number): number {
  return vocabulary.merge(left, right) || none;
}

/** Heap entries are `id * positions + position`: both fit a double exactly. */
const positions = 2 ** 32;

class MinHeap {
  #entries: Float64Array;
  #size = 0;

  constructor(capacity: number) {
    this.#entries = new Float64Array(capacity);
  }

  push(entry: number): void {
    if (this.#size === this.#entries.length) {
      const larger = new Float64Array(2 * this.#size);
      larger.set(this.#entries);
      this.#entries = larger;
    }
    const entries = this.#entries;
    let i = this.#size++;
    for (let parent = (i - 1) >> 1; i > 0 && entries[parent]! > entry; i = parent, parent = (i - 1) >> 1) entries[i] = entries[parent]!;
    entries[i] = entry;
  }

  /** The lowest entry, taken out; -1 when the heap is empty. */
  pop(): number {
    if (this.#size === 0) return -1;
    const entries = this.#entries;
    const top = entries[0]!;
    const last = entries[--this.#size]!;
    let i = 0;
    for (let child = 1; child < this.#size; child = 2 * i + 1) {
      if (child + 1 < this.#size && entries[child + 1]! < entries[child]!) child++;
      if (entries[child]! >= last) break;
      entries[i] = entries[child]!;
      i = child;
    }
    entries[i] = last;
    return top;
  }
}
