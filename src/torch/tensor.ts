/**
 * The tensor: a handle with the operators that programs use most as methods, and the ways in and out of typed arrays.
 *
 * Methods keep PyTorch's names in camel case; those ending in an underscore change the tensor in place and return it. Every other
 * operator is a function of `operators.generated.ts`.
 */
import { UsageError } from "../support/index.ts";
import { type DType, type TypedArray, checkArray, fromBfloat16, naturalDtype, typedArray } from "./dtype.ts";
import { Handle } from "./handle.ts";
import { guard, native } from "./native.ts";
import { type Scalar, setTensorConstructor } from "./operator.ts";
import * as ops from "./operators.generated.ts";

/** Numbers nested as deep as the tensor has dimensions. */
export type Nested = number | boolean | readonly Nested[];

/** What a new tensor is made of, and where. */
export interface TensorOptions {
  dtype?: DType;
  /** "cpu", "cuda", "cuda:1". Default "cpu". */
  device?: string;
}

/**
 * Numbers of one dtype in a shape, on the CPU or a GPU; lives as long as its scope. What the library refuses is a NativeError, a use after
 * the end a DisposedError.
 */
export class Tensor extends Handle {
  /**
   * A tensor with a copy of an array's elements, in row-major order.
   * The array may be changed afterwards: a GPU fetches its own copy, and nobody waits for that.
   * @param options.dtype default: the array's own (Float32Array float32, BigInt64Array int64, Uint8Array uint8, Uint16Array bfloat16, ...)
   * @param options.ahead a GPU fetches it while it computes what it was given before, instead of after that. Default false
   */
  static from(
    array: TypedArray,
    shape: readonly number[],
    { dtype, device = "cpu", ahead = false }: TensorOptions & { ahead?: boolean } = {},
  ): Tensor {
    const type = dtype ?? naturalDtype(array);
    checkArray(array, type);
    return new Tensor(guard(() => native().fromBytes(array, shape, type, device, ahead)));
  }

  /** Sizes of the dimensions. */
  get shape(): number[] {
    return native().shape(this.handle);
  }

  /** Element type. */
  get dtype(): DType {
    return native().dtype(this.handle) as DType;
  }

  /** "cpu", "cuda:0". */
  get device(): string {
    return native().device(this.handle);
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }

  /** Size of dimension `dim`; negative counts from the end. */
  sizeOf(dim: number): number {
    const { shape } = this;
    const size = shape[dim < 0 ? shape.length + dim : dim];
    if (size === undefined) throw new UsageError(`A tensor of shape [${shape.join(", ")}] has no dimension ${dim}.`);
    return size;
  }

  /** The elements in row-major order, copied: BigInt64Array for int64, raw 16 bits in a Uint16Array for bfloat16 and float16. */
  toTypedArray(): TypedArray {
    return typedArray(
      this.dtype,
      guard(() => native().toBytes(this.handle)),
    );
  }

  /** The elements as float32, whatever the dtype. */
  toFloat32Array(): Float32Array {
    if (this.dtype === "bfloat16") return fromBfloat16(this.toTypedArray() as Uint16Array);
    if (this.dtype === "float32") return this.toTypedArray() as Float32Array;
    const converted = this.to("float32");
    try {
      return converted.toTypedArray() as Float32Array;
    } finally {
      converted.dispose();
    }
  }

  /** The elements as plain numbers; int64 beyond 2^53 loses digits. */
  toArray(): number[] {
    const array = this.toTypedArray();
    return Array.from(array instanceof Uint16Array ? this.toFloat32Array() : array, Number);
  }

  /** The value of a tensor with one element. */
  item(): number {
    return Number(guard(() => native().item(this.handle)));
  }

  /** Overwrites the elements with those of an array of the same number of bytes. */
  copyFrom(array: TypedArray): this {
    checkArray(array, this.dtype);
    guard(() => native().copyBytes(this.handle, array));
    return this;
  }

  // Gradients.

  /** Whether `backward` gives it, or what it came from, a gradient. */
  get requiresGrad(): boolean {
    return native().requiresGrad(this.handle);
  }

