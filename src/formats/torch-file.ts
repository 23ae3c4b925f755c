/**
 * Files of PyTorch (`torch.save` since version 1.6, `torch.jit.save`), read as data: a zip with a pickle, `data.pkl`, and the bytes of
 * each storage in a member of its own.
 *
 * `torch.load` runs such a pickle, or refuses classes that it does not know: LaCLIP's checkpoints hold the arguments of their training
 * as an `argparse.Namespace` and can't be opened without trusting them. Here nothing is run (see `readPickle`), classes are
 * names, and only the tensors that are asked for are read: not the optimiser's, which are two thirds of a checkpoint.
 */
import { closeSync, fstatSync } from "node:fs";
import { ModelFormatError } from "../support/index.ts";
import { PickledCall, PickledName, PickledReference, type PickledValue, readPickle } from "./pickle.ts";
import { fetchAgain, openToRead, readRange } from "./read-range.ts";
import { type StoredTensor, type StoredType, elementBytes } from "./safetensors.ts";

const storages: Readonly<Record<string, StoredType>> = {
  "torch.DoubleStorage": "F64",
  "torch.FloatStorage": "F32",
  "torch.HalfStorage": "F16",
  "torch.BFloat16Storage": "BF16",
  "torch.LongStorage": "I64",
  "torch.IntStorage": "I32",
  "torch.ShortStorage": "I16",
  "torch.CharStorage": "I8",
  "torch.ByteStorage": "U8",
  "torch.BoolStorage": "BOOL",
};

/** Calls that make tensors of storages, and parameters of tensors. */
const tensors: ReadonlySet<string> = new Set(["torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"]);
const parameters: ReadonlySet<string> = new Set(["torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"]);

/** Where a member's bytes stand in the file. */
interface Place {
  start: number;
  size: number;
}

/** A file that is open. */
export class TorchFile {
  readonly path: string;
  /** What was saved. Tensors in it are calls that `readTensor` knows; objects of classes are calls with their attributes as state. */
  readonly value: PickledValue;
  /** Whether it is a program, of `torch.jit.save`: its value is the module, with parameters and modules among its attributes. */
  readonly isScript: boolean;
  readonly #file: number;
  readonly #members: ReadonlyMap<string, Place>;

