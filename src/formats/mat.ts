/**
 * MATLAB's .mat files, version 5 (MATLAB's "MAT-File Format" document): the lists of labels that older data sets come with.
 *
 * Reads numbers, text, cells and structs, compressed or not, in both byte orders; sparse arrays, objects and functions are refused. A file is
 * taken for hostile: every length is held against the bytes that are there before anything is made of it.
 */
import { inflateSync } from "node:zlib";
import { DataError } from "../support/index.ts";

/** An array of a .mat file. Elements lie by columns, as MATLAB has them. */
export type MatValue =
  | { kind: "numbers"; dims: number[]; values: Float64Array }
  | { kind: "text"; dims: number[]; text: string }
  | { kind: "cells"; dims: number[]; cells: MatValue[] }
  | { kind: "structs"; dims: number[]; fields: Map<string, MatValue[]> };

/** Limits on what a .mat file may unfold to. */
export interface ReadMatOptions {
  /** Most bytes that compressed parts may unfold to. Default 64 MB. */
  maxBytes?: number;
}

const types = { int8: 1, uint8: 2, int16: 3, uint16: 4, int32: 5, uint32: 6, single: 7, double: 9, int64: 12, uint64: 13 } as const;
const matrixType = 14;
const compressedType = 15;
const utfTypes: Readonly<Record<number, [BufferEncoding, number]>> = { 16: ["utf8", 1], 17: ["utf16le", 2] };
const classes = { cell: 1, struct: 2, char: 4, firstNumber: 6, lastNumber: 15 } as const;

/** Bytes of one number of each type, and how it is read. */
const numberTypes: Readonly<Record<number, [bytes: number, read: (view: DataView, at: number, little: boolean) => number]>> = {
  [types.int8]: [1, (view, at) => view.getInt8(at)],
  [types.uint8]: [1, (view, at) => view.getUint8(at)],
  [types.int16]: [2, (view, at, little) => view.getInt16(at, little)],
  [types.uint16]: [2, (view, at, little) => view.getUint16(at, little)],
  [types.int32]: [4, (view, at, little) => view.getInt32(at, little)],
  [types.uint32]: [4, (view, at, little) => view.getUint32(at, little)],
  [types.single]: [4, (view, at, little) => view.getFloat32(at, little)],
  [types.double]: [8, (view, at, little) => view.getFloat64(at, little)],
  [types.int64]: [8, (view, at, little) => Number(view.getBigInt64(at, little))],
  [types.uint64]: [8, (view, at, little) => Number(view.getBigUint64(at, little))],
};

/** Arrays within arrays; label lists have two or three. */
const deepest = 16;

interface Element {
  type: number;
  bytes: Uint8Array;
}

/**
 * The variables of a file by name.
 *
 * @param bytes the whole file
 * @param name what messages call it
 * @throws DataError when it is no such file, cut short, damaged, or holds what is not read here
 */
export function readMat(bytes: Uint8Array, name: string, { maxBytes = 64e6 }: ReadMatOptions = {}): Map<string, MatValue> {
  return new MatReader(name, bytes, maxBytes).variables();
}

class MatReader {
  readonly #name: string;
  readonly #body: Uint8Array;
  readonly #little: boolean;
  #room: number;

  constructor(name: string, bytes: Uint8Array, maxBytes: number) {
    this.#name = name;
    this.#room = maxBytes;
    const start = Buffer.from(bytes.subarray(0, 8)).toString("latin1");
    if (start.startsWith("\x89HDF")) throw this.#refuse("a MATLAB 7.3 file (HDF5), expected version 5", "Save it with -v7 in MATLAB.");
    const order = Buffer.from(bytes.subarray(126, 128)).toString("latin1");
    if (bytes.byteLength < 128 || (order !== "IM" && order !== "MI")) {
      const text = Buffer.from(bytes.subarray(0, 116)).toString("latin1");
      if (text.startsWith("MATLAB 7.3")) throw this.#refuse("a MATLAB 7.3 file (HDF5), expected version 5", "Save it with -v7 in MATLAB.");
      throw this.#refuse("not a MATLAB file of version 5");
    }
    this.#little = order === "IM";
    this.#body = bytes.subarray(128);
  }

  variables(): Map<string, MatValue> {
    const variables = new Map<string, MatValue>();
    for (const element of this.#elements(this.#body)) {
      const [inner] = element.type === compressedType ? this.#elements(this.#inflate(element.bytes)) : [element];
      if (inner === undefined || inner.type !== matrixType) throw this.#refuse("a part of it is no array");
      const { name, value } = this.#array(inner.bytes, 0);
      variables.set(name, value);
    }
    return variables;
  }