  /** Makes a leaf want a gradient, or not; returns itself. */
  setRequiresGrad(on = true): this {
    guard(() => native().setRequiresGrad(this.handle, on));
    return this;
  }

  /** The gradient that `backward` has accumulated in this leaf; undefined when there is none. */
  get grad(): Tensor | undefined {
    const handle = native().gradient(this.handle);
    return handle === undefined ? undefined : new Tensor(handle);
  }

  set grad(gradient: Tensor | undefined) {
    guard(() => native().setGradient(this.handle, gradient?.handle));
  }

  /** Accumulates d(this)/d(leaf) into the `grad` of every leaf; `gradient` is needed when this is not a scalar. */
  backward(gradient?: Tensor): void {
    guard(() => native().backward([this.handle], gradient && [gradient.handle]));
  }

  /** The same memory, cut off from gradients. */
  detach(): Tensor {
    return ops.detach(this);
  }

  // Arithmetic.

  /** This plus `alpha` (default 1) times `other`, element by element; shapes are broadcast. */
  add(other: Tensor | Scalar, alpha?: Scalar): Tensor {
    return other instanceof Tensor ? ops.addTensor(this, other, alpha) : ops.addScalar(this, other, alpha);
  }
  /** Adds `alpha` (default 1) times `other` in place. */
  add_(other: Tensor | Scalar, alpha?: Scalar): Tensor {
    return other instanceof Tensor ? ops.addTensor_(this, other, alpha) : ops.addScalar_(this, other, alpha);
  }
  /** This minus `other`, element by element; shapes are broadcast. */
  sub(other: Tensor | Scalar): Tensor {
    return other instanceof Tensor ? ops.subTensor(this, other) : ops.subScalar(this, other);
  }
  /** Subtracts `other` in place. */
  sub_(other: Tensor | Scalar): Tensor {
    return other instanceof Tensor ? ops.subTensor_(this, other) : ops.subScalar_(this, other);
  }
  /** This times `other`, element by element; shapes are broadcast. */
  mul(other: Tensor | Scalar): Tensor {
    return other instanceof Tensor ? ops.mulTensor(this, other) : ops.mulScalar(this, other);
  }
  /** Multiplies by `other` in place. */
  mul_(other: Tensor | Scalar): Tensor {
    return other instanceof Tensor ? ops.mulTensor_(this, other) : ops.mulScalar_(this, other);
  }
  /** This divided by `other`, element by element; shapes are broadcast. Whole numbers give float32. */
  div(other: Tensor | Scalar): Tensor {
    return other instanceof Tensor ? ops.divTensor(this, other) : ops.divScalar(this, other);
  }
  /** Divides by `other` in place. @throws NativeError for whole numbers */
  div_(other: Tensor | Scalar): Tensor {
    return other instanceof Tensor ? ops.divTensor_(this, other) : ops.divScalar_(this, other);
  }
  /** Every element to the power `exponent`. */
  pow(exponent: Scalar): Tensor {
    return ops.powTensorScalar(this, exponent);
  }
  /** Every element with the other sign. */
  neg(): Tensor {
    return ops.neg(this);
  }
  /** e to the power of every element. */
  exp(): Tensor {
    return ops.exp(this);
  }
  /** Natural logarithm of every element. */
  log(): Tensor {
    return ops.log(this);
  }
  /** Square root of every element; NaN below 0. */
  sqrt(): Tensor {
    return ops.sqrt(this);
  }
  /** Every element without its sign. */
  abs(): Tensor {
    return ops.abs(this);
  }
  /** 1 / (1 + exp(-x)) of every element. */
  sigmoid(): Tensor {
    return ops.sigmoid(this);
  }
  /** Every element held between `min` and `max`; null leaves a side open. */
  clamp(min: Scalar | null, max?: Scalar | null): Tensor {
    return ops.clamp(this, min, max);
  }
  /** Holds every element between `min` and `max` in place. */
  clamp_(min: Scalar | null, max?: Scalar | null): Tensor {
    return ops.clamp_(this, min, max);
  }
  /** Matrix product: `[..., n, k]` with `[..., k, m]` is `[..., n, m]`. */
  matmul(other: Tensor): Tensor {
    return ops.matmul(this, other);
  }

