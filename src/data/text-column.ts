/**
 * Millions of short texts in one piece of memory: UTF-8 bytes end to end and where each begins.
 *
 * A list of strings costs the garbage collector one object a caption and every thread its own copy; this costs the bytes,
 * and threads share them.
 */

/** What a TextColumn is made of; may be posted to another thread, which then shares the memory. */
export interface TextColumnMemory {
  bytes: SharedArrayBuffer;
  /** `[length + 1]` float64: byte offset of each text, and of the end. */
  offsets: SharedArrayBuffer;
}

/** An immutable list of texts. */
export class TextColumn {
  readonly memory: TextColumnMemory;
  readonly #bytes: Buffer;
  readonly #offsets: Float64Array;

  constructor(memory: TextColumnMemory) {
    this.memory = memory;
    this.#bytes = Buffer.from(memory.bytes);
    this.#offsets = new Float64Array(memory.offsets);
  }

  static of(texts: Iterable<string>): TextColumn {
    const builder = new TextColumnBuilder();
    for (const text of texts) builder.add(text);
    return builder.finish();
  }

  get length(): number {
    return this.#offsets.length - 1;
  }

  at(index: number): string {
    return this.#bytes.toString("utf8", this.#offsets[index], this.#offsets[index + 1]);
  }

  /** The UTF-8 bytes of one text: a view, not a copy. */
  bytesAt(index: number): Buffer {
    return this.#bytes.subarray(this.#offsets[index], this.#offsets[index + 1]);
  }
}

/** Collects texts for a TextColumn. */
export class TextColumnBuilder {
  #bytes = Buffer.allocUnsafe(1 << 16);
  #offsets = new Float64Array(1 << 10);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(text: string): void {
    const start = this.#offsets[this.#length]!;
    // A UTF-16 unit takes at most three bytes in UTF-8.
    if (start + text.length * 3 > this.#bytes.byteLength) {
      const larger = Buffer.allocUnsafe(Math.max(this.#bytes.byteLength * 2, start + text.length * 3));
      this.#bytes.copy(larger, 0, 0, start);
      this.#bytes = larger;
    }
    if (this.#length + 2 > this.#offsets.length) {
      const larger = new Float64Array(this.#offsets.length * 2);
      larger.set(this.#offsets);
      this.#offsets = larger;
    }
    this.#offsets[++this.#length] = start + this.#bytes.write(text, start, "utf8");
  }

  finish(): TextColumn {
    const size = this.#offsets[this.#length]!;
    const memory = { bytes: new SharedArrayBuffer(size), offsets: new SharedArrayBuffer((this.#length + 1) * 8) };
    new Uint8Array(memory.bytes).set(this.#bytes.subarray(0, size));
    new Float64Array(memory.offsets).set(this.#offsets.subarray(0, this.#length + 1));
    return new TextColumn(memory);
  }
}
