/**
 * A list of numbers that grows without being copied, in memory that threads share.
 */

/** Pieces of `[pieceLength]` float64; may be posted to another thread, which then sees the same numbers. */
export type SharedNumbersMemory = readonly SharedArrayBuffer[];

const pieceLength = 1 << 20;

/** Numbers by their index; those that were never set are 0. */
export class SharedNumbers {
  readonly #pieces: Float64Array[];

  constructor(memory: SharedNumbersMemory = []) {
    this.#pieces = memory.map((piece) => new Float64Array(piece));
  }

  get memory(): SharedNumbersMemory {
    return this.#pieces.map(({ buffer }) => buffer as SharedArrayBuffer);
  }

  at(index: number): number {
    return this.#pieces[Math.floor(index / pieceLength)]?.[index % pieceLength] ?? 0;
  }

  set(index: number, value: number): void {
    const piece = Math.floor(index / pieceLength);
    while (this.#pieces.length <= piece) this.#pieces.push(new Float64Array(new SharedArrayBuffer(pieceLength * 8)));
    this.#pieces[piece]![index % pieceLength] = value;
  }
}
