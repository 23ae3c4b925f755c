/** Tensors in safetensors files. */
import { ModelFormatError } from "../support/index.ts";
import { type DType, Tensor, elementBytes, type TypedArray, typedArray } from "../torch/index.ts";
import { readSafetensors, type StoredTensor } from "../formats/index.ts";

const names: Record<DType, StoredTensor["dtype"]> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
};

/** Copies of tensors in the form that files hold: they stay as they are now, whatever becomes of the tensors. */
export function storedTensors(tensors: Iterable<[string, Tensor]>): [string, StoredTensor][] {
  const stored: [string, StoredTensor][] = [];
  for (const [name, tensor] of tensors) {
    const array = tensor.toTypedArray();
    stored.push([
      name,
      { dtype: names[tensor.dtype], shape: tensor.shape, data: new Uint8Array(array.buffer, array.byteOffset, array.byteLength) },
    ]);
  }
  return stored;
}

/**
 * Reads all tensors of a file.
 * @throws ModelFormatError when the file is damaged or holds an element type that the library does not have
 */
export function loadTensors(path: string): { tensors: Map<string, Tensor>; metadata: Record<string, string> } {
  const { tensors, metadata } = readSafetensors(path);
  return { tensors: tensorsOf(tensors, path), metadata };
}

/**
 * Tensors of what was read from a file.
 * @param origin the file, for messages
 * @throws ModelFormatError for an element type that the library does not have
 */
export function tensorsOf(stored: ReadonlyMap<string, StoredTensor>, origin: string): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [name, { dtype, shape, data }] of stored) {
    const own = (Object.keys(names) as DType[]).find((candidate) => names[candidate] === dtype);
    if (own === undefined) throw new ModelFormatError(`${origin}: tensor ${name} has the unknown element type ${dtype}.`);
    tensors.set(name, Tensor.from(aligned(data, own), shape, { dtype: own }));
  }
  return tensors;
}

/** The bytes as the typed array of `dtype`, copied only where their offset is not a multiple of the element size. */
function aligned(data: Uint8Array, dtype: DType): TypedArray {
  return typedArray(dtype, data.byteOffset % elementBytes(dtype) === 0 ? data : data.slice());
}
