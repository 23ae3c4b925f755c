/** A buffer to put a record together in, which grows to the longest. */
export class Scratch {
  #bytes = Buffer.allocUnsafe(1 << 12);

  /** At least so many bytes; what they hold is left over from before. */
  take(size: number): Buffer {
    if (this.#bytes.byteLength < size) this.#bytes = Buffer.allocUnsafe(size * 2);
    return this.#bytes;
  }
}
