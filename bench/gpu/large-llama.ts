/**
 * A LLaMA-2-7B of random weights as a GGUF file, written as fast as the disk takes it: what a step costs does not depend on the values.
 *
 * All weights are pieces of one block of random bytes, each tensor beginning at another place of it. Their spread keeps activations at
 * the size of a trained model's, and makes the next token about as certain. A newline and the end of the text have rows of zeros, so that
 * answers never end by themselves.
 */
import { renameSync } from "node:fs";
import { builtInSources, endToken, llamaEntries, llamaTensors, newlineToken, vocabularyOf } from "../../src/rewriting/index.ts";
import type { LlamaShape } from "../../src/rewriting/index.ts";
import { type GgufContents, type GgufStore, halfBits, writeGguf } from "../../src/formats/index.ts";
import { Random } from "../../src/support/index.ts";

/** How the weights of a large model are stored. */
export type LargeStore = Exclude<GgufStore, "f32">;

/** LLaMA-2-7B. */
export const llama7b: LlamaShape = { width: 4096, feedForward: 11008, layers: 32, heads: 32, vocabulary: 32_000 };
/** To see that all works. */
export const small: LlamaShape = { width: 256, feedForward: 512, layers: 2, heads: 4, vocabulary: 32_000 };

/** Standard deviation of scores before the temperature: some dozens of tokens share most of the probability. */
const scoreSpread = 5;
const temporaryEnd = ".tmp";

/** Elements and bytes of a block. */
const blocks: Readonly<Record<LargeStore, readonly [elements: number, bytes: number]>> = { f16: [1, 2], q8_0: [32, 34], q4_0: [32, 18] };

/** Writes the model; a file that is there is whole. */
export function writeLargeLlama(path: string, shape: LlamaShape, store: LargeStore): void {
  const tokens = vocabularyOf(wordsOfPrompts(), shape.vocabulary);
  // Row by row, a product with numbers of spread 1 again has spread 1.
  const weights = new RandomBlocks(store, 1 / Math.sqrt(shape.width));
  const scores = new RandomBlocks(store, scoreSpread / Math.sqrt(shape.width));
  const tensors = llamaTensors(shape, tokens.length).map((tensor, number): GgufContents["tensors"][number] => {
    const count = tensor.shape.reduce((a, b) => a * b, 1);
    if (tensor.shape.length === 1) return { ...tensor, data: new Float32Array(count).fill(1) };
    if (tensor.name !== "output.weight") return { ...tensor, store, bytes: () => weights.pieces(count, number) };
    const silent = [newlineToken, endToken].sort((a, b) => a - b);
    return { ...tensor, store, bytes: () => withoutRows(scores.pieces(count, number), scores.bytes(shape.width), silent) };
  });
  writeGguf(path + temporaryEnd, { entries: llamaEntries(shape, tokens, { name: `random llama ${store}`, contextLength: 4096 }), tensors });
  renameSync(path + temporaryEnd, path);
}

/** All words of the built-in example pairs: short ones as a token each, longer ones as two, which makes about four letters a token. */
function wordsOfPrompts(): { words: string[]; endings: string[] } {
  const texts = builtInSources.flatMap(({ pairs = [], groups = [], triples = [] }) => [...pairs, ...groups, ...triples].flat());
  const all = [...new Set(`Rewrite image captions in a different way. ${texts.join(" ")}`.match(/[A-Za-z]+/g))];
  const cut = (word: string): number => (word.length <= 6 ? word.length : Math.ceil(word.length / 2));
  return { words: all.map((word) => word.slice(0, cut(word))), endings: all.map((word) => word.slice(cut(word))) };
}

/** Random weights in blocks of one kind. */
class RandomBlocks {
  readonly #store: LargeStore;
  /** An odd number of blocks, so that rows begin everywhere in it. */
  readonly #pool: Uint8Array;

  /** @param spread standard deviation of the weights */
  constructor(store: LargeStore, spread: number) {
    this.#store = store;
    const [, bytes] = blocks[store];
    const count = store === "f16" ? 16_777_213 : 1_048_573;
    const random = Random.of("large llama", store);
    const pool = new Uint32Array(Math.ceil((count * bytes) / 4));
    for (let i = 0; i < pool.length; i++) pool[i] = random.integer(2 ** 32);
    this.#pool = new Uint8Array(pool.buffer, 0, count * bytes);
    const view = new DataView(this.#pool.buffer);
    if (store === "f16") {
      // Any sign and any fraction with one of two exponents: numbers from 1 to 4, up or down, have a spread of 2.4.
      const exponent = Math.round(Math.log2(spread / 2.4)) + 15;
      for (let i = 0; i < count; i++) {
        const bits = view.getUint16(2 * i, true);
        view.setUint16(2 * i, (bits & 0x83ff) | ((exponent + ((bits >> 10) & 1)) << 10), true);
      }
    } else {
      // Bytes from -128 to 127, or halves of them from -8 to 7, all as likely as the others.
      const scale = halfBits(spread / (store === "q8_0" ? 73.9 : 4.6));
      for (let i = 0; i < count; i++) view.setUint16(i * bytes, scale, true);
    }
  }

  /** Bytes that so many weights take. */
  bytes(count: number): number {
    const [elements, bytes] = blocks[this.#store];
    return (count / elements) * bytes;
  }

  /** So many weights; `number` says where in the block they begin. */
  *pieces(count: number, number: number): Generator<Uint8Array> {
    const [, bytes] = blocks[this.#store];
    let at = (((number * 7919) % 1_000_003) * bytes) % this.#pool.length;
    for (let left = this.bytes(count); left > 0;) {
      const piece = this.#pool.subarray(at, Math.min(this.#pool.length, at + left));
      yield piece;
      left -= piece.length;
      at = 0;
    }
  }
}

/** The same bytes with zeros in some rows. */
function* withoutRows(pieces: Iterable<Uint8Array>, rowBytes: number, rows: readonly number[]): Generator<Uint8Array> {
  let start = 0;
  for (const piece of pieces) {
    const here = rows.filter((row) => row * rowBytes < start + piece.length && (row + 1) * rowBytes > start);
    const copy = here.length === 0 ? piece : piece.slice();
    for (const row of here) copy.fill(0, Math.max(0, row * rowBytes - start), (row + 1) * rowBytes - start);
    yield copy;
    start += piece.length;
  }
}
