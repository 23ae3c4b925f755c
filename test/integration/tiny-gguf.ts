/**
 * Writes a LLaMA of random weights as a GGUF file: small enough to make in a test, complete enough for llama.cpp to run. A benchmark
 * asks for a larger one.
 *
 * Its vocabulary is SentencePiece's smallest: the three control tokens, 256 byte tokens, and one piece for each letter, so that
 * every text can be written. What it says is noise; that it is loaded, sampled and stopped is not.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { Random } from "../../src/support/index.ts";

type Value = number | string | readonly string[] | readonly number[];
/** Key, kind of value, value. Kinds: u32, f32, string, lists of strings, of f32 and of i32. */
export type Entry = readonly [key: string, kind: "u32" | "f32" | "string" | "strings" | "f32s" | "i32s", value: Value];

export interface TinyGguf {
  entries: Entry[];
  tensors: { name: string; shape: number[]; data: Float32Array }[];
  /** How matrices are stored; vectors are always F32. Default "f32". */
  store?: "f32" | "q8_0";
}

/** Size of a model. */
export interface LlamaShape {
  width: number;
  feedForward: number;
  layers: number;
  heads: number;
  /** Tokens in the vocabulary; those without a text of their own are called "unused". Default: as many as have a text. */
  vocabulary?: number;
}

const tiny: LlamaShape = { width: 32, feedForward: 64, layers: 2, heads: 4 };

/** A model that works; change `entries` or `tensors` before `writeGguf` to damage it. */
export function tinyLlama({
  contextLength = 1024,
  seed = 0,
  lineEnd = 0,
  words = [],
  template,
  shape: { width, feedForward, layers, heads, vocabulary = 0 } = tiny,
  spread = 0.6,
  memory = true,
}: {
  contextLength?: number;
  seed?: number;
  /** Added to the newline's chances. */
  lineEnd?: number;
  /** Written as one token each, after a blank: prompts of them are as short as a real model's. */
  words?: readonly string[];
  /** A chat template (Jinja), for models that can converse. */
  template?: string;
  shape?: LlamaShape;
  /** Width of the range that weights are drawn from. */
  spread?: number;
  /**
   * Whether what comes next depends on more than the last token. Without it, texts don't depend on how many tokens are evaluated
   * together, which on some processors decides how sums are rounded: for tests that compare texts letter by letter. Default true.
   */
  memory?: boolean;
} = {}): TinyGguf {
  const tokens = ["<unk>", "<s>", "</s>"];
  for (let byte = 0; byte < 256; byte++) tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const pieces = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,'=>-";
  for (const piece of pieces) tokens.push(piece);
  // A second dictionary of words as a real one has them would need all prefixes too; "a b" pairs are enough to shorten prompts.
  for (const piece of ["▁▁", "▁▁▁▁", "▁▁▁▁▁▁▁▁"]) tokens.push(piece);
  // Pieces are joined two by two, so a word needs all its beginnings.
  const beginnings = new Set(words.flatMap((word) => Array.from(word, (_, i) => `▁${word.slice(0, i + 1)}`)));
  for (const piece of beginnings) tokens.push(piece);
  while (tokens.length < vocabulary) tokens.push(`<unused ${tokens.length}>`);
  const types = tokens.map((_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1));
  const entries: Entry[] = [
    ["general.architecture", "string", "llama"],
    ["general.name", "string", "tiny random llama"],
    ["llama.context_length", "u32", contextLength],
    ["llama.embedding_length", "u32", width],
    ["llama.block_count", "u32", layers],
    ["llama.feed_forward_length", "u32", feedForward],
    ["llama.attention.head_count", "u32", heads],
    ["llama.attention.layer_norm_rms_epsilon", "f32", 1e-5],
    ["tokenizer.ggml.model", "string", "llama"],
    ["tokenizer.ggml.tokens", "strings", tokens],
    ["tokenizer.ggml.scores", "f32s", tokens.map((token, i) => (i < 259 ? 0 : token.length))],
    ["tokenizer.ggml.token_type", "i32s", types],
    ["tokenizer.ggml.bos_token_id", "u32", 1],
    ["tokenizer.ggml.eos_token_id", "u32", 2],
    ...(template === undefined ? [] : [["tokenizer.chat_template", "string", template] as const]),
  ];
  const random = Random.of("tiny llama", seed);
  const tensors: TinyGguf["tensors"] = [];
  const add = (name: string, shape: number[], fill: () => number): void => {
    tensors.push({ name, shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, fill) });
  };
  const weight = (): number => (random.uniform() - 0.5) * spread;
  add("token_embd.weight", [width, tokens.length], weight);
  for (let i = 0; i < layers; i++) {
    add(`blk.${i}.attn_norm.weight`, [width], () => 1);
    for (const part of ["q", "k", "v"]) add(`blk.${i}.attn_${part}.weight`, [width, width], weight);
    add(`blk.${i}.attn_output.weight`, [width, width], memory ? weight : () => 0);
    add(`blk.${i}.ffn_norm.weight`, [width], () => 1);
    add(`blk.${i}.ffn_gate.weight`, [width, feedForward], weight);
    add(`blk.${i}.ffn_up.weight`, [width, feedForward], weight);
    add(`blk.${i}.ffn_down.weight`, [feedForward, width], weight);
  }
  add("output_norm.weight", [width], () => 1);
  add("output.weight", [width, tokens.length], weight);
  // A newline whose row is the mean of many others would stay rare; with a larger row it is now and then by far the likeliest.
  const newline = 3 + 0x0a;
  const output = tensors.at(-1)!.data;
  for (let i = 0; i < width; i++) output[newline * width + i]! *= 1 + lineEnd;
  return { entries, tensors };
}

