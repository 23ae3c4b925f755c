/** One boxed call to every operator: how arguments are read, what comes back, and what errors say. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { scope } from "./handle.ts";
import { native } from "./native.ts";
import { hasOperator, operator } from "./operator.ts";
import * as ops from "./operators.generated.ts";
import { memoryInfo } from "./runtime.ts";
import { Tensor, arange, cat, full, ones, randn, tensor, zeros } from "./tensor.ts";

const refused =
  (...words: (string | RegExp)[]) =>
  (error: Error) => {
    assert.equal(error.name, "NativeError");
    for (const word of words)
      assert.ok(typeof word === "string" ? error.message.includes(word) : word.test(error.message), `${word} is not in: ${error.message}`);
    return true;
  };
/** What TypeScript would refuse, handed in all the same. */
const wrongly = (value: unknown) => value as never;

describe("numbers as scalars", () => {
  test("a whole number leaves an integer tensor integer; a fraction makes it float", () => {
    scope(() => {
      const whole = tensor([1, 2], { dtype: "int64" });
      assert.deepEqual([whole.mul(2).dtype, whole.mul(2).toArray()], ["int64", [2, 4]]);
      assert.deepEqual([whole.mul(0.5).dtype, whole.mul(0.5).toArray()], ["float32", [0.5, 1]]);
      assert.deepEqual([whole.add(3, 2).dtype, whole.add(3, 2).toArray()], ["int64", [7, 8]]);
      assert.deepEqual(whole.div(2).toArray(), [0.5, 1]);
    });
  });

  test("a whole number where the operator makes floats", () => {
    scope(() => {
      assert.deepEqual([full([2], 3).dtype, full([2], 3).toArray()], ["float32", [3, 3]]);
      assert.deepEqual(full([1], 3, { dtype: "bfloat16" }).toArray(), [3]);
      assert.deepEqual(ops.full([1], 3).dtype, "int64");
      const x = tensor([0.5]);
      assert.deepEqual([x.add(1).dtype, x.add(1).toArray()], ["float32", [1.5]]);
      assert.deepEqual(x.pow(2).toArray(), [0.25]);
      assert.deepEqual(x.clamp(1, 2).toArray(), [1]);
      assert.deepEqual(x.clamp(null, 0).toArray(), [0]);
    });
  });

  test("booleans, bigints, infinities and not-a-number", () => {
    scope(() => {
      assert.equal(ops.full([1], true).dtype, "bool");
      assert.deepEqual(ops.full([1], 9007199254740993n).toTypedArray(), BigInt64Array.of(9007199254740993n));
      assert.throws(() => ops.full([1], 2n ** 63n), refused("64 bits"));
      assert.deepEqual(full([1], -Infinity).toArray(), [-Infinity]);
      assert.ok(Number.isNaN(full([1], NaN).item()));
      assert.deepEqual(tensor([1, 2]).eq(2).toArray(), [0, 1]);
      assert.deepEqual(tensor([1, 0], { dtype: "bool" }).eq(true).toArray(), [1, 0]);
    });
  });
});

