/** Tensors and typed arrays: what goes in comes out, bit by bit, and what does not fit is refused with a reason. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { UsageError } from "../support/index.ts";
import type { DType, TypedArray } from "./dtype.ts";
import { memoryInfo } from "./runtime.ts";
import { scope } from "./handle.ts";
import { Tensor, arange, cat, empty, full, ones, stack, tensor, zeros } from "./tensor.ts";
import * as ops from "./operators.generated.ts";

const native = (words: RegExp) => ({ name: "NativeError", message: words });

describe("typed arrays in and out", () => {
  const examples: [DType, TypedArray][] = [
    ["float32", Float32Array.of(0, -0, 1.5, -3.25e38, Infinity, 1e-45)],
    ["float64", Float64Array.of(0, -0, 0.1, -1.7e308, -Infinity, 5e-324)],
    ["int64", BigInt64Array.of(0n, -1n, 9007199254740993n, 2n ** 63n - 1n, -(2n ** 63n), 7n)],
    ["int32", Int32Array.of(0, -1, 2147483647, -2147483648, 5, 6)],
    ["int16", Int16Array.of(0, -1, 32767, -32768, 5, 6)],
    ["int8", Int8Array.of(0, -1, 127, -128, 5, 6)],
    ["uint8", Uint8Array.of(0, 1, 127, 128, 254, 255)],
    ["bool", Uint8Array.of(0, 1, 1, 0, 1, 0)],
    ["float16", Uint16Array.of(0x0000, 0x8000, 0x3c00, 0xfbff, 0x7c00, 0x0001)],
    ["bfloat16", Uint16Array.of(0x0000, 0x8000, 0x3f80, 0xff7f, 0x7f80, 0x0001)],
  ];

  for (const [dtype, array] of examples) {
    test(`${dtype}: every bit survives, also from the middle of a buffer and through a transposed copy`, () => {
      scope(() => {
        const made = Tensor.from(array, [2, 3], { dtype });
        assert.equal(made.dtype, dtype);
        assert.deepEqual(made.shape, [2, 3]);
        assert.equal(made.size, 6);
        assert.equal(made.device, "cpu");
        const back = made.toTypedArray();
        assert.equal(back.constructor, array.constructor);
        assert.deepEqual(Buffer.from(back.buffer), Buffer.from(array.buffer));

        const part = array.subarray(1, 5);
        assert.deepEqual(Tensor.from(part, [4], { dtype }).toTypedArray(), part.slice());
        const turned = made.transpose(0, 1).toTypedArray();
        assert.deepEqual(
          Array.from(turned, String),
          [0, 3, 1, 4, 2, 5].map((i) => String(array[i])),
        );
      });
    });
  }

  test("the array's own element type is the default, and a Buffer is bytes", () => {
    scope(() => {
      assert.equal(Tensor.from(Float32Array.of(1), [1]).dtype, "float32");
      assert.equal(Tensor.from(BigInt64Array.of(1n), [1]).dtype, "int64");
      assert.equal(Tensor.from(Uint8Array.of(1), [1]).dtype, "uint8");
      assert.equal(Tensor.from(Uint16Array.of(1), [1]).dtype, "bfloat16");
      assert.deepEqual(Tensor.from(Buffer.from([7, 8]), [2]).toArray(), [7, 8]);
    });
  });

  test("a tensor has its own copy: the array may change afterwards, and so may what came out", () => {
    scope(() => {
      const array = Float32Array.of(1, 2);
      const made = Tensor.from(array, [2]);
      array.fill(9);
      (made.toTypedArray() as Float32Array).fill(8);
      assert.deepEqual(made.toArray(), [1, 2]);
    });
  });

  test("scalars and empty tensors", () => {
    scope(() => {
      assert.deepEqual(Tensor.from(Float32Array.of(2.5), []).shape, []);
      assert.equal(Tensor.from(Float32Array.of(2.5), []).item(), 2.5);
      assert.equal(Tensor.from(Float32Array.of(2.5), []).size, 1);
      const nothing = Tensor.from(new Float32Array(0), [0, 3]);
      assert.deepEqual([nothing.shape, nothing.size, nothing.toArray()], [[0, 3], 0, []]);
      assert.deepEqual(nothing.copyFrom(new Float32Array(0)).toArray(), []);
    });
  });

  test("float16 and bfloat16 read as float32 and as plain numbers", () => {
    scope(() => {
      const half = Tensor.from(Uint16Array.of(0x3c00, 0xc100), [2], { dtype: "float16" });
      assert.deepEqual([...half.toFloat32Array()], [1, -2.5]);
      assert.deepEqual(half.toArray(), [1, -2.5]);
      const brain = Tensor.from(Uint16Array.of(0x3f80, 0xc020), [2]);
      assert.deepEqual([...brain.toFloat32Array()], [1, -2.5]);
      assert.deepEqual(brain.toArray(), [1, -2.5]);
    });
  });

  test("copyFrom overwrites in place, also through a view and on a leaf that wants a gradient", () => {
    scope(() => {
      const base = zeros([2, 2]);
      base.select(1, 1).copyFrom(Float32Array.of(5, 6));
      assert.deepEqual(base.toArray(), [0, 5, 0, 6]);
      const leaf = zeros([2]).setRequiresGrad();
      assert.deepEqual(leaf.copyFrom(Float32Array.of(1, 2)).toArray(), [1, 2]);
      assert.equal(leaf.requiresGrad, true);
    });
  });

  test("an array of another kind is refused with both kinds named", () => {
    const refused = { name: "UsageError", message: /int64 tensor is made from a BigInt64Array, got a Float32Array/ };
    assert.throws(() => Tensor.from(Float32Array.of(1), [1], { dtype: "int64" }), refused);
    assert.throws(() => zeros([1], { dtype: "int64" }).copyFrom(Float32Array.of(1)), refused);
    assert.throws(() => Tensor.from(new Uint32Array(2) as unknown as Int32Array, [2]), { name: "UsageError", message: /Uint32Array/ });
    assert.throws(() => Tensor.from([1, 2] as unknown as Int32Array, [2]), UsageError);
  });

  test("a wrong number of bytes is refused with both numbers", () => {
    assert.throws(() => Tensor.from(Float32Array.of(1, 2, 3), [2]), native(/has 8 bytes, the array has 12/));
    assert.throws(() => Tensor.from(Float32Array.of(1, 2, 3), [2, 2]), native(/has 16 bytes, the array has 12/));
    scope(() => assert.throws(() => zeros([2]).copyFrom(Float32Array.of(1)), native(/has 8 bytes, the array has 4/)));
  });

  test("shapes that are none are refused", () => {
    const array = Float32Array.of(1, 2);
    assert.throws(() => Tensor.from(array, [-2]), native(/no negative sizes/));
    assert.throws(() => Tensor.from(array, [1.5]), native(/whole number, got 1.5/));
    assert.throws(() => Tensor.from(array, [NaN]), native(/whole number/));
    assert.throws(() => Tensor.from(array, [Infinity]), native(/whole number/));
    assert.throws(() => Tensor.from(array, [1e300]), native(/whole number/));
    assert.throws(() => Tensor.from(array, ["2"] as unknown as number[]), native(/expected a number, got the string "2"/));
    assert.throws(() => Tensor.from(array, 2 as unknown as number[]), native(/expected an array of numbers/));
    assert.throws(() => Tensor.from(array, [2], { dtype: "float31" as DType }), { name: "UsageError", message: /float31/ });
    assert.throws(() => Tensor.from(array, [2], { device: "toaster" }), native(/toaster/));
  });

  test("element types that JavaScript has no array for can be made, but not read", () => {
    scope(() => {
      const complex = ops.complex(ones([2]), zeros([2]));
      assert.throws(() => complex.toTypedArray(), { name: "UsageError", message: /ComplexFloat/ });
      assert.deepEqual(ops.abs(complex).toArray(), [1, 1]);
    });
  });
});

describe("tensors from numbers", () => {
  test("nesting gives the shape", () => {
    scope(() => {
      const made = tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]);
      assert.deepEqual([made.dtype, made.shape, made.toArray()], ["float32", [2, 3], [1, 2, 3, 4, 5, 6]]);
      assert.deepEqual(tensor(4).shape, []);
      assert.deepEqual(tensor([]).shape, [0]);
      assert.deepEqual(tensor([true, false], { dtype: "bool" }).toTypedArray(), Uint8Array.of(1, 0));
      assert.deepEqual(tensor([1, -2], { dtype: "int64" }).toTypedArray(), BigInt64Array.of(1n, -2n));
      assert.deepEqual(tensor([1.5], { dtype: "bfloat16" }).toTypedArray(), Uint16Array.of(0x3fc0));
    });
  });

  test("one tensor is left alive, whatever the dtype", () => {
    scope(() => {
      for (const dtype of ["float32", "float64", "int64"] as const) {
        const before = memoryInfo().live;
        tensor([1, 2, 3], { dtype });
        assert.equal(memoryInfo().live, before + 1, dtype);
      }
    });
  });

  test("rows of different lengths are refused, also where the number of elements fits by chance", () => {
    assert.throws(() => tensor([[1, 2], [3]]), { name: "UsageError", message: /same length|lengths/ });
    assert.throws(() => tensor([[1, 2], [3], [4, 5, 6]]), { name: "UsageError", message: /same length|lengths/ });
    assert.throws(() => tensor([1, [2]]), { name: "UsageError" });
  });

  test("zeros, ones, full, empty, arange, cat, stack, slices", () => {
    scope(() => {
      assert.deepEqual(zeros([2]).toArray(), [0, 0]);
      assert.deepEqual(ones([2], { dtype: "int64" }).toTypedArray(), BigInt64Array.of(1n, 1n));
      assert.deepEqual(full([2], 3).dtype, "float32");
      assert.deepEqual(empty([2, 3], { dtype: "uint8" }).shape, [2, 3]);
      const numbers = arange(2, 6);
      assert.deepEqual([numbers.dtype, numbers.toArray()], ["int64", [2, 3, 4, 5]]);
      const table = cat([numbers.view(1, 4), numbers.view(1, 4).add(10)], 0);
      assert.deepEqual(table.toArray(), [2, 3, 4, 5, 12, 13, 14, 15]);
      assert.deepEqual(stack([numbers, numbers], 1).shape, [4, 2]);
      assert.deepEqual(table.slice(1, 1, 3).toArray(), [3, 4, 13, 14]);
      assert.deepEqual(table.select(0, 1).toArray(), [12, 13, 14, 15]);
      assert.deepEqual(table.indexSelect(1, tensor([3, 0], { dtype: "int64" })).toArray(), [5, 2, 15, 12]);
      assert.deepEqual([table.sizeOf(0), table.sizeOf(-1)], [2, 4]);
      assert.throws(() => table.sizeOf(2), { name: "UsageError", message: /dimension 2/ });
    });
  });

  test("item() wants one element", () => {
    scope(() => {
      assert.equal(tensor([[7]]).item(), 7);
      assert.equal(tensor(1, { dtype: "bool" }).item(), 1);
      assert.throws(() => tensor([1, 2]).item(), native(/one element, this one has 2/));
    });
  });
});
