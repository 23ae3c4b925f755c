/**
 * NumPy's .npy files: features that other programs read, and labels that they wrote (format versions 1 to 3).
 *
 * Object arrays are refused: they are Python pickles, which may run any program when they are loaded.
 */
import { readFileSync } from "node:fs";
import { DataError, explainReadFailure, invariant } from "../support/index.ts";
import { writeParts } from "./write-parts.ts";

const types = {
  float32: { descr: "<f4", array: Float32Array },
  float64: { descr: "<f8", array: Float64Array },
  int32: { descr: "<i4", array: Int32Array },
  int64: { descr: "<i8", array: BigInt64Array },
  uint8: { descr: "|u1", array: Uint8Array },
  bool: { descr: "|b1", array: Uint8Array },
} as const;

/** Element types by their names here. */
export type NpyType = keyof typeof types;

/** An array as it stands in a file. */
export interface NpyArray {
  dtype: NpyType;
  /** Sizes of the dimensions; empty for a scalar. */
  shape: number[];
  /** Elements in row-major order; for `bool` 0 or 1. */
  data: Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array;
}

const magic = Buffer.from("\u0093NUMPY", "latin1");

/**
 * Reads an array. Arrays in column-major order are turned round.
 *
 * @throws DataError when the file is no .npy file, cut short, or of an element type that is not in {@link NpyType}
 */
export function readNpy(path: string): NpyArray {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw explainReadFailure(error, path);
  }
  if (bytes.length < 12 || !bytes.subarray(0, magic.length).equals(magic))
    throw new DataError(`${path}: no .npy file: its first bytes are others.`);
  const major = bytes[6]!;
  if (major < 1 || major > 3) throw new DataError(`${path}: .npy format version ${major}.${bytes[7]} is unknown; expected 1 to 3.`);
  const headerStart = major === 1 ? 10 : 12;
  const dataStart = headerStart + (major === 1 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8));
  if (dataStart > bytes.length) throw new DataError(`${path}: the file is cut short in its header.`);
  const { descr, columnMajor, shape } = parseHeader(path, bytes.toString(major === 3 ? "utf8" : "latin1", headerStart, dataStart));

  const dtype = typeOf(path, descr);
  const { array: TypedArray } = types[dtype];
  const count = shape.reduce((product, size) => product * size, 1);
  const available = bytes.length - dataStart;
  if (count * TypedArray.BYTES_PER_ELEMENT !== available) {
    throw new DataError(
      `${path}: ${dtype} of shape [${shape.join(", ")}] needs ${count * TypedArray.BYTES_PER_ELEMENT} bytes, the file has ${available}.`,
    );
  }
  const start = bytes.byteOffset + dataStart;
  const aligned = start % TypedArray.BYTES_PER_ELEMENT === 0;
  const buffer = aligned ? bytes.buffer : bytes.buffer.slice(start, start + available);
  const data = new TypedArray(buffer as ArrayBuffer, aligned ? start : 0, count);
  return { dtype, shape, data: columnMajor && shape.length > 1 ? toRowMajor(data, shape) : data };
}

/**
 * Writes an array to a new file and waits until it is on disk.
 *
 * @throws LaclipError when the disk is full or the folder may not be written
 */
export function writeNpy(path: string, { dtype, shape, data }: NpyArray): void {
  const { descr, array: TypedArray } = types[dtype];
  const count = shape.reduce((product, size) => product * size, 1);
  invariant(
    data instanceof TypedArray && data.length === count,
    `${dtype} of shape [${shape.join(", ")}] given as ${data.length} elements`,
  );
  const tuple = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }`;
  // The data start at a multiple of 64 bytes, and the header ends with a line feed, as NumPy does it.
  const length = Math.ceil((10 + header.length + 1) / 64) * 64 - 10;
  const prefix = Buffer.alloc(10);
  magic.copy(prefix);
  prefix[6] = 1;
  prefix.writeUInt16LE(length, 8);
  const padded = Buffer.from(`${header.padEnd(length - 1)}\n`, "latin1");
  writeParts(path, [prefix, padded, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]);
}

/** The header is a Python dictionary with three fixed keys, written by NumPy in a fixed way. */
function parseHeader(path: string, header: string): { descr: string; columnMajor: boolean; shape: number[] } {
  const descr = /'descr'\s*:\s*(?:'([^']*)'|(\[))/u.exec(header);
  const order = /'fortran_order'\s*:\s*(True|False)/u.exec(header);
  const shape = /'shape'\s*:\s*\(([\d,\s]*)\)/u.exec(header);
  if (!descr || !order || !shape) throw new DataError(`${path}: the .npy header can't be understood: ${header.trim().slice(0, 200)}`);
  if (descr[2] !== undefined) throw new DataError(`${path}: this is an array of records; expected plain numbers.`);
  const sizes = shape[1]!.split(",").map((size) => size.trim());
  return { descr: descr[1]!, columnMajor: order[1] === "True", shape: sizes.filter((size) => size !== "").map(Number) };
}

function typeOf(path: string, descr: string): NpyType {
  for (const name of Object.keys(types) as NpyType[]) if (types[name].descr === descr) return name;
  if (descr.includes("O")) {
    throw new DataError(`${path}: this is an array of Python objects, which may hold any program: it is not read.`, {
      mend: "Save plain numbers, for example with numpy.save(path, array.astype('float32')).",
    });
  }
  throw new DataError(`${path}: element type "${descr}" is not supported; expected ${Object.keys(types).join(", ")}, little-endian.`, {
    mend: "Convert it, for example with numpy.save(path, array.astype('<f4')).",
  });
}

function toRowMajor(source: NpyArray["data"], shape: readonly number[]): NpyArray["data"] {
  const target = source.slice();
  const index = shape.map(() => 0);
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((product, size) => product * size, 1));
  for (let i = 0; i < target.length; i++) {
    target[i] = source[index.reduce((offset, at, axis) => offset + at * strides[axis]!, 0)]!;
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0;
  }
  return target;
}
