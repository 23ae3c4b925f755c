/** What other names and forms of weights need of tensors that stand in files: transposed, cut, joined, of another element type. */
import { type StoredTensor, elementBytes } from "../formats/index.ts";
import { invariant } from "../support/index.ts";

/** `[rows, columns]` -> `[columns, rows]` */
export function transposed({ dtype, shape, data }: StoredTensor): StoredTensor {
  invariant(shape.length === 2, `a matrix is transposed, not shape [${shape.join(", ")}]`);
  const [rows, columns] = shape as [number, number];
  // Bits are moved, whatever they mean; as whole elements, which have to be aligned.
  const Elements = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array }[elementBytes[dtype]];
  const before = new Elements(new Uint8Array(data).buffer);
  const after = new Elements(before.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) after[column * rows + row] = before[row * columns + column]!;
  }
  return { dtype, shape: [columns, rows], data: new Uint8Array(after.buffer) };
}

/** Rows `from` to `to` (without it) of the first dimension; the bytes are shared. */
export function rowsOf({ dtype, shape, data }: StoredTensor, from: number, to: number): StoredTensor {
  const [rows, ...rest] = shape;
  invariant(rows !== undefined && from >= 0 && from <= to && to <= rows, `rows ${from} to ${to} of shape [${shape.join(", ")}]`);
  const row = rows === 0 ? 0 : data.byteLength / rows;
  return { dtype, shape: [to - from, ...rest], data: data.subarray(from * row, to * row) };
}

/** Tensors one after the other along the first dimension: all of one type, and alike in the other dimensions. */
export function stacked(parts: readonly StoredTensor[]): StoredTensor {
  const [first] = parts;
  invariant(first, "nothing is stacked");
  const [, ...rest] = first.shape;
  for (const { dtype, shape } of parts) {
    invariant(
      dtype === first.dtype && shape.slice(1).join() === rest.join(),
      `shapes [${first.shape.join(", ")}] and [${shape.join(", ")}]`,
    );
  }
  const rows = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const data = new Uint8Array(parts.reduce((sum, part) => sum + part.data.byteLength, 0));
  let end = 0;
  for (const part of parts) {
    data.set(part.data, end);
    end += part.data.byteLength;
  }
  return { dtype: first.dtype, shape: [rows, ...rest], data };
}

/** The same numbers as float32, which models are trained and stored in; float64 is rounded. Other types than floats stay as they are. */
export function asFloat32(tensor: StoredTensor): StoredTensor {
  const { dtype, shape, data } = tensor;
  if (dtype !== "F64" && dtype !== "F16" && dtype !== "BF16") return tensor;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const count = data.byteLength / elementBytes[dtype];
  const numbers = new Float32Array(count);
  if (dtype === "F64") for (let i = 0; i < count; i++) numbers[i] = view.getFloat64(8 * i, true);
  else {
    const bits = new Uint32Array(numbers.buffer);
    // bfloat16 is the upper half of a float32.
    if (dtype === "BF16") for (let i = 0; i < count; i++) bits[i] = view.getUint16(2 * i, true) << 16;
    else for (let i = 0; i < count; i++) numbers[i] = halfToNumber(view.getUint16(2 * i, true));
  }
  return { dtype: "F32", shape, data: new Uint8Array(numbers.buffer) };
}

/** IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 0x1f, bits & 0x3ff];
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}
