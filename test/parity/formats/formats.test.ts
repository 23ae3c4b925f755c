/** Files of SciPy, Python and NumPy, made by make-fixtures.py, and the same files damaged. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { deflateSync } from "node:zlib";
import { type MatValue, PickledCall, PickledName, type PickledValue, readMat, readPickle } from "../../../src/formats/index.ts";
import { DataError, Random } from "../../../src/support/index.ts";

const fixture = (name: string): Buffer => readFileSync(new URL(`../../../../test/parity/formats/${name}`, import.meta.url));

const texts = (...list: string[]): MatValue[] => list.map((text) => ({ kind: "text", dims: [1, text.length], text }));
const one = (value: number): MatValue => ({ kind: "numbers", dims: [1, 1], values: Float64Array.of(value) });

describe(".mat files", () => {
  for (const name of ["labels.mat", "labels-compressed.mat"]) {
    test(`${name} holds what SciPy wrote`, () => {
      const found = readMat(fixture(name), name);
      const numbers = (dims: number[], ...values: number[]): MatValue => ({ kind: "numbers", dims, values: Float64Array.from(values) });
      assert.deepEqual(Object.fromEntries(found), {
        class_names: {
          kind: "cells",
          dims: [1, 3],
          cells: texts("AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "smart fortwo Convertible 2012"),
        },
        annotations: {
          kind: "structs",
          dims: [1, 3],
          fields: new Map([
            ["bbox_x1", [one(30), one(31), one(32)]],
            ["class", [one(1), one(2), one(3)]],
            ["fname", texts("00001.jpg", "00002.jpg", "00003.jpg")],
          ]),
        },
        labels: numbers([1, 3], 1, 77, 102),
        trnid: numbers([1, 4], 6765, 6755, 70000, -1),
        // By columns, as MATLAB has them.
        real: numbers([2, 2], 0.5, 3, -2.25, 1e300),
        single: one(0.5),
        long: numbers([1, 2], 2 ** 40, -3),
        text: texts("café")[0],
        nothing: numbers([0, 0]),
      });
    });
  }

  test("other files are refused, and those of MATLAB 7.3 said to be such", () => {
    assert.throws(() => readMat(Buffer.alloc(10), "x.mat"), /x\.mat: not a MATLAB file of version 5/);
    assert.throws(
      () => readMat(Buffer.concat([Buffer.from("\x89HDF\r\n\x1a\n", "latin1"), Buffer.alloc(200)]), "x.mat"),
      /MATLAB 7\.3 file/,
    );
    assert.throws(() => readMat(fixture("labels.mat").subarray(0, 1000), "x.mat"), /x\.mat: the file is cut short/);
  });

  test("a part that unfolds to more than the limit is refused before it has done so", () => {
    const data = deflateSync(Buffer.alloc(50_000_000));
    const head = Buffer.alloc(8);
    head.writeUInt32LE(15);
    head.writeUInt32LE(data.length, 4);
    const bomb = Buffer.concat([fixture("labels.mat").subarray(0, 128), head, data]);
    assert.throws(() => readMat(bomb, "x.mat", { maxBytes: 1e6 }), /unfolds to more bytes/);
  });

  test("a count larger than the file is refused without making room for it", () => {
    const bytes = fixture("labels.mat");
    // The size of the cells: 1 x 3 becomes 1 x 2^31 - 1.
    bytes.writeInt32LE(2 ** 31 - 1, bytes.indexOf(Buffer.from([5, 0, 0, 0, 8, 0, 0, 0])) + 12);
    assert.throws(() => readMat(bytes, "x.mat"), DataError);
  });
});

test("a struct of no fields and endless elements is refused at once", () => {
  const head = fixture("labels.mat").subarray(0, 128);
  const int32 = (...values: number[]): Buffer => Buffer.from(Int32Array.from(values).buffer);
  const fields = [int32(6, 8, 2, 0), int32(5, 8, 2 ** 31 - 1, 2 ** 31 - 1), int32(1, 0), int32(5 | (4 << 16), 32), int32(1, 0)];
  const body = Buffer.concat(fields);
  assert.throws(() => readMat(Buffer.concat([head, int32(14, body.length), body]), "x.mat"), /x\.mat: the file is cut short/);
});

describe("pickles", () => {
  const pixels = Uint8Array.from((JSON.parse(fixture("expected.json").toString()) as { pixels: number[] }).pixels);

  for (const protocol of [2, 3, 4, 5]) {
    test(`protocol ${protocol} holds what Python wrote`, () => {
      const bytes = fixture(`batch-${protocol}.pickle`);
      const batch = readPickle(bytes, "batch") as Map<string, PickledValue>;
      assert.deepEqual([...batch.keys()], ["data", "labels", "filenames", "meta"]);
      assert.deepEqual(batch.get("labels"), [6, 300, 70000, -1, 1_099_511_627_776n]);
      assert.deepEqual(batch.get("filenames"), ["leptodactylus_pentadactylus_s_000004.png", "café.png"]);
      const encoded = protocol === 2 ? new PickledCall("_codecs.encode", ["bytes", "latin1"]) : Buffer.from("bytes");
      assert.deepEqual(batch.get("meta"), ["tuple", null, true, false, 1.5, encoded, new Map([["inner", []]])]);
      const data = batch.get("data");
      if (protocol === 5) return assert.equal(data, null);
      assert.ok(data instanceof PickledCall && Array.isArray(data.state));
      assert.equal(data.name, "numpy._core.multiarray._reconstruct");
      assert.deepEqual(data.args[0], new PickledName("numpy.ndarray"));
      assert.deepEqual(data.state[1], [2, 12]);
      if (protocol === 2) return;
      const inside = data.state[4] as Uint8Array;
      assert.deepEqual(Uint8Array.from(inside), pixels);
      const start = inside.byteOffset - bytes.byteOffset;
      assert.deepEqual(Uint8Array.from(bytes.subarray(start, start + 24)), pixels, "where they lie in the file is known");
    });
  }

  test("a call is told of and never made", () => {
    const evil = Buffer.from("\x80\x02cos\nsystem\nU\x04ls -\x85R.", "latin1");
    assert.deepEqual(readPickle(evil, "x"), new PickledCall("os.system", [Buffer.from("ls -")]));
  });

  test("what is no pickle, cut short, or uses codes that data have no need of is refused", () => {
    assert.throws(() => readPickle(Buffer.from("(dp0\n."), "x"), /x: not a pickle of protocol 2 or later/);
    assert.throws(() => readPickle(fixture("batch-4.pickle").subarray(0, 100), "x"), /x: the pickle is cut short/);
    assert.throws(() => readPickle(Buffer.from("\x80\x02P1\n.", "latin1"), "x"), /x: code 0x50 at byte 2 is none/);
    assert.throws(() => readPickle(Buffer.from("\x80\x02t.", "latin1"), "x"), /x: the pickle is damaged before byte 3/);
  });
});

test("damaged files end in a result or a clear error, never in anything else", () => {
  const readers = { mat: readMat, pickle: readPickle } as const;
  for (const name of ["labels.mat", "labels-compressed.mat", "batch-2.pickle", "batch-3.pickle", "batch-4.pickle", "batch-5.pickle"]) {
    const whole = fixture(name);
    const read = readers[name.split(".")[1] as keyof typeof readers];
    let refused = 0;
    for (let round = 0; round < 1500; round++) {
      const random = Random.of("damage", name, round);
      const bytes = Buffer.from(round % 3 === 0 ? whole.subarray(0, random.integer(whole.length)) : whole);
      for (let n = random.integer(4); n >= 0 && bytes.length > 0; n--) bytes[random.integer(bytes.length)] = random.integer(256);
      try {
        read(bytes, name);
      } catch (error) {
        if (!(error instanceof DataError)) throw new Error(`${name}, round ${round}`, { cause: error });
        refused++;
      }
    }
    assert.ok(refused > 100, `${name}: ${refused}`);
  }
});
