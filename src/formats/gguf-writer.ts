/**
 * Writes GGUF files (version 3): a model's keys, then its tensors, tensor by tensor, so that a model may be larger than the memory.
 */
import { closeSync, openSync } from "node:fs";
import { writeAll } from "../support/index.ts";

type Value = number | string | readonly string[] | readonly number[];
/** Key, kind of value, value. Kinds: u32, f32, string, lists of strings, of f32 and of i32. */
export type GgufEntry = readonly [key: string, kind: "u32" | "f32" | "string" | "strings" | "f32s" | "i32s", value: Value];

/** How numbers are stored. Those of a Q type come in blocks of 32 with a common scale. */
export type GgufStore = "f32" | "f16" | "q8_0" | "q4_0";

/** A tensor as numbers, which are stored as the file's `store` says; or as bytes that are written as they are. */
export type GgufContent =
  | { readonly data: Float32Array }
  | { readonly store: GgufStore; /** All its bytes, in pieces. */ readonly bytes: () => Iterable<Uint8Array> };

/** What a file is to hold. */
export interface GgufContents {
  entries: GgufEntry[];
  /** Shapes with the fastest-moving dimension first, as GGUF has them. */
  tensors: ({ readonly name: string; readonly shape: readonly number[] } & GgufContent)[];
  /** How matrices given as numbers are stored; vectors are always F32. Default "f32". */
  store?: "f32" | "q8_0";
}

/** The number of each ggml type, and elements and bytes of a block. */
const types: Readonly<Record<GgufStore, readonly [number: number, elements: number, bytes: number]>> = {
  f32: [0, 1, 4],
  f16: [1, 1, 2],
  q4_0: [2, 32, 18],
  q8_0: [8, 32, 34],
};

/**
 * Writes the file and returns its path.
 * @throws RangeError when a tensor's pieces have another length than its shape says
 */
export function writeGguf(path: string, { entries, tensors, store = "f32" }: GgufContents): string {
  const parts = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(entries.length)];
  for (const [key, kind, value] of entries) parts.push(string(key), encoded(kind, value));
  let offset = 0;
  for (const tensor of tensors) {
    const { name, shape } = tensor;
    parts.push(string(name), u32(shape.length), ...shape.map(u64), u32(types[storeOf(tensor, store)][0]), u64(offset));
    offset += aligned(bytesOf(tensor, store));
  }
  const file = openSync(path, "w");
  try {
    const write = (bytes: Uint8Array): void => writeAll(file, bytes);
    const pad = (length: number): void => write(Buffer.alloc(aligned(length) - length));
    const header = Buffer.concat(parts);
    write(header);
    pad(header.length);
    for (const tensor of tensors) {
      const expected = bytesOf(tensor, store);
      let length = 0;
      for (const piece of "bytes" in tensor ? tensor.bytes() : [stored(tensor.data, storeOf(tensor, store))]) {
        write(piece);
        length += piece.length;
      }
      if (length !== expected) throw new RangeError(`${path}: tensor "${tensor.name}" has ${length} bytes, expected ${expected}.`);
      pad(length);
    }
  } finally {
    closeSync(file);
  }
  return path;
}

function storeOf(tensor: GgufContents["tensors"][number], store: "f32" | "q8_0"): GgufStore {
  if ("bytes" in tensor) return tensor.store;
  return tensor.shape.length > 1 ? store : "f32";
}

function bytesOf(tensor: GgufContents["tensors"][number], store: "f32" | "q8_0"): number {
  const [, elements, bytes] = types[storeOf(tensor, store)];
  return (tensor.shape.reduce((a, b) => a * b, 1) / elements) * bytes;
}

function stored(data: Float32Array, store: GgufStore): Uint8Array {
  return store === "q8_0" ? quantised(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function u32(value: number): Buffer {
  return Buffer.from(Uint32Array.of(value).buffer);
}

function u64(value: number): Buffer {
  return Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
}

function f32(value: number): Buffer {
  return Buffer.from(Float32Array.of(value).buffer);
}

function string(value: string): Buffer {
  return Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
}

function list(kind: number, values: readonly Buffer[]): Buffer {
  return Buffer.concat([u32(9), u32(kind), u64(values.length), ...values]);
}

function encoded(kind: GgufEntry[1], value: Value): Buffer {
  if (kind === "u32") return Buffer.concat([u32(4), u32(value as number)]);
  if (kind === "f32") return Buffer.concat([u32(6), f32(value as number)]);
  if (kind === "string") return Buffer.concat([u32(8), string(value as string)]);
  if (kind === "strings") return list(8, (value as string[]).map(string));
  return kind === "f32s" ? list(6, (value as number[]).map(f32)) : list(5, (value as number[]).map(u32));
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / 32) * 32;
}

/** Q8_0: blocks of 32 numbers, a scale in half precision and a byte for each. */
function quantised(data: Float32Array): Uint8Array {
  const bytes = new Uint8Array((data.length / 32) * 34);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < data.length / 32; block++) {
    let largest = 0;
    for (let i = 0; i < 32; i++) largest = Math.max(largest, Math.abs(data[block * 32 + i]!));
    const half = halfBits(largest / 127);
    view.setUint16(block * 34, half, true);
    const scale = halfValue(half) || 1;
    for (let i = 0; i < 32; i++) view.setInt8(block * 34 + 2 + i, Math.round(data[block * 32 + i]! / scale));
  }
  return bytes;
}

/** The bits of the half-precision number next above a small positive one, so that no byte overflows; 0 below the normal numbers. */
export function halfBits(value: number): number {
  if (value < 2 ** -14) return 0;
  const exponent = Math.floor(Math.log2(value));
  return ((exponent + 15) << 10) + Math.ceil((value / 2 ** exponent - 1) * 1024);
}

function halfValue(bits: number): number {
  return bits === 0 ? 0 : 2 ** ((bits >> 10) - 15) * (1 + (bits & 1023) / 1024);
}