/** Writes the file and returns its path. */
export function writeGguf(path: string, { entries, tensors, store = "f32" }: TinyGguf): string {
  const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
  const u64 = (value: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
  const f32 = (value: number): Buffer => Buffer.from(Float32Array.of(value).buffer);
  const string = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
  const list = (kind: number, values: readonly Buffer[]): Buffer => Buffer.concat([u32(9), u32(kind), u64(values.length), ...values]);
  const encoded = (kind: Entry[1], value: Value): Buffer => {
    if (kind === "u32") return Buffer.concat([u32(4), u32(value as number)]);
    if (kind === "f32") return Buffer.concat([u32(6), f32(value as number)]);
    if (kind === "string") return Buffer.concat([u32(8), string(value as string)]);
    if (kind === "strings") return list(8, (value as string[]).map(string));
    return kind === "f32s" ? list(6, (value as number[]).map(f32)) : list(5, (value as number[]).map(u32));
  };
  const parts = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(entries.length)];
  for (const [key, kind, value] of entries) parts.push(string(key), encoded(kind, value));
  let offset = 0;
  for (const { name, shape } of tensors) {
    const [type, bytes] = sizeOf(shape, store);
    parts.push(string(name), u32(shape.length), ...shape.map(u64), u32(type), u64(offset));
    offset += aligned(bytes);
  }
  const file = openSync(path, "w");
  try {
    const write = (bytes: Uint8Array): void => {
      for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
      writeSync(file, Buffer.alloc(aligned(bytes.length) - bytes.length));
    };
    write(Buffer.concat(parts));
    for (const { shape, data } of tensors)
      write(sizeOf(shape, store)[0] === 8 ? quantised(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  } finally {
    closeSync(file);
  }
  return path;
}

/** The number of the ggml type, and the bytes that a tensor takes in it. */
function sizeOf(shape: readonly number[], store: "f32" | "q8_0"): [type: number, bytes: number] {
  const count = shape.reduce((a, b) => a * b, 1);
  return store === "q8_0" && shape.length > 1 ? [8, (count / 32) * 34] : [0, count * 4];
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / 32) * 32;
}

/** Q8_0: blocks of 32 numbers, a scale in half precision and a byte for each. */
function quantised(data: Float32Array): Uint8Array {
  const bytes = new Uint8Array((data.length / 32) * 34);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < data.length / 32; block++) {
    let largest = 0;
    for (let i = 0; i < 32; i++) largest = Math.max(largest, Math.abs(data[block * 32 + i]!));
    const half = halfBits(largest / 127);
    view.setUint16(block * 34, half, true);
    const scale = halfValue(half) || 1;
    for (let i = 0; i < 32; i++) view.setInt8(block * 34 + 2 + i, Math.round(data[block * 32 + i]! / scale));
  }
  return bytes;
}

/** The half-precision number next above a small positive one, so that no byte overflows; 0 below the normal numbers. */
function halfBits(value: number): number {
  if (value < 2 ** -14) return 0;
  const exponent = Math.floor(Math.log2(value));
  return ((exponent + 15) << 10) + Math.ceil((value / 2 ** exponent - 1) * 1024);
}

function halfValue(bits: number): number {
  return bits === 0 ? 0 : 2 ** ((bits >> 10) - 15) * (1 + (bits & 1023) / 1024);
}