  *#elements(bytes: Uint8Array): Generator<Element> {
    for (let at = 0; at < bytes.byteLength;) {
      const { element, next } = this.#element(bytes, at);
      yield element;
      at = next;
    }
  }

  /** An element has its type and length before it, both within four bytes when it is tiny; after it, room up to a multiple of eight. */
  #element(bytes: Uint8Array, at: number): { element: Element; next: number } {
    if (at + 8 > bytes.byteLength) throw this.#cutShort();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const first = view.getUint32(at, this.#little);
    if (first >>> 16 !== 0) {
      const size = first >>> 16;
      if (size > 4) throw this.#refuse("a part of it is damaged");
      return { element: { type: first & 0xffff, bytes: bytes.subarray(at + 4, at + 4 + size) }, next: at + 8 };
    }
    const size = view.getUint32(at + 4, this.#little);
    const end = at + 8 + size;
    if (end > bytes.byteLength) throw this.#cutShort();
    const next = first === compressedType ? end : at + 8 + Math.ceil(size / 8) * 8;
    return { element: { type: first, bytes: bytes.subarray(at + 8, end) }, next };
  }

  #inflate(bytes: Uint8Array): Uint8Array {
    try {
      const inflated = inflateSync(bytes, { maxOutputLength: Math.max(1, this.#room) });
      this.#room -= inflated.byteLength;
      return inflated;
    } catch (error) {
      const tooLarge = (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
      throw this.#refuse(
        tooLarge ? "it unfolds to more bytes than a list of labels has" : "a compressed part is damaged",
        undefined,
        error,
      );
    }
  }

  #array(bytes: Uint8Array, depth: number): { name: string; value: MatValue } {
    if (depth > deepest) throw this.#refuse("arrays lie within arrays too deep");
    if (bytes.byteLength === 0) return { name: "", value: { kind: "numbers", dims: [0, 0], values: new Float64Array() } };
    let at = 0;
    const take = (): Element => {
      const { element, next } = this.#element(bytes, at);
      at = next;
      return element;
    };
    const kind = (take().bytes[this.#little ? 0 : 3] ?? 0) & 0xff;
    const dims = [...this.#numbers(take())];
    if (dims.length < 2 || dims.some((side) => side < 0 || !Number.isInteger(side))) throw this.#refuse("the size of an array is damaged");
    const count = dims.reduce((a, b) => a * b, 1);
    const name = Buffer.from(take().bytes).toString("latin1");
    // Each array within this one has at least its eight bytes of type and length.
    const many = (each: number): void => {
      if (count * each * 8 > bytes.byteLength) throw this.#cutShort();
    };
    const inner = (): MatValue => {
      const element = take();
      if (element.type !== matrixType) throw this.#refuse(`a part of "${name}" is no array`);
      return this.#array(element.bytes, depth + 1).value;
    };
    if (kind === classes.cell) {
      many(1);
      return { name, value: { kind: "cells", dims, cells: Array.from({ length: count }, inner) } };
    }
    if (kind === classes.struct) {
      const length = this.#numbers(take())[0] ?? 0;
      const text = take().bytes;
      if (!(length > 0) || text.byteLength % length !== 0) throw this.#refuse(`the field names of "${name}" are damaged`);
      const names = Array.from({ length: text.byteLength / length }, (_, i) => zeroEnded(text.subarray(i * length, (i + 1) * length)));
      many(Math.max(1, names.length));
      const fields = new Map(names.map((field) => [field, [] as MatValue[]]));
      for (let i = 0; i < count; i++) for (const field of names) fields.get(field)!.push(inner());
      return { name, value: { kind: "structs", dims, fields } };
    }
    if (kind === classes.char) {
      const element = take();
      const [encoding] = utfTypes[element.type] ?? [];
      const text =
        encoding !== undefined && (encoding === "utf8" || this.#little)
          ? Buffer.from(element.bytes).toString(encoding)
          : Array.from(this.#numbers(element.type === 17 ? { ...element, type: types.uint16 } : element), (code) =>
              String.fromCharCode(code),
            ).join("");
      return { name, value: { kind: "text", dims, text } };
    }
    if (kind >= classes.firstNumber && kind <= classes.lastNumber) {
      const values = this.#numbers(take());
      if (values.length !== count) throw this.#refuse(`"${name}" has ${values.length} numbers, expected ${count}`);
      return { name, value: { kind: "numbers", dims, values } };
    }
    throw this.#refuse(`"${name}" is of a kind that is not read (class ${kind}): expected numbers, text, cells or structs`);
  }

  #numbers({ type, bytes }: Element): Float64Array {
    const [size, read] = numberTypes[type] ?? [];
    if (size === undefined || read === undefined || bytes.byteLength % size !== 0) throw this.#refuse("numbers of it are damaged");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Float64Array.from({ length: bytes.byteLength / size }, (_, i) => read(view, i * size, this.#little));
  }

  #cutShort(): DataError {
    return this.#refuse("the file is cut short");
  }

  #refuse(what: string, mend = "Fetch the file again.", cause?: unknown): DataError {
    return new DataError(`${this.#name}: ${what}.`, { mend, cause });
  }
}

function zeroEnded(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString("latin1");
}