  // Reductions.

  /** Over all elements, or over `dim`. */
  sum(dim?: number | readonly number[], keepdim = false): Tensor {
    return dim === undefined ? ops.sum(this) : ops.sumDimIntList(this, dim, keepdim);
  }
  /** Over all elements, or over `dim`; of floats only. */
  mean(dim?: number | readonly number[], keepdim = false): Tensor {
    return dim === undefined ? ops.mean(this) : ops.meanDim(this, dim, keepdim);
  }
  /** The largest of all elements, as a scalar. */
  max(): Tensor {
    return ops.max(this);
  }
  /** Index (int64) of the largest along `dim`; without one, among all elements in row-major order. */
  argmax(dim?: number, keepdim = false): Tensor {
    return ops.argmax(this, dim ?? null, keepdim);
  }
  /** The `k` largest along `dim`, in falling order. */
  topk(k: number, dim = -1): [values: Tensor, indices: Tensor] {
    return ops.topk(this, k, dim);
  }
  /** Euclidean norm over `dim`. */
  norm(dim: number | readonly number[], keepdim = false): Tensor {
    return ops.normScalarOptDim(this, 2, dim, keepdim);
  }
  /** Exponentials along `dim`, divided by their sum. */
  softmax(dim: number): Tensor {
    return ops.softmaxInt(this, dim);
  }
  /** Logarithm of the softmax along `dim`. */
  logSoftmax(dim: number): Tensor {
    return ops.logSoftmaxInt(this, dim);
  }

  // Shape.

  /** The same memory in another shape; one size may be -1. @throws NativeError where that takes a copy */
  view(...shape: number[]): Tensor {
    return ops.view(this, shape);
  }
  /** As `view`, with a copy where it takes one. */
  reshape(...shape: number[]): Tensor {
    return ops.reshape(this, shape);
  }
  /** Dimensions in another order, as a view. */
  permute(...dims: number[]): Tensor {
    return ops.permute(this, dims);
  }
  /** Two dimensions in each other's place, as a view. */
  transpose(dim0: number, dim1: number): Tensor {
    return ops.transposeInt(this, dim0, dim1);
  }
  /** A matrix with rows and columns in each other's place, as a view. */
  t(): Tensor {
    return ops.t(this);
  }
  /** Itself where its elements lie in row-major order, else a copy in which they do. */
  contiguous(): Tensor {
    return ops.contiguous(this);
  }
  /** Dimensions of size 1 as if repeated, as a view; -1 leaves one as it is. */
  expand(...shape: number[]): Tensor {
    return ops.expand(this, shape);
  }
  /** Without dimension `dim`, if its size is 1; a view. */
  squeeze(dim: number): Tensor {
    return ops.squeezeDim(this, dim);
  }
  /** With a dimension of size 1 at `dim`, as a view. */
  unsqueeze(dim: number): Tensor {
    return ops.unsqueeze(this, dim);
  }
  /** Dimensions `startDim` to `endDim`, the last included, as one. */
  flatten(startDim = 0, endDim = -1): Tensor {
    return ops.flattenUsingInts(this, startDim, endDim);
  }
  /** Elements `start` to `end` (not included) of dimension `dim`, as a view. */
  slice(dim: number, start: number, end?: number): Tensor {
    return ops.sliceTensor(this, dim, start, end ?? null);
  }
  /** Element `index` of dimension `dim`, as a view with one dimension less. */
  select(dim: number, index: number): Tensor {
    return ops.selectInt(this, dim, index);
  }
  /** The rows of dimension `dim` that `index` (int64) names, copied. */
  indexSelect(dim: number, index: Tensor): Tensor {
    return ops.indexSelect(this, dim, index);
  }
  /** The elements of dimension `dim` one by one, as views. */
  unbind(dim = 0): Tensor[] {
    return ops.unbindInt(this, dim);
  }
  /** Parts of `size` along `dim`, as views. */
  split(size: number, dim = 0): Tensor[] {
    return ops.splitTensor(this, size, dim);
  }
  /** bool: where the elements are equal. */
  eq(other: Tensor | Scalar): Tensor {
    return other instanceof Tensor ? ops.eqTensor(this, other) : ops.eqScalar(this, other);
  }

