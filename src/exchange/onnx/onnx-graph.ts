/**
 * A graph of ONNX operators and the file of it: a ModelProto, by the field numbers of onnx.proto (github.com/onnx/onnx, IR version 8).
 *
 * Operator set 17, of 2022: the first with LayerNormalization, and known to every runtime that people have; nothing later is needed. GELU, an
 * operator since 20 only, is written out, in a pattern that onnxruntime makes one operator of when it loads the file.
 */
import { type StoredTensor, elementBytes } from "../../formats/index.ts";
import { invariant } from "../../support/index.ts";
import { Message } from "./protobuf.ts";

const operatorSet = 17;
/** Of the file's form: the one that belongs to operator set 17. */
const irVersion = 8;

/** Numbers that ONNX has for element types. */
const elementTypes = { F32: 1, I64: 7 } as const;
type ElementType = keyof typeof elementTypes;

/** Numbers that ONNX has for kinds of attributes. */
const attributeKinds = { float: 1, int: 2, ints: 7 } as const;

/** An attribute of an operator. A whole number is one of ONNX's ints, so that a float is marked. */
export type Attribute = number | readonly number[] | { readonly float: number };

/** Sizes of the dimensions of what goes in and out; a name stands for any size, the same everywhere. */
export type Dimensions = readonly (number | string)[];

/** A value in the graph, by its name. */
export type Value = string;

/** Operators in the order of their computation. */
export class OnnxGraph {
  readonly #nodes: Message[] = [];
  readonly #constants = new Map<string, Message>();
  readonly #inputs: Message[] = [];
  readonly #outputs: Message[] = [];
  /** How many values of an operator there are, for their names. */
  readonly #values = new Map<string, number>();

  /** Something that the graph is given. */
  input(name: string, type: ElementType, dimensions: Dimensions): Value {
    this.#inputs.push(valueInfo(name, type, dimensions));
    return name;
  }

  /** Gives out a float32 value under a name. */
  output(name: string, value: Value, dimensions: Dimensions): void {
    this.#node("Identity", [value], {}, [name]);
    this.#outputs.push(valueInfo(name, "F32", dimensions));
  }

  /** What an operator makes of values. */
  compute(operator: string, inputs: readonly Value[], attributes: Record<string, Attribute> = {}): Value {
    return this.computeMany(operator, inputs, attributes, 1)[0]!;
  }

  /** The same, of an operator with several results. */
  computeMany(operator: string, inputs: readonly Value[], attributes: Record<string, Attribute>, results: number): Value[] {
    const names = Array.from({ length: results }, () => this.#newName(operator));
    this.#node(operator, inputs, attributes, names);
    return names;
  }

  /**
   * A tensor that belongs to the model; the second time under the same name it is the first one.
   * @param change makes another tensor of as many elements of it, when the file is written
   */
  weight(name: string, tensor: StoredTensor, change?: { shape: number[]; make: (tensor: StoredTensor) => StoredTensor }): Value {
    if (!this.#constants.has(name)) {
      invariant(tensor.dtype === "F32" || tensor.dtype === "I64", `weight ${name} in ${tensor.dtype}`);
      const { byteLength } = tensor.data;
      const data = change ? { byteLength, make: () => change.make(tensor).data } : tensor.data;
      const message = new Message();
      for (const size of change?.shape ?? tensor.shape) message.number(1, size);
      this.#constants.set(name, message.number(2, elementTypes[tensor.dtype]).bytes(8, name).bytes(9, data));
    }
    return name;
  }

  /** Whole numbers, as operators take sizes and axes: a list `[n]`. */
  ints(...values: number[]): Value {
    const data = new Uint8Array(new BigInt64Array(values.map(BigInt)).buffer);
    return this.weight(`ints_${values.join("_")}`, { dtype: "I64", shape: [values.length], data });
  }

  /** A number, as a scalar. */
  float(value: number): Value {
    return this.weight(`float_${value}`, { dtype: "F32", shape: [], data: new Uint8Array(Float32Array.of(value).buffer) });
  }

  /** The whole file. @param version of this program */
  model(version: string | undefined): Message {
    const graph = new Message();
    for (const node of this.#nodes) graph.bytes(1, node);
    graph.bytes(2, "clip");
    for (const constant of this.#constants.values()) graph.bytes(5, constant);
    for (const input of this.#inputs) graph.bytes(11, input);
    for (const output of this.#outputs) graph.bytes(12, output);
    const model = new Message().number(1, irVersion).bytes(2, "laclip");
    if (version !== undefined) model.bytes(3, version);
    return model.bytes(8, new Message().bytes(1, "").number(2, operatorSet)).bytes(7, graph);
  }

  #node(operator: string, inputs: readonly Value[], attributes: Record<string, Attribute>, outputs: readonly Value[]): void {
    const node = new Message();
    for (const input of inputs) node.bytes(1, input);
    for (const output of outputs) node.bytes(2, output);
    node.bytes(3, outputs[0]!).bytes(4, operator);
    for (const [name, value] of Object.entries(attributes)) node.bytes(5, attribute(name, value));
    this.#nodes.push(node);
  }

  #newName(operator: string): string {
    const count = (this.#values.get(operator) ?? 0) + 1;
    this.#values.set(operator, count);
    return `${operator}_${count}`;
  }
}

/** `[rows, columns]` and so on -> bytes of float32. */
export function float32s(shape: number[], values: Float32Array): StoredTensor {
  invariant(shape.reduce((product, size) => product * size, elementBytes.F32) === values.byteLength, `shape [${shape.join(", ")}]`);
  return { dtype: "F32", shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

function attribute(name: string, value: Attribute): Message {
  const message = new Message().bytes(1, name);
  if (typeof value === "number") return message.number(20, attributeKinds.int).number(3, value);
  if ("float" in value) return message.number(20, attributeKinds.float).float(2, value.float);
  message.number(20, attributeKinds.ints);
  for (const one of value) message.number(8, one);
  return message;
}

function valueInfo(name: string, type: ElementType, dimensions: Dimensions): Message {
  const shape = new Message();
  for (const size of dimensions) {
    shape.bytes(1, typeof size === "number" ? new Message().number(1, size) : new Message().bytes(2, size));
  }
  const tensor = new Message().number(1, elementTypes[type]).bytes(2, shape);
  return new Message().bytes(1, name).bytes(2, new Message().bytes(1, tensor));
}
