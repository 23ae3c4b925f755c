/**
 * How many captions a GGUF model writes at once, by the memory there is.
 *
 * A step reads all weights, however many captions it is for; but each caption has a context of its own in memory: the keys and values of
 * its tokens, in float16. One context more holds the beginning that prompts share.
 */
import type { GgufHeader } from "../../formats/index.ts";

/** Most captions that llama.cpp writes at once: it has 256 sequences, and one of them holds the shared beginning. */
export const mostSequences = 255;

/** More captions at once bring a GPU little more, while each step draws a token for each of them on the processor. */
const mostByItself = 64;
/** Fewer are not worth having the whole model on the GPU; then some of its layers stay behind. */
const least = 8;
/** Where the size of a context is not known. */
const usual = 32;

/** A GPU's memory, or that of several together, and what a model needs of it. */
export interface GpuRoom {
  /** Bytes that are free before the model is loaded. */
  readonly freeBytes: number;
  /** Bytes of the weights. */
  readonly weightBytes: number;
  /** Bytes of one caption's context, undefined where the header does not tell. */
  readonly contextBytes: number | undefined;
}

/**
 * Bytes that the context of one caption takes.
 * @param contextSize tokens of prompt and answer together
 * @returns undefined for a model whose header does not say what a token takes, such as one with a recurrent state
 */
export function contextBytes({ metadata }: GgufHeader, contextSize: number): number | undefined {
  const architecture = String(metadata.get("general.architecture"));
  const read = (key: string): number | undefined => {
    const value = metadata.get(`${architecture}.${key}`);
    // Where layers differ, a list has a number for each: the largest is on the safe side.
    const number = Array.isArray(value) ? Math.max(...value.map(Number)) : Number(value);
    return Number.isFinite(number) && number > 0 ? number : undefined;
  };
  const [layers, width, heads] = [read("block_count"), read("embedding_length"), read("attention.head_count")];
  if (layers === undefined || width === undefined || heads === undefined) return undefined;
  const headWidth = width / heads;
  const [keyWidth, valueWidth] = [read("attention.key_length") ?? headWidth, read("attention.value_length") ?? headWidth];
  return 2 * layers * (read("attention.head_count_kv") ?? heads) * (keyWidth + valueWidth) * contextSize;
}

/** Captions written at once on a processor: 16, or 8 where so many contexts would take more than 2 GiB. */
export function sequencesOnProcessor(header: GgufHeader, contextSize: number): number {
  return 17 * (contextBytes(header, contextSize) ?? Infinity) <= 2 ** 31 ? 16 : 8;
}

/**
 * Captions written at once on a GPU: as many contexts as fit beside the whole model, at most 64.
 *
 * Where fewer than 8 fit, it is 8 all the same: so few leave a GPU idle, and it is better that some layers stay on the processor.
 */
export function sequencesOnGpu({ freeBytes, weightBytes, contextBytes: each }: GpuRoom): number {
  if (each === undefined) return usual;
  // What is computed with: activations of a batch, the scores of all tokens, copies of quantised weights.
  const reserve = Math.max(2 ** 29, 0.06 * freeBytes);
  const fit = Math.floor((freeBytes - reserve - weightBytes) / each) - 1;
  if (fit < least) return least;
  return Math.min(mostByItself, fit - (fit % 8));
}

/** Tokens that a GPU computes at once: enough for what is their own of the prompts of all captions, some 16 tokens each. */
export function batchOnGpu(sequences: number): number {
  return Math.max(512, 16 * sequences);
}

/**
 * Calls `create` with a number of captions at once, and with half as many again and again while that fails for want of memory.
 * @param short whether a failure means that memory was short
 * @throws what the last attempt threw
 */
export async function asManyAsFit<T>(
  sequences: number,
  create: (sequences: number) => Promise<T>,
  short: (error: unknown) => boolean,
): Promise<{ created: T; sequences: number }> {
  for (let count = sequences; ; count = Math.ceil(count / 2)) {
    try {
      return { created: await create(count), sequences: count };
    } catch (error) {
      if (count <= 1 || !short(error)) throw error;
    }
  }
}
