/**
 * The safetensors format: 8 bytes with the length of a JSON header, the header, the raw elements of all tensors.
 *
 * A file may come from anywhere, so nothing in the header is believed: ranges must lie in the file, fit shape and type, and cover the
 * data without overlap or gap. Each tensor is read into memory of its own: files may be larger than the largest buffer, elements are
 * aligned whatever their offset, and a tensor that is dropped frees its memory.
 */
import { closeSync, fstatSync } from "node:fs";
import { ModelFormatError, invariant, isRecord } from "../support/index.ts";
import { fetchAgain, openToRead, readRange } from "./read-range.ts";
import { writeParts } from "./write-parts.ts";

/** Bytes of one element. */
export const elementBytes = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 } as const;

/** Element types by the names the format gives them. */
export type StoredType = keyof typeof elementBytes;

/** A tensor as it stands in a file. */
export interface StoredTensor {
  dtype: StoredType;
  /** Sizes of the dimensions; empty for a scalar. */
  shape: number[];
  /** Elements in row-major order, little-endian; at the start of its buffer when it was read from a file. */
  data: Uint8Array;
}

/** All that a safetensors file holds. */
export interface Safetensors {
  /** Free text by key. */
  metadata: Record<string, string>;
  /** Tensors by name, in the order of the header (names that are whole numbers first). */
  tensors: Map<string, StoredTensor>;
}

/** Longest header that is accepted, as in the reference implementation. */
const longestHeader = 100_000_000;
const metadataKey = "__metadata__";

interface Entry {
  name: string;
  dtype: StoredType;
  shape: number[];
  begin: number;
  end: number;
}

/**
 * Reads all tensors of a file.
 *
 * @throws ModelFormatError when the file is missing, cut short, or its header does not hold together
 */
export function readSafetensors(path: string): Safetensors {
  const file = openToRead(path);
  try {
    const size = fstatSync(file).size;
    const { header, dataStart } = readHeader(path, file, size);
    const metadata = readMetadata(path, header);
    const entries = readEntries(path, header);
    checkCover(path, entries, size - dataStart);
    const tensors = new Map<string, StoredTensor>();
    for (const { name, dtype, shape, begin, end } of entries) {
      tensors.set(name, { dtype, shape, data: readRange(path, file, dataStart + begin, end - begin) });
    }
    return { metadata, tensors };
  } finally {
    closeSync(file);
  }
}

function readHeader(path: string, file: number, size: number): { header: Record<string, unknown>; dataStart: number } {
  if (size < 8) throw new ModelFormatError(`${path}: no safetensors file: it has ${size} bytes, and its header alone needs more.`);
  const prefix = readRange(path, file, 0, 8);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > longestHeader) {
    throw new ModelFormatError(
      `${path}: no safetensors file, or damaged: its header would have ${length} bytes, and ${longestHeader} are allowed.`,
    );
  }
  if (8 + Number(length) > size) {
    throw new ModelFormatError(`${path}: the file is cut short in its header: expected ${length} bytes, got ${size - 8}.`, {
      mend: fetchAgain,
    });
  }
  const text = new TextDecoder("utf-8").decode(readRange(path, file, 8, Number(length)));
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    throw new ModelFormatError(`${path}: no safetensors file, or damaged: its header is not JSON (${(error as Error).message}).`, {
      cause: error,
    });
  }
  if (!isRecord(header)) throw new ModelFormatError(`${path}: no safetensors file: its header is no JSON object.`);
  return { header, dataStart: 8 + Number(length) };
}

function readMetadata(path: string, header: Record<string, unknown>): Record<string, string> {
  const metadata = header[metadataKey] ?? {};
  if (!isRecord(metadata)) throw new ModelFormatError(`${path}: ${metadataKey} is no JSON object.`);
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string") throw new ModelFormatError(`${path}: ${metadataKey} "${key}" is no text: ${JSON.stringify(value)}.`);
  }
  return metadata as Record<string, string>;
}