describe("lists, defaults and None", () => {
  test("lists of numbers, of tensors, and one number for all of a list of fixed length", () => {
    scope(() => {
      const image = arange(0, 32, { dtype: "float32" }).view(1, 2, 4, 4);
      const kernel = ones([1, 2, 2, 2]);
      const one = ops.conv2d(image, kernel, null, 2, 1);
      const list = ops.conv2d(image, kernel, null, [2, 2], [1, 1]);
      assert.deepEqual(one.shape, [1, 1, 3, 3]);
      assert.deepEqual(one.toArray(), list.toArray());
      assert.deepEqual(ops.conv2d(image, kernel, null, [1, 2]).shape, [1, 1, 3, 2]);
      assert.deepEqual(image.sum([1, 2]).toArray(), [112, 120, 128, 136]);
      assert.deepEqual(cat([ones([1]), zeros([2])]).toArray(), [1, 0, 0]);
      assert.throws(() => ops.permute(image, wrongly(1)), refused("aten::permute", "'dims'", "int[]", "the number 1"));
      assert.throws(() => ops.permute(image, wrongly([0, 0.5])), refused("aten::permute", "'dims'", "0.5"));
      assert.throws(() => cat(wrongly([ones([1]), "x"])), refused("aten::cat", "'tensors'", "Tensor[]", 'the string "x"'));
      const scales = operator<(x: Tensor, size: null, factors: unknown) => Tensor>("aten::upsample_nearest2d", "vec", "tensor");
      assert.deepEqual(scales(image, null, [2, 2]).shape, [1, 2, 8, 8]);
      assert.throws(() => scales(image, null, [2, "2"]), refused("aten::upsample_nearest2d.vec", "'scale_factors'", 'the string "2"'));
    });
  });

  test("optional tensors in a list: null leaves a dimension alone", () => {
    scope(() => {
      const table = arange(0, 6).view(2, 3);
      const columns = tensor([2, 0], { dtype: "int64" });
      assert.deepEqual(ops.indexTensor(table, [null, columns]).toArray(), [2, 0, 5, 3]);
    });
  });

  test("undefined is the default of the schema, null is None and refused where there is none", () => {
    scope(() => {
      const x = tensor([[1, 2]]);
      assert.deepEqual(ops.conv2d(ones([1, 1, 2, 2]), ones([1, 1, 2, 2]), undefined, undefined).shape, [1, 1, 1, 1]);
      assert.deepEqual(ops.sumDimIntList(x, [1], undefined, undefined).toArray(), [3]);
      assert.deepEqual(ops.sumDimIntList(x, null, undefined, "float64").dtype, "float64");
      assert.throws(() => ops.sumDimIntList(x, [1], wrongly(null)), refused("aten::sum.dim_IntList", "'keepdim'", "bool", "got null"));
      assert.throws(() => ops.addTensor(wrongly(null), x), refused("aten::add.Tensor", "'self'", "Tensor", "null"));
    });
  });

  test("element types and formats are names, and no other integer argument takes a name", () => {
    scope(() => {
      const x = randn([3]);
      assert.equal(ops.toDtype(x, "float64").dtype, "float64");
      assert.throws(() => ops.toDtype(x, wrongly("float31")), refused("aten::to.dtype", "'dtype'", "float31"));
      assert.throws(() => ops.topk(x, wrongly("float32")), refused("aten::topk", "'k'", "int", 'the string "float32"'));
      assert.throws(() => ops.zeros(wrongly(["uint8"])), refused("aten::zeros", "'size'"));
      assert.throws(() => zeros([1], { device: "toaster" }), refused("aten::zeros", "'device'", "toaster"));
    });
  });
});

describe("results", () => {
  test("several results, lists of results and plain values", () => {
    scope(() => {
      const x = tensor([
        [3, 1, 2],
        [4, 6, 5],
      ]);
      const [values, indices] = x.topk(2);
      assert.deepEqual([values.toArray(), indices.dtype, indices.toArray()], [[3, 2, 6, 5], "int64", [0, 2, 1, 2]]);
      const [largest, where] = ops.maxDim(x, 1);
      assert.deepEqual(
        [largest.toArray(), where.toArray()],
        [
          [3, 6],
          [0, 1],
        ],
      );
      assert.deepEqual(
        x.split(2, 1).map((part) => part.shape),
        [
          [2, 2],
          [2, 1],
        ],
      );
      assert.equal(x.unbind(1).length, 3);
      assert.equal(ops.isFloatingPoint(x), true);
      assert.equal(ops.equal(x, x), true);
      assert.equal(ops.equal(x, x.add(1)), false);
    });
  });

  test("an in-place operator returns the same object and makes no handle", () => {
    scope(() => {
      const x = tensor([1, 2]);
      const y = tensor([3, 4]);
      const before = memoryInfo().live;
      assert.equal(x.add_(1), x);
      assert.equal(x.mul_(y), x);
      assert.equal(x.sub_(y).div_(2), x);
      assert.equal(x.clamp_(0, 3).copy_(y).fill_(2).zero_(), x);
      assert.equal(memoryInfo().live, before);
      assert.deepEqual(x.toArray(), [0, 0]);
    });
  });
});