  // Kind and place.

  /**
   * Moves this tensor itself, one that no other was computed from, to a device; its gradient is dropped. Whoever holds it uses it there
   * from now on.
   * @throws NativeError for a tensor that was computed from others with gradients
   */
  moveTo(device: string): this {
    guard(() => native().moveTensor(this.handle, device));
    return this;
  }

  /** Converts dtype and/or device; the same memory under a new handle when nothing changes. */
  to(target: DType | { dtype?: DType; device?: string }): Tensor {
    const { dtype, device } = typeof target === "string" ? { dtype: target, device: undefined } : target;
    if (device !== undefined) return ops.toDevice(this, device, dtype ?? this.dtype);
    return ops.toDtype(this, dtype ?? this.dtype);
  }
  /** A copy in memory of its own; gradients flow through it. */
  clone(): Tensor {
    return ops.clone(this);
  }
  /** Overwrites the elements with those of `source`, converting dtype and device. */
  copy_(source: Tensor): Tensor {
    return ops.copy_(this, source);
  }
  /** Overwrites every element with `value`. */
  fill_(value: Scalar): Tensor {
    return ops.fillScalar_(this, value);
  }
  /** Overwrites every element with 0. */
  zero_(): Tensor {
    return ops.zero_(this);
  }
}

setTensorConstructor((handle) => new Tensor(handle));

/** A tensor from numbers: `tensor([[1, 2], [3, 4]])` is float32 [2, 2]. @throws UsageError when rows differ in length */
export function tensor(values: Nested, options: TensorOptions = {}): Tensor {
  const shape: number[] = [];
  for (let level: Nested = values; Array.isArray(level); level = level[0] as Nested) shape.push(level.length);
  const flat: number[] = [];
  flatten(values, shape, flat);
  const { dtype = "float32", device = "cpu" } = options;
  const source = Tensor.from(Float64Array.from(flat), shape, { device });
  try {
    return source.to(dtype);
  } finally {
    source.dispose();
  }
}

/** Appends the numbers of `values` to `flat` when they are nested as `shape` says. */
function flatten(values: Nested, [length, ...rest]: readonly number[], flat: number[]): void {
  const list = Array.isArray(values) ? (values as readonly Nested[]) : undefined;
  if (list?.length !== length) {
    throw new UsageError("tensor(): the rows are not all of the same length, or not nested equally deep.");
  }
  if (list === undefined) flat.push(Number(values));
  else for (const inner of list) flatten(inner, rest, flat);
}

/** All zeros. Default float32 on the CPU. */
export function zeros(shape: readonly number[], { dtype = "float32", device = "cpu" }: TensorOptions = {}): Tensor {
  return ops.zeros(shape, dtype, null, device);
}

/** All ones. */
export function ones(shape: readonly number[], { dtype = "float32", device = "cpu" }: TensorOptions = {}): Tensor {
  return ops.ones(shape, dtype, null, device);
}

/** All `value`. */
export function full(shape: readonly number[], value: Scalar, { dtype = "float32", device = "cpu" }: TensorOptions = {}): Tensor {
  return ops.full(shape, value, dtype, null, device);
}

/** Uninitialised memory. */
export function empty(shape: readonly number[], { dtype = "float32", device = "cpu" }: TensorOptions = {}): Tensor {
  return ops.emptyMemoryFormat(shape, dtype, null, device);
}

/** Standard normal numbers from the library's generator (`manualSeed`). */
export function randn(shape: readonly number[], { dtype = "float32", device = "cpu" }: TensorOptions = {}): Tensor {
  return ops.randn(shape, dtype, null, device);
}

/** `start`, `start + 1`, ... below `end`. Default int64. */
export function arange(start: number, end: number, { dtype = "int64", device = "cpu" }: TensorOptions = {}): Tensor {
  return ops.arangeStart(start, end, dtype, null, device);
}

/** Joins along an existing dimension. */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  return ops.cat(tensors, dim);
}

/** Joins along a new dimension. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return ops.stack(tensors, dim);
}
