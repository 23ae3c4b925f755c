/**
 * Writes src/torch/operators.generated.ts: a TypeScript signature for each public operator, from the schemas of the libtorch in use.
 *
 *   node scripts/generate-operators.mjs [--print]
 *
 * The checked-in file is made from libtorch 1.13, the oldest supported, and is checked in byte for byte as it is written here;
 * check-generated.mjs makes it again and compares, and on newer versions checks that every operator in it still takes these arguments. Left out: variants that write into `out`, backward halves, operators
 * of one vendor's library or of quantised, sparse and named tensors, and what begins with an underscore.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Where the signatures are kept. */
export const target = new URL("../src/torch/operators.generated.ts", import.meta.url);

const leftOut = [
  /^_/,
  /backward/,
  /^(cudnn|miopen|mkldnn|fbgemm|quantized|slow_conv|thnn|nnpack|mps|vulkan|to_mkldnn|conv_depthwise|sparse|coalesce|crow|ccol|col_indices|row_indices|q_|int_repr|dequantize|fake_quant|choose_qparams|record_stream|batch_norm_(elemt|gather|stats|update)|.*_copy$|.*_nested|nested_|sym_|quantize|lift|segment_reduce|rename|align_|refine_names|.*_jvp|functional|.*_functional)/,
  /_out$/,
];
const leftOutOverload = /out|dimname|names|grad_input|generator|Complex|_str$/i;

/** Splits "a, b(c, d), e" at the commas outside brackets. */
export function split(text) {
  const parts = [];
  let depth = 0;
  let part = "";
  for (const character of text) {
    if ("([".includes(character)) depth++;
    if (")]".includes(character)) depth--;
    if (character === "," && depth === 0) {
      parts.push(part.trim());
      part = "";
    } else part += character;
  }
  if (part.trim()) parts.push(part.trim());
  return parts;
}

const camel = (name) => name.replace(/(?<=[a-zA-Z0-9])_+([a-zA-Z0-9])/g, (_, letter) => letter.toUpperCase());

const reserved = new Set(["default", "function", "var", "in", "with", "this", "new", "delete", "input"]);

/** Type of an argument in TypeScript, or undefined when JavaScript can't pass it. */
function argumentType(schema) {
  const optional = schema.endsWith("?");
  const bare = (optional ? schema.slice(0, -1) : schema).replace(/\([a-z*!| ->]*\)/, "");
  const list = /^(.*)\[(\d*)\]$/.exec(bare);
  const element = list ? list[1] : bare;
  const types = {
    Tensor: "Tensor",
    "Tensor?": "Tensor | null",
    Scalar: "Scalar",
    int: "number",
    SymInt: "number",
    float: "number",
    bool: "boolean",
    str: "string",
    ScalarType: "DType",
    Device: "string",
    Layout: "string",
    MemoryFormat: "MemoryFormat",
    Generator: "undefined",
  };
  let type = types[element];
  if (type === undefined) return undefined;
  if (list) type = `${list[2] ? `${type} | ` : ""}readonly ${type.includes("|") ? `(${type})` : type}[]`;
  return optional && element !== "Generator" ? `${type} | null` : type;
}

function parse(schema) {
  const match = /^aten::([A-Za-z0-9_]+)(?:\.(\w+))?\((.*)\) -> (.*)$/.exec(schema);
  if (!match) return undefined;
  const [, base, overload = "", argumentText, returnText] = match;
  if (leftOut.some((pattern) => pattern.test(base)) || leftOutOverload.test(overload)) return undefined;
  const list = [];
  for (const part of split(argumentText)) {
    if (part === "*") continue;
    const argument = /^(.+?) (\w+)(?:=(.*))?$/.exec(part);
    if (!argument) return undefined;
    const type = argumentType(argument[1]);
    if (type === undefined) return undefined;
    const name = camel(argument[2]);
    list.push({ name: reserved.has(name) ? `${name}_` : name, type, defaulted: argument[3] !== undefined || argument[1].endsWith("?") });
  }
  const result = returns(returnText, argumentText);
  return result && { base, overload, schema, list, ...result };
}

function returns(text, argumentText) {
  if (text === "()") return { type: "undefined", kind: "value" };
  if (/^Tensor\([a-z]!\)$/.test(text)) return argumentText.startsWith(text) ? { type: "Tensor", kind: "self" } : undefined;
  const tuple = /^\((.*)\)$/.exec(text);
  if (tuple) {
    const parts = split(tuple[1]).map((part) => /^(\S+?)(?:\([^)]*\))?(?: (\w+))?$/.exec(part));
    if (parts.some((part) => part?.[1] !== "Tensor")) return undefined;
    return { type: `[${parts.map((part, i) => `${part[2] ? camel(part[2]) : `result${i}`}: Tensor`).join(", ")}]`, kind: "tensors" };
  }
  const bare = text.replace(/\([a-z*!| ->]*\)/, "").replace(/ \w+$/, "");
  if (bare === "Tensor") return { type: "Tensor", kind: "tensor" };
  if (bare === "Tensor[]") return { type: "Tensor[]", kind: "tensors" };
  if (["int", "float", "Scalar", "SymInt"].includes(bare)) return { type: "number", kind: "value" };
  if (bare === "bool") return { type: "boolean", kind: "value" };
  return undefined;
}

/** `add.Tensor` -> addTensor, `add_.Tensor` -> addTensor_, `relu` -> relu. */
function functionName({ base, overload }) {
  const inPlace = base.endsWith("_") && !base.endsWith("__");
  const stem = camel(inPlace ? base.slice(0, -1) : base);
  const suffix = overload ? camel(overload) : "";
  return `${stem}${suffix ? suffix[0].toUpperCase() + suffix.slice(1) : ""}${inPlace ? "_" : ""}`;
}

function declaration(op) {
  const lastRequired = op.list.findLastIndex((argument) => !argument.defaulted);
  const parameters = op.list.map(({ name, type, defaulted }, i) => {
    if (!defaulted) return `${name}: ${type}`;
    return i > lastRequired ? `${name}?: ${type}` : `${name}: ${type} | undefined`;
  });
  const quote = JSON.stringify;
  return [
    `/** \`${op.schema.replaceAll("*/", "* /")}\` */`,
    `export const ${functionName(op)} = operator<(${parameters.join(", ")}) => ${op.type}>(${quote(`aten::${op.base}`)}, ${quote(op.overload)}, ${quote(op.kind)});`,
  ].join("\n");
}

/** The whole file. */
export function generate(schemas) {
  const operators = schemas.map(parse).filter(Boolean);
  operators.sort((a, b) => (a.base + "." + a.overload < b.base + "." + b.overload ? -1 : 1));
  const taken = new Set();
  const unique = operators.filter((op) => {
    const name = functionName(op);
    if (reserved.has(name) || taken.has(name)) return false;
    taken.add(name);
    return true;
  });
  return `/**
 * Typed signatures of libtorch's operators. Generated by scripts/generate-operators.mjs from the schemas of libtorch 1.13: do not edit.
 *
 * The name is operator + overload in camel case, in-place operators end in an underscore; arguments are in the order of the schema.
 */
import type { DType } from "./dtype.ts";
import { type Scalar, operator } from "./operator.ts";
import type { Tensor } from "./tensor.ts";

export type MemoryFormat = "contiguous_format" | "preserve_format" | "channels_last";

${unique.map(declaration).join("\n")}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { native } = await import("../dist/src/torch/native.js");
  const text = generate(native().schemas());
  if (process.argv.includes("--print")) process.stdout.write(text);
  else writeFileSync(target, text);
}