  private constructor(path: string, file: number, members: ReadonlyMap<string, Place>) {
    [this.path, this.#file, this.#members] = [path, file, members];
    const order = this.#bytes("byteorder");
    if (order && Buffer.from(order).toString() !== "little")
      throw new ModelFormatError(`${path}: saved on a machine that writes high bytes first.`);
    this.isScript = members.has("constants.pkl");
    const pickle = this.#bytes("data.pkl");
    if (!pickle) throw new ModelFormatError(`${path}: a zip, but none of PyTorch's: it has no data.pkl.`);
    this.value = readPickle(pickle, `${path}, data.pkl`);
  }

  /**
   * Opens a file; close it when done.
   * @throws ModelFormatError when it can't be opened, is none of PyTorch's, older than version 1.6, or damaged
   */
  static async open(path: string): Promise<TorchFile> {
    const file = openToRead(path);
    try {
      return new TorchFile(path, file, await membersOf(path, file));
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  /**
   * The tensor that a part of `value` describes, row by row whatever its strides; undefined when it describes none.
   * @throws ModelFormatError when its bytes are not there, or its sizes do not fit them
   */
  readTensor(value: PickledValue | undefined): StoredTensor | undefined {
    // A parameter is made of a tensor, never of another parameter.
    const tensor = value instanceof PickledCall && parameters.has(value.name) ? value.args[0] : value;
    if (!(tensor instanceof PickledCall) || !tensors.has(tensor.name)) return undefined;
    const [storage, offset, shape, strides] = tensor.args;
    const [first, sizes, steps] = [wholeNumber(offset), wholeNumbers(shape), wholeNumbers(strides)];
    const id = storage instanceof PickledReference && Array.isArray(storage.id) ? storage.id : [];
    const [kind, type, key, , count] = id;
    const dtype = type instanceof PickledName ? storages[type.name] : undefined;
    if (kind !== "storage" || typeof key !== "string" || first === undefined || !sizes || sizes.length !== steps?.length) {
      throw this.#damaged("a tensor is described in another way than PyTorch does");
    }
    if (dtype === undefined) {
      throw new ModelFormatError(
        `${this.path}: a tensor has elements of ${type instanceof PickledName ? type.name : "an unknown type"}, which is not known here.`,
      );
    }
    const place = this.#members.get(`data/${key}`);
    const size = elementBytes[dtype];
    if (!place || wholeNumber(count) !== place.size / size)
      throw this.#damaged(`storage ${key} is missing, or has another size than the pickle says`);
    const elements = sizes.reduce((product, length) => product * length, 1);
    if (elements === 0) return { dtype, shape: sizes, data: new Uint8Array() };
    const end = 1 + sizes.reduce((last, length, i) => last + (length - 1) * steps[i]!, first);
    if (end * size > place.size || elements * size > place.size) {
      throw this.#damaged(`a tensor of shape [${sizes.join(", ")}] lies beyond the end of storage ${key}`);
    }
    const bytes = readRange(this.path, this.#file, place.start + first * size, (end - first) * size);
    return { dtype, shape: sizes, data: isRowByRow(sizes, steps) ? bytes : gathered(bytes, sizes, steps, size) };
  }

  #bytes(member: string): Uint8Array | undefined {
    const place = this.#members.get(member);
    return place && readRange(this.path, this.#file, place.start, place.size);
  }

  #damaged(what: string): ModelFormatError {
    return new ModelFormatError(`${this.path}: ${what}.`, { mend: fetchAgain });
  }
}

/** Members by their name behind the folder that all of them lie in. */
async function membersOf(path: string, file: number): Promise<Map<string, Place>> {
  const head = Buffer.from(readRange(path, file, 0, Math.min(4, fstatSync(file).size)));
  if (head.toString("latin1") !== "PK\x03\x04") throw noZip(path, head);
  const members = new Map<string, Place>();
  const { fromFdPromise } = await import("yauzl");
  try {
    const zip = await fromFdPromise(file, { autoClose: false });
    for await (const entry of zip.eachEntry()) {
      const name = entry.fileName.slice(entry.fileName.indexOf("/") + 1);
      // The source code in programs is compressed, and not read.
      if (name !== "data.pkl" && name !== "byteorder" && name !== "constants.pkl" && !name.startsWith("data/")) continue;
      if (entry.compressionMethod !== 0) throw new Error(`${entry.fileName} is compressed, which PyTorch never does`);
      const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
      members.set(name, { start: fileDataStart, size: entry.uncompressedSize });
    }
  } catch (error) {
    throw new ModelFormatError(`${path}: no whole zip file, as PyTorch writes them (${(error as Error).message}).`, {
      cause: error,
      mend: fetchAgain,
    });
  }
  return members;
}

function noZip(path: string, head: Buffer): ModelFormatError {
  if (head[0] !== 0x80) return new ModelFormatError(`${path}: neither a file of PyTorch's nor one of safetensors.`);
  return new ModelFormatError(`${path}: a pickle; PyTorch writes zip files since version 1.6.`, {
    mend: `If you trust it, write it anew: python3 -c 'import torch; torch.save(torch.load("${path}", map_location="cpu", weights_only=False), "new.pt")'`,
  });
}

function wholeNumber(value: PickledValue | undefined): number | undefined {
  const number = typeof value === "bigint" ? Number(value) : value;
  return Number.isSafeInteger(number) && (number as number) >= 0 ? (number as number) : undefined;
}

function wholeNumbers(value: PickledValue | undefined): number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const numbers = value.map(wholeNumber);
  return numbers.includes(undefined) ? undefined : (numbers as number[]);
}

/** Whether elements follow each other as rows do. The stride of a dimension of size 1 says nothing. */
function isRowByRow(sizes: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let i = sizes.length - 1; i >= 0; i--) {
    if (sizes[i] !== 1 && strides[i] !== expected) return false;
    expected *= sizes[i]!;
  }
  return true;
}

/** The elements row by row. */
function gathered(bytes: Uint8Array, sizes: readonly number[], strides: readonly number[], size: number): Uint8Array {
  const count = sizes.reduce((product, length) => product * length, 1);
  const rows = new Uint8Array(count * size);
  const index = sizes.map(() => 0);
  for (let i = 0, from = 0; i < count; i++) {
    rows.set(bytes.subarray(from * size, (from + 1) * size), i * size);
    for (let d = sizes.length - 1; d >= 0; d--) {
      from += strides[d]!;
      if (++index[d]! < sizes[d]!) break;
      from -= sizes[d]! * strides[d]!;
      index[d] = 0;
    }
  }
  return rows;
}
