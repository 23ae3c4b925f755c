/**
 * Writes a LLaMA of random weights as a GGUF file: small enough to make in a test, complete enough for llama.cpp to run.
 *
 * Its vocabulary is SentencePiece's smallest: the three control tokens, 256 byte tokens, and one piece for each letter, so that
 * every text can be written. What it says is noise; that it is loaded, sampled and stopped is not.
 */
import { writeFileSync } from "node:fs";
import { Random } from "../../src/support/index.ts";

type Value = number | string | readonly string[] | readonly number[];
/** Key, kind of value, value. Kinds: u32, f32, string, lists of strings, of f32 and of i32. */
export type Entry = readonly [key: string, kind: "u32" | "f32" | "string" | "strings" | "f32s" | "i32s", value: Value];

export interface TinyGguf {
  entries: Entry[];
  tensors: { name: string; shape: number[]; data: Float32Array }[];
}

const width = 32;
const feedForward = 64;
const layers = 2;
const heads = 4;

/** A model that works; change `entries` or `tensors` before `writeGguf` to damage it. */
export function tinyLlama({
  contextLength = 1024,
  seed = 0,
  lineEnd = 0,
  words = [],
}: {
  contextLength?: number;
  seed?: number;
  /** Added to the newline's chances. */
  lineEnd?: number;
  /** Written as one token each, after a blank: prompts of them are as short as a real model's. */
  words?: readonly string[];
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
  ];
  const random = Random.of("tiny llama", seed);
  const tensors: TinyGguf["tensors"] = [];
  const add = (name: string, shape: number[], fill: () => number): void => {
    tensors.push({ name, shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, fill) });
  };
  const weight = (): number => (random.uniform() - 0.5) * 0.6;
  add("token_embd.weight", [width, tokens.length], weight);
  for (let i = 0; i < layers; i++) {
    add(`blk.${i}.attn_norm.weight`, [width], () => 1);
    for (const part of ["q", "k", "v", "output"]) add(`blk.${i}.attn_${part}.weight`, [width, width], weight);
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
export function writeGguf(path: string, { entries, tensors }: TinyGguf): string {
  const parts: Buffer[] = [];
  const u32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  };
  const u64 = (value: number): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
  };
  const f32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    return bytes;
  };
  const string = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
  const list = (kind: number, values: readonly Buffer[]): Buffer => Buffer.concat([u32(9), u32(kind), u64(values.length), ...values]);
  parts.push(Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(entries.length));
  for (const [key, kind, value] of entries) {
    parts.push(string(key));
    if (kind === "u32") parts.push(u32(4), u32(value as number));
    else if (kind === "f32") parts.push(u32(6), f32(value as number));
    else if (kind === "string") parts.push(u32(8), string(value as string));
    else if (kind === "strings")
      parts.push(
        list(
          8,
          (value as string[]).map((text) => string(text)),
        ),
      );
    else if (kind === "f32s")
      parts.push(
        list(
          6,
          (value as number[]).map((number) => f32(number)),
        ),
      );
    else
      parts.push(
        list(
          5,
          (value as number[]).map((number) => u32(number)),
        ),
      );
  }
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    parts.push(string(name), u32(shape.length), ...shape.map((size) => u64(size)), u32(0), u64(offset));
    offset += Math.ceil(data.byteLength / 32) * 32;
  }
  const header = Buffer.concat(parts);
  const chunks: Buffer[] = [header, Buffer.alloc((32 - (header.length % 32)) % 32)];
  for (const { data } of tensors)
    chunks.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength), Buffer.alloc((32 - (data.byteLength % 32)) % 32));
  writeFileSync(path, Buffer.concat(chunks));
  return path;
}
