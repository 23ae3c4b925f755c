import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LaclipError, ModelFormatError } from "../support/index.ts";
import { type StoredTensor, readSafetensors, writeSafetensors } from "./safetensors.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-safetensors-"));
after(() => rmSync(folder, { recursive: true }));

function bytes(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A file as a stranger may have made it: header as given, then `length` bytes of data. */
function file(header: unknown, length: number, headerBytes?: bigint): string {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(headerBytes ?? BigInt(text.length));
  const path = join(folder, `given-${Math.random()}.safetensors`);
  writeFileSync(path, Buffer.concat([prefix, text, Buffer.alloc(length)]));
  return path;
}

void test("tensors of all types and shapes come back in their order, aligned, with the metadata", () => {
  const path = join(folder, "all.safetensors");
  const given: [string, StoredTensor][] = [
    ["flags", { dtype: "BOOL", shape: [3], data: Uint8Array.of(1, 0, 1) }],
    ["2", { dtype: "F32", shape: [2, 2], data: bytes(Float32Array.of(1, -2, Number.NaN, 1e-40)) }],
    ["1", { dtype: "F16", shape: [1], data: bytes(Uint16Array.of(0x3c00)) }],
    ["ids", { dtype: "I64", shape: [], data: bytes(BigInt64Array.of(-(2n ** 62n))) }],
    ["empty", { dtype: "F64", shape: [0, 5], data: new Uint8Array() }],
    ['größe ✓ "quoted"', { dtype: "U8", shape: [1], data: Uint8Array.of(255) }],
    ["__proto__", { dtype: "I8", shape: [1], data: Uint8Array.of(7) }],
    ["view", { dtype: "F32", shape: [2], data: bytes(Float32Array.of(9, 8, 7, 6).subarray(1, 3)) }],
  ];
  writeSafetensors(path, given, { format: "pt", note: "ü" });

  const { metadata, tensors } = readSafetensors(path);
  assert.deepEqual(metadata, { format: "pt", note: "ü" });
  assert.deepEqual(new Set(tensors.keys()), new Set(given.map(([name]) => name)));
  for (const [name, tensor] of given) {
    const found = tensors.get(name)!;
    assert.deepEqual([found.dtype, found.shape, [...found.data]], [tensor.dtype, tensor.shape, [...tensor.data]], name);
    assert.equal(found.data.byteOffset, 0, name);
  }
  const raw = readFileSync(path);
  const dataStart = 8 + Number(raw.readBigUInt64LE());
  assert.equal(dataStart % 8, 0);
  const header = JSON.parse(raw.toString("utf8", 8, dataStart)) as Record<string, { data_offsets?: number[] }>;
  assert.equal(header["ids"]!.data_offsets![0]! % 8, 0);
  assert.equal(header["2"]!.data_offsets![0]! % 4, 0);
});

void test("a file without tensors and metadata is a file", () => {
  const path = join(folder, "none.safetensors");
  writeSafetensors(path, []);
  assert.deepEqual(readSafetensors(path), { metadata: {}, tensors: new Map() });
});

void test("a file that is cut short anywhere is refused", () => {
  const path = join(folder, "cut.safetensors");
  writeSafetensors(path, [
    ["a", { dtype: "F32", shape: [4], data: new Uint8Array(16) }],
    ["b", { dtype: "F32", shape: [4], data: new Uint8Array(16) }],
  ]);
  const whole = readFileSync(path);
  for (const length of [whole.length - 1, whole.length - 16, whole.length - 17, 40, 8, 7, 0]) {
    writeFileSync(path, whole);
    truncateSync(path, length);
    assert.throws(
      () => readSafetensors(path),
      (error) => error instanceof ModelFormatError && error.message.includes(path),
      `${length}`,
    );
  }
});

void test("a header that does not hold together is refused, and the message names the tensor", () => {
  const f32 = (begin: number, end: number, shape = [(end - begin) / 4]): unknown => ({ dtype: "F32", shape, data_offsets: [begin, end] });
  const refused: [path: string, message: RegExp][] = [
    [file({ a: f32(0, 8), b: f32(4, 12) }, 12), /"b" overlaps/u],
    [file({ a: f32(0, 8), b: f32(0, 8) }, 8), /"b" overlaps/u],
    [file({ a: f32(0, 8), b: f32(12, 16) }, 16), /"b" leaves a gap/u],
    [file({ a: f32(4, 8) }, 8), /"a" leaves a gap/u],
    [file({ a: f32(0, 8) }, 12), /4 bytes behind the last tensor/u],
    [file({ a: f32(0, 8), b: f32(8, 16) }, 8), /cut short: tensor "b"/u],
    [file({ a: f32(0, 8, [3]) }, 8), /"a": F32 of shape \[3\] needs 12 bytes, its range has 8/u],
    [file({ a: f32(8, 0, [0]) }, 8), /"a": data_offsets \[8,0\]/u],
    [file({ a: { dtype: "F32", shape: [-1], data_offsets: [0, 4] } }, 4), /"a": shape \[-1\]/u],
    [file({ a: { dtype: "F32", shape: [2 ** 30, 2 ** 30], data_offsets: [0, 4] } }, 4), /"a": F32/u],
    [file({ a: { dtype: "F8_E4M3", shape: [1], data_offsets: [0, 1] } }, 1), /"a": element type "F8_E4M3" is unknown/u],
    [file({ a: { dtype: "toString", shape: [1], data_offsets: [0, 1] } }, 1), /element type "toString" is unknown/u],
    [file({ a: 1 }, 0), /"a": its entry/u],
    [file({ __metadata__: { epoch: 3 } }, 0), /"epoch" is no text: 3/u],
    [file([], 0), /no JSON object/u],
    [file("{", 0), /not JSON/u],
    [file("PK\u0003\u0004 a zip file instead", 0, 0x04034b50n << 16n), /no safetensors file/u],
    [join(folder, "missing.safetensors"), /can't be opened/u],
  ];
  for (const [path, message] of refused) {
    assert.throws(
      () => readSafetensors(path),
      (error) => error instanceof ModelFormatError && message.test(error.message),
      String(message),
    );
  }
});

void test("a folder that is not there is told, and data that do not fit the shape are never written", () => {
  const tensor: StoredTensor = { dtype: "F32", shape: [2], data: new Uint8Array(7) };
  assert.throws(() => writeSafetensors(join(folder, "x"), [["a", tensor]]), /"a" has 7 bytes, its shape needs 8/u);
  assert.throws(() => writeSafetensors(join(folder, "nowhere", "x"), []), /there is no folder .*nowhere to write it to/u);
});

void test("a full disk is said so", { skip: process.platform !== "linux" && "needs /dev/full" }, () => {
  const tensor: StoredTensor = { dtype: "U8", shape: [1 << 20], data: new Uint8Array(1 << 20) };
  assert.throws(
    () => writeSafetensors("/dev/full", [["a", tensor]]),
    (error) => LaclipError.is(error) && error.message.includes("the disk is full"),
  );
});
