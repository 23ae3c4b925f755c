/** Element types by name, and the typed array that carries each between JavaScript and the library. */
import { UsageError } from "../support/index.ts";

/** Names of element types. float16 and bfloat16 travel as their raw 16 bits. */
export type DType = "float32" | "bfloat16" | "float16" | "float64" | "int64" | "int32" | "int16" | "int8" | "uint8" | "bool";

/** Arrays that tensors are made from and read into. */
export type TypedArray = Float32Array | Float64Array | BigInt64Array | Int32Array | Int16Array | Uint16Array | Int8Array | Uint8Array;

/** The typed array of each element type; bool is one byte an element, 0 or 1. */
const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
} as const satisfies Record<DType, unknown>;

/** Bytes of one element. */
export function elementBytes(dtype: DType): number {
  return arrays[dtype].BYTES_PER_ELEMENT;
}

/** Memory as the typed array of `dtype`, without a copy. @param bytes a whole buffer, or a part that starts at a multiple of the element size */
export function typedArray(dtype: DType, bytes: ArrayBuffer | Uint8Array): TypedArray {
  if (!Object.hasOwn(arrays, dtype)) {
    throw new UsageError(`Elements of type ${dtype} have no typed array in JavaScript.`, { mend: "Convert the tensor first, with `to`." });
  }
  if (bytes instanceof ArrayBuffer) return new arrays[dtype](bytes);
  return new arrays[dtype](bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / elementBytes(dtype));
}

/** The element type that an array has by itself: Float32Array -> float32, BigInt64Array -> int64, Uint8Array -> uint8. */
export function naturalDtype(array: TypedArray): DType {
  for (const [dtype, constructor] of Object.entries(arrays)) {
    if (array instanceof constructor && dtype !== "bool" && dtype !== "float16") return dtype as DType;
  }
  throw new UsageError(`A tensor can't be made from a ${(array as object).constructor.name}.`, {
    mend: `Give one of ${[...new Set(Object.values(arrays))].map(({ name }) => name).join(", ")}.`,
  });
}

/** Throws a UsageError when an array can't carry elements of `dtype`. */
export function checkArray(array: TypedArray, dtype: DType): void {
  if (!Object.hasOwn(arrays, dtype)) {
    throw new UsageError(`There is no element type "${dtype}".`, { mend: `Element types: ${Object.keys(arrays).join(", ")}.` });
  }
  if (array instanceof arrays[dtype]) return;
  throw new UsageError(`A ${dtype} tensor is made from a ${arrays[dtype].name}, got a ${array.constructor.name}.`);
}

/** The float32 value of raw bfloat16 bits. */
export function fromBfloat16(bits: Uint16Array): Float32Array {
  const wide = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = bits[i]! << 16;
  return new Float32Array(wide.buffer);
}
