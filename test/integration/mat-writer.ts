/** .mat files of version 5 as MATLAB writes them, for tests: each variable compressed, small whole numbers as bytes, text as 16-bit codes. */
import { deflateSync } from "node:zlib";

/** An array that knows how it is written, given its name. */
export type MatArray = (name: string) => Buffer;

const [int8, uint8, uint16, int32, uint32, double, matrix, compressed] = [1, 2, 4, 5, 6, 9, 14, 15];

function element(type: number, data: Buffer): Buffer {
  if (data.length <= 4 && data.length > 0 && type !== matrix) {
    const small = Buffer.alloc(8);
    small.writeUInt32LE((data.length << 16) | type);
    data.copy(small, 4);
    return small;
  }
  const head = Buffer.alloc(8);
  head.writeUInt32LE(type);
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data, Buffer.alloc((8 - (data.length % 8)) % 8)]);
}

function integers(values: readonly number[]): Buffer {
  return Buffer.from(Int32Array.from(values).buffer);
}

function array(kind: number, dims: readonly number[], name: string, ...parts: readonly Buffer[]): Buffer {
  const flags = element(uint32, integers([kind, 0]));
  return element(matrix, Buffer.concat([flags, element(int32, integers(dims)), element(int8, Buffer.from(name)), ...parts]));
}

/** A row of numbers, of MATLAB's class double. */
export function numbers(values: readonly number[]): MatArray {
  const small = values.every((value) => Number.isInteger(value) && value >= 0 && value < 256);
  const short = values.every((value) => Number.isInteger(value) && value >= 0 && value < 65_536);
  const data = small
    ? element(uint8, Buffer.from(values))
    : short
      ? element(uint16, Buffer.from(Uint16Array.from(values).buffer))
      : element(double, Buffer.from(Float64Array.from(values).buffer));
  return (name) => array(6, [1, values.length], name, data);
}

export function text(value: string): MatArray {
  return (name) => array(4, [1, value.length], name, element(uint16, Buffer.from(value, "utf16le")));
}

/** A row of cells. */
export function cells(values: readonly MatArray[]): MatArray {
  return (name) => array(1, [1, values.length], name, ...values.map((value) => value("")));
}

/** A row of structs; all have the fields of the first. */
export function structs(values: readonly Readonly<Record<string, MatArray>>[]): MatArray {
  const fields = Object.keys(values[0]!);
  const names = Buffer.alloc(32 * fields.length);
  fields.forEach((field, i) => names.write(field, 32 * i));
  const parts = values.flatMap((value) => fields.map((field) => value[field]!("")));
  return (name) => array(2, [1, values.length], name, element(int32, integers([32])), element(int8, names), ...parts);
}

/** A whole file. */
export function matFile(variables: Readonly<Record<string, MatArray>>): Uint8Array {
  const head = Buffer.alloc(128, " ");
  head.write("MATLAB 5.0 MAT-file, Platform: GLNXA64, written for a test");
  head.fill(0, 116, 124);
  head.writeUInt16LE(0x0100, 124);
  head.write("IM", 126);
  const parts = Object.entries(variables).map(([name, value]) => {
    const data = deflateSync(value(name));
    const before = Buffer.alloc(8);
    before.writeUInt32LE(compressed);
    before.writeUInt32LE(data.length, 4);
    return Buffer.concat([before, data]);
  });
  return Buffer.concat([head, ...parts]);
}
