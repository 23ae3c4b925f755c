/**
 * A LLaMA of random weights, to be written as a GGUF file: complete enough for llama.cpp to load, sample and stop. What it says is noise.
 *
 * Small ones try whether a machine can compute at all (llama-cpp-trial.ts) and serve tests; benchmarks take the keys and the list of
 * tensors for large ones, whose speed does not depend on their values.
 *
 * Its vocabulary is SentencePiece's smallest: the three control tokens, 256 byte tokens, and one piece for each letter, so that
 * every text can be written.
 */
import type { GgufEntry } from "../../formats/index.ts";
import { Random } from "../../support/index.ts";

/** Size of a model. */
export interface LlamaShape {
  width: number;
  feedForward: number;
  layers: number;
  heads: number;
  /** Tokens in the vocabulary; those without a text of their own are called "unused". Default: as many as have a text. */
  vocabulary?: number;
}

/** A small model as numbers that can still be changed. */
export interface TinyLlama {
  entries: GgufEntry[];
  tensors: { name: string; shape: number[]; data: Float32Array }[];
  store?: "f32" | "q8_0";
}

/** What its vocabulary has beside letters. */
export interface LlamaWords {
  /** Written as one token each, after a blank: prompts of them are as short as a real model's. */
  words?: readonly string[];
  /** Ends of words, written as one token each. */
  endings?: readonly string[];
}

const tiny: LlamaShape = { width: 32, feedForward: 64, layers: 2, heads: 4 };

/** The token that is a newline. */
export const newlineToken = 3 + 0x0a;

/** Ends a text. */
export const endToken = 2;

/** A model that works; change `entries` or `tensors` before `writeGguf` to damage it. */
export function tinyLlama({
  contextLength = 1024,
  seed = 0,
  lineEnd = 0,
  words = [],
  template,
  shape = tiny,
  spread = 0.6,
  memory = true,
}: {
  contextLength?: number;
  seed?: number;
  /** Added to the newline's chances. */
  lineEnd?: number;
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
} = {}): TinyLlama {
  const tokens = vocabularyOf({ words }, shape.vocabulary);
  const entries = llamaEntries(shape, tokens, { name: "tiny random llama", contextLength });
  if (template !== undefined) entries.push(["tokenizer.chat_template", "string", template]);
  const random = Random.of("tiny llama", seed);
  const weight = (): number => (random.uniform() - 0.5) * spread;
  const tensors = llamaTensors(shape, tokens.length).map(({ name, shape: sizes }): TinyLlama["tensors"][number] => {
    const fill = sizes.length === 1 ? () => 1 : name.endsWith("attn_output.weight") && !memory ? () => 0 : weight;
    return { name, shape: sizes, data: Float32Array.from({ length: sizes.reduce((a, b) => a * b, 1) }, fill) };
  });
  // A newline whose row is the mean of many others would stay rare; with a larger row it is now and then by far the likeliest.
  const output = tensors.at(-1)!.data;
  for (let i = 0; i < shape.width; i++) output[newlineToken * shape.width + i]! *= 1 + lineEnd;
  return { entries, tensors };
}

/** The texts of all tokens: control tokens, bytes, letters, words with all their beginnings, and unused ones up to `size`. */
export function vocabularyOf({ words = [], endings = [] }: LlamaWords, size = 0): string[] {
  const tokens = ["<unk>", "<s>", "</s>"];
  for (let byte = 0; byte < 256; byte++) tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const pieces = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,'=>-";
  for (const piece of pieces) tokens.push(piece);
  for (const piece of ["▁▁", "▁▁▁▁", "▁▁▁▁▁▁▁▁"]) tokens.push(piece);
  // Pieces are joined two by two, so a word needs all its beginnings.
  const beginnings = new Set(words.flatMap((word) => Array.from(word, (_, i) => `▁${word.slice(0, i + 1)}`)));
  for (const piece of beginnings) tokens.push(piece);
  const ends = new Set(endings.flatMap((word) => Array.from(word, (_, i) => word.slice(0, i + 1)).slice(1)));
  for (const piece of ends) tokens.push(piece);
  while (tokens.length < size) tokens.push(`<unused ${tokens.length}>`);
  return tokens;
}

/** The keys of a model: its shape and its tokenizer. */
export function llamaEntries(
  { width, feedForward, layers, heads }: LlamaShape,
  tokens: readonly string[],
  { name, contextLength }: { name: string; contextLength: number },
): GgufEntry[] {
  return [
    ["general.architecture", "string", "llama"],
    ["general.name", "string", name],
    ["llama.context_length", "u32", contextLength],
    ["llama.embedding_length", "u32", width],
    ["llama.block_count", "u32", layers],
    ["llama.feed_forward_length", "u32", feedForward],
    ["llama.attention.head_count", "u32", heads],
    ["llama.attention.layer_norm_rms_epsilon", "f32", 1e-5],
    ["tokenizer.ggml.model", "string", "llama"],
    ["tokenizer.ggml.tokens", "strings", tokens],
    ["tokenizer.ggml.scores", "f32s", tokens.map((token, i) => (i < 259 ? 0 : token.length))],
    ["tokenizer.ggml.token_type", "i32s", tokens.map((_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1))],
    ["tokenizer.ggml.bos_token_id", "u32", 1],
    ["tokenizer.ggml.eos_token_id", "u32", endToken],
  ];
}

/** Names and shapes of all tensors, those of one dimension being scales of norms; the output comes last. */
export function llamaTensors({ width, feedForward, layers }: LlamaShape, vocabulary: number): { name: string; shape: number[] }[] {
  const layer = (i: number): { name: string; shape: number[] }[] => [
    { name: `blk.${i}.attn_norm.weight`, shape: [width] },
    ...["q", "k", "v"].map((part) => ({ name: `blk.${i}.attn_${part}.weight`, shape: [width, width] })),
    { name: `blk.${i}.attn_output.weight`, shape: [width, width] },
    { name: `blk.${i}.ffn_norm.weight`, shape: [width] },
    { name: `blk.${i}.ffn_gate.weight`, shape: [width, feedForward] },
    { name: `blk.${i}.ffn_up.weight`, shape: [width, feedForward] },
    { name: `blk.${i}.ffn_down.weight`, shape: [feedForward, width] },
  ];
  return [
    { name: "token_embd.weight", shape: [width, vocabulary] },
    ...Array.from({ length: layers }, (_, i) => layer(i)).flat(),
    { name: "output_norm.weight", shape: [width] },
    { name: "output.weight", shape: [width, vocabulary] },
  ];
}
