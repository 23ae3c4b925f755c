import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DataError, replaceFileSync } from "../support/index.ts";
import { type NpyArray, readNpy, writeNpy } from "./npy.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-npy-"));
after(() => rmSync(folder, { recursive: true }));

/** A file with this header, as NumPy or another program may have written it. */
function file(header: string, data: Uint8Array, version = 1): string {
  const path = join(folder, `given-${Math.random()}.npy`);
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  if (version === 1) length.writeUInt16LE(header.length);
  else length.writeUInt32LE(header.length);
  writeFileSync(path, Buffer.concat([Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]), length, Buffer.from(header), data]));
  return path;
}

void test("arrays of all types and shapes come back", () => {
  const arrays: NpyArray[] = [
    { dtype: "float32", shape: [2, 3], data: Float32Array.of(1, -2, 3.5, Number.NaN, 1e-40, 0) },
    { dtype: "float64", shape: [1], data: Float64Array.of(Math.PI) },
    { dtype: "int32", shape: [], data: Int32Array.of(-(2 ** 31)) },
    { dtype: "int64", shape: [2, 1, 1], data: BigInt64Array.of(-(2n ** 63n), 2n ** 53n + 1n) },
    { dtype: "uint8", shape: [0, 4], data: new Uint8Array() },
    { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) },
  ];
  for (const array of arrays) {
    const path = join(folder, `${array.dtype}.npy`);
    writeNpy(path, array);
    assert.deepEqual(readNpy(path), array);
    const raw = readFileSync(path);
    assert.equal((10 + raw.readUInt16LE(8)) % 64, 0);
  }
});

void test("the bytes are those that NumPy writes", () => {
  const path = join(folder, "numpy.npy");
  writeNpy(path, { dtype: "float32", shape: [1, 2], data: Float32Array.of(1, 2) });
  const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }".padEnd(117);
  const expected = Buffer.concat([
    Buffer.from("\u0093NUMPY\u0001\u0000v\u0000", "latin1"),
    Buffer.from(`${header}\n`),
    Buffer.from("0000803f00000040", "hex"),
  ]);
  assert.deepEqual(readFileSync(path), expected);
});

void test("column-major arrays are turned round, and data at odd offsets are read", () => {
  const transposed = file("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n", Uint8Array.of(1, 4, 2, 5, 3, 6));
  assert.deepEqual([...readNpy(transposed).data], [1, 2, 3, 4, 5, 6]);
  const deep = file("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2, 2), }", Uint8Array.of(0, 4, 2, 6, 1, 5, 3, 7));
  assert.deepEqual([...readNpy(deep).data], [0, 1, 2, 3, 4, 5, 6, 7]);
  for (const version of [1, 2, 3]) {
    for (const blanks of ["", " ", "  ", "   "]) {
      const odd = file(
        `{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }${blanks}`,
        Uint8Array.of(1, 0, 0, 0, 255, 255, 255, 255),
        version,
      );
      assert.deepEqual([...readNpy(odd).data], [1, -1]);
    }
  }
});

void test("Python objects and everything else that is no plain array is refused", () => {
  const refused: [string, RegExp][] = [
    [file("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", Buffer.from("\u0080\u0004.")), /array of Python objects/u],
    [file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", new Uint8Array(4)), /array of records/u],
    [file("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", new Uint8Array(4)), /element type ">f4"/u],
    [file("{'descr': '<f2', 'fortran_order': False, 'shape': (1,), }", new Uint8Array(2)), /element type "<f2"/u],
    [file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", new Uint8Array(4)), /needs 8 bytes, the file has 4/u],
    [file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", new Uint8Array(5)), /needs 4 bytes, the file has 5/u],
    [file("{'descr': '<f4', 'shape': (1,), }", new Uint8Array(4)), /can't be understood/u],
    [file("{}", new Uint8Array(8), 4), /version 4.0/u],
    [join(folder, "missing.npy"), /no such file/u],
  ];
  const cut = join(folder, "cut.npy");
  writeNpy(cut, { dtype: "uint8", shape: [1], data: Uint8Array.of(1) });
  truncateSync(cut, 100);
  refused.push([cut, /cut short in its header/u]);
  const other = join(folder, "other.npy");
  writeFileSync(other, "sample,caption\n1,a dog\n");
  refused.push([other, /no .npy file/u]);
  for (const [path, message] of refused) {
    assert.throws(
      () => readNpy(path),
      (error) => error instanceof DataError && message.test(error.message) && error.message.includes(path),
      String(message),
    );
  }
});

void test("data that do not fit the shape are never written", () => {
  assert.throws(
    () => writeNpy(join(folder, "x"), { dtype: "float32", shape: [3], data: Float32Array.of(1) }),
    /shape \[3\] given as 1 elements/u,
  );
  assert.throws(() => writeNpy(join(folder, "x"), { dtype: "float32", shape: [1], data: Float64Array.of(1) }), /float32 of shape/u);
});

void test("a full disk is told of the file that is replaced", { skip: !existsSync("/dev/full") && "needs /dev/full" }, () => {
  const path = join(folder, "full.npy");
  const write = (beside: string): void => {
    symlinkSync("/dev/full", beside);
    writeNpy(beside, { dtype: "float32", shape: [1], data: Float32Array.of(1) });
  };
  assert.throws(() => replaceFileSync(path, write), /full\.npy: the disk is full/u);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith("full")),
    [],
  );
});