describe("errors name operator, argument, expected and got", () => {
  test("shapes that do not fit: libtorch's reason and the shapes of all tensors, lists included", () => {
    scope(() => {
      assert.throws(
        () => randn([2, 3]).matmul(randn([4, 5])),
        refused("aten::matmul", "float32[2, 3]", "float32[4, 5]", "shapes cannot be multiplied"),
      );
      assert.throws(() => cat([zeros([2, 2]), zeros([3, 3], { dtype: "int64" })]), refused("aten::cat", "float32[2, 2]", "int64[3, 3]"));
      assert.throws(() => randn([6]).view(4, 2), refused("aten::view", "float32[6]"));
    });
  });

  test("missing, surplus and mistaken arguments", () => {
    scope(() => {
      const x = ones([2]);
      const add = operator<(...args: unknown[]) => Tensor>("aten::add", "Tensor", "tensor");
      assert.throws(() => add(x), refused("aten::add.Tensor", "argument 'other' (Tensor) is missing"));
      assert.throws(() => add(), refused("argument 'self' (Tensor) is missing"));
      assert.throws(() => add(x, x, 1, 1), refused("aten::add.Tensor", "takes 3 arguments, got 4"));
      assert.throws(() => add(...Array.from({ length: 40 }, () => x)), refused("a call takes at most 32 arguments, got 41"));
      assert.throws(() => add(x, "two"), refused("'other'", "expected Tensor", 'got the string "two"'));
      assert.throws(() => add(x, {}), refused("'other'", "got an object"));
      assert.throws(() => add(x, [x]), refused("'other'", "got an array"));
      assert.throws(() => add(x, 3), refused("'other'", "expected Tensor"));
      assert.throws(() => add(x, x, "1"), refused("'alpha'", "expected ", 'the string "1"'));
      assert.throws(() => ops.transposeInt(x, 0.5, 1), refused("aten::transpose.int", "'dim0'", "int", "0.5"));
      assert.throws(() => ops.transposeInt(x, NaN, 1), refused("'dim0'"));
      assert.throws(() => ops.transposeInt(x, 1e300, 1), refused("'dim0'"));
      assert.throws(() => ops.dropout(x, wrongly("0.1"), true), refused("aten::dropout", "'p'", "float", 'the string "0.1"'));
      assert.throws(() => ops.dropout(x, 0.1, wrongly(1)), refused("aten::dropout", "'train'", "bool", "the number 1"));
    });
  });

  test("an index out of range and an operator that this libtorch has not", () => {
    scope(() => {
      assert.throws(() => ones([2]).select(0, 2), refused("aten::select.int", "out of range"));
      assert.throws(() => ops.embedding(ones([3, 2]), tensor([5], { dtype: "int64" })), refused("aten::embedding", "out of range"));
      const none = operator<() => Tensor>("aten::no_such_thing", "", "tensor");
      assert.throws(() => none(), refused("this libtorch has no operator aten::no_such_thing"));
      assert.equal(hasOperator("aten::no_such_thing"), false);
      assert.equal(hasOperator("aten::add", "Tensor"), true);
      assert.equal(hasOperator("aten::add", "Tonsor"), false);
    });
  });

  test("a failed call leaves no tensor behind", () => {
    scope(() => {
      const x = ones([2, 3]);
      const before = memoryInfo().live;
      assert.throws(() => x.matmul(x));
      assert.equal(memoryInfo().live, before);
    });
  });

  test("operator numbers that were made up are refused", () => {
    for (const number of [1e9, -1, NaN, 0.5, Infinity, "add"])
      assert.throws(() => native().call(wrongly(number)), /LACLIP|operator number|number/);
  });
});
