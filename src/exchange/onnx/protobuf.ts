/**
 * Messages of Protocol Buffers as bytes, https://protobuf.dev/programming-guides/encoding: each field is its number and kind, then a whole
 * number in groups of seven bits, four bytes, or a length and that many bytes.
 *
 * Of our own since libraries put a message together in memory before they give it out: a model of 1.5 GB would be there two or three times.
 * Here large fields may be bytes that are made when they are written, one after the other.
 */
import { invariant } from "../../support/index.ts";

/** Bytes that are made when they are written; their number is known before. */
export interface Deferred {
  readonly byteLength: number;
  readonly make: () => Uint8Array;
}

/** The kinds of fields that are written here. */
const kinds = { number: 0, bytes: 2, float: 5 } as const;

/** A message: fields are added one by one, in any order. */
export class Message {
  readonly #pieces: (Uint8Array | Deferred)[] = [];
  #byteLength = 0;

  /** Bytes of all fields so far. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** A whole number: int32, int64 or an enumeration. */
  number(field: number, value: number): this {
    this.#add(tag(field, "number"));
    return this.#add(varint(value));
  }

  /** A float32. */
  float(field: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    this.#add(tag(field, "float"));
    return this.#add(bytes);
  }

  /** A text, bytes, or a message of its own, which must be complete. */
  bytes(field: number, content: string | Uint8Array | Deferred | Message): this {
    const piece = typeof content === "string" ? Buffer.from(content) : content;
    this.#add(tag(field, "bytes"));
    this.#add(varint(piece.byteLength));
    if (!(piece instanceof Message)) return this.#add(piece);
    for (const part of piece.#pieces) this.#add(part);
    return this;
  }

  #add(piece: Uint8Array | Deferred): this {
    this.#pieces.push(piece);
    this.#byteLength += piece.byteLength;
    return this;
  }

  /** The bytes in pieces, for `writeParts`. */
  *parts(): Generator<Uint8Array> {
    for (const piece of this.#pieces) {
      const bytes = piece instanceof Uint8Array ? piece : piece.make();
      invariant(bytes.byteLength === piece.byteLength, `${bytes.byteLength} bytes were made where ${piece.byteLength} were announced`);
      yield bytes;
    }
  }
}

function tag(field: number, kind: keyof typeof kinds): Uint8Array {
  return varint(field * 8 + kinds[kind]);
}

/** Seven bits a byte, the lowest first; negative numbers as 64 bits of two's complement. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, BigInt(value));
  while (left > 0x7fn) {
    bytes.push(Number(left & 0x7fn) | 0x80);
    left >>= 7n;
  }
  return Uint8Array.of(...bytes, Number(left));
}