function readEntries(path: string, header: Record<string, unknown>): Entry[] {
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === metadataKey) continue;
    const refuse = (what: string): ModelFormatError => new ModelFormatError(`${path}: tensor "${name}": ${what}.`);
    if (!isRecord(value)) throw refuse("its entry in the header is no JSON object");
    const { dtype, shape, data_offsets: offsets } = value;
    if (typeof dtype !== "string" || !Object.hasOwn(elementBytes, dtype)) {
      throw refuse(`element type ${JSON.stringify(dtype)} is unknown; expected one of ${Object.keys(elementBytes).join(", ")}`);
    }
    if (!isListOfSizes(shape)) throw refuse(`shape ${JSON.stringify(shape)} is no list of sizes`);
    if (!isListOfSizes(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
      throw refuse(`data_offsets ${JSON.stringify(offsets)} are no range`);
    }
    const [begin, end] = offsets as [number, number];
    const type = dtype as StoredType;
    const expected = shape.reduce((product, size) => product * size, elementBytes[type]);
    if (end - begin !== expected) {
      throw refuse(`${type} of shape [${shape.join(", ")}] needs ${expected} bytes, its range has ${end - begin}`);
    }
    entries.push({ name, dtype: type, shape, begin, end });
  }
  return entries;
}

/** The ranges, in order of offset, must follow one another from the start of the data to the end of the file. */
function checkCover(path: string, entries: readonly Entry[], available: number): void {
  const inOrder = [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end);
  const last = inOrder.at(-1)?.end ?? 0;
  if (last > available) {
    const cut = inOrder.find(({ end }) => end > available)!;
    throw new ModelFormatError(
      `${path}: the file is cut short: tensor "${cut.name}" ends at byte ${cut.end} of the data, of which ${available} bytes are there.`,
      { mend: fetchAgain },
    );
  }
  let expected = 0;
  for (const { name, begin, end } of inOrder) {
    if (begin !== expected) {
      const what = begin < expected ? "overlaps the tensor before it" : "leaves a gap behind the tensor before it";
      throw new ModelFormatError(`${path}: tensor "${name}" ${what}: expected its data at byte ${expected}, got ${begin}.`);
    }
    expected = end;
  }
  if (last < available) throw new ModelFormatError(`${path}: ${available - last} bytes behind the last tensor belong to none.`);
}

/**
 * Writes tensors to a new file and waits until it is on disk. Wide element types come first, so that every tensor is aligned in the
 * file; the header keeps the given order.
 *
 * @param metadata free text by key, for example the format's usual `{ format: "pt" }`
 * @throws LaclipError when the disk is full or the folder may not be written; the file may be left in part
 */
export function writeSafetensors(path: string, tensors: Iterable<[string, StoredTensor]>, metadata: Record<string, string> = {}): void {
  const given = new Map<string, StoredTensor>();
  for (const [name, tensor] of tensors) {
    invariant(name !== metadataKey && !given.has(name), `tensor name "${name}" is reserved or given twice`);
    const expected = tensor.shape.reduce((product, size) => product * size, elementBytes[tensor.dtype]);
    invariant(tensor.data.byteLength === expected, `tensor "${name}" has ${tensor.data.byteLength} bytes, its shape needs ${expected}`);
    given.set(name, tensor);
  }
  const inFile = [...given].sort(([, a], [, b]) => elementBytes[b.dtype] - elementBytes[a.dtype]);
  const ranges = new Map<string, [number, number]>();
  let used = 0;
  for (const [name, { data }] of inFile) ranges.set(name, [used, (used += data.byteLength)]);

  const entries: [string, unknown][] = Object.keys(metadata).length > 0 ? [[metadataKey, metadata]] : [];
  for (const [name, { dtype, shape }] of given) entries.push([name, { dtype, shape, data_offsets: ranges.get(name) }]);
  // Object.fromEntries would move names that look like numbers to the front.
  const header = `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(",")}}`;
  const padded = Buffer.from(header.padEnd(header.length + ((8 - (Buffer.byteLength(header) % 8)) % 8), " "));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(padded.length));
  writeParts(path, [prefix, padded, ...inFile.map(([, { data }]) => data)]);
}

function isListOfSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
