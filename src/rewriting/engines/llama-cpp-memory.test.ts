import assert from "node:assert/strict";
import { test } from "node:test";
import type { GgufHeader } from "../../formats/index.ts";
import { asManyAsFit, batchOnGpu, contextBytes, sequencesOnGpu, sequencesOnProcessor } from "./llama-cpp-memory.ts";

const gib = 2 ** 30;

function header(keys: Record<string, number | number[]>): GgufHeader {
  const metadata = new Map<string, GgufHeader["metadata"] extends ReadonlyMap<string, infer V> ? V : never>([
    ["general.architecture", "llama"],
  ]);
  for (const [key, value] of Object.entries(keys)) metadata.set(`llama.${key}`, value);
  return { path: "", version: 3, fileBytes: 0, dataOffset: 0, metadata, tensors: [] };
}

const llama2 = header({ block_count: 32, embedding_length: 4096, "attention.head_count": 32 });
const llama3 = header({ block_count: 32, embedding_length: 4096, "attention.head_count": 32, "attention.head_count_kv": 8 });

test("a token of LLaMA-2-7B takes half a MiB of keys and values; shared heads, wide heads and lists by layer are counted", () => {
  assert.equal(contextBytes(llama2, 512), 512 * 2 ** 19);
  assert.equal(contextBytes(llama3, 512), 512 * 2 ** 17);
  const wide = header({
    block_count: 2,
    embedding_length: 64,
    "attention.head_count": 4,
    "attention.key_length": 32,
    "attention.value_length": 8,
  });
  assert.equal(contextBytes(wide, 10), 10 * 2 * 2 * 4 * 40);
  const uneven = header({ block_count: 2, embedding_length: 64, "attention.head_count": 4, "attention.head_count_kv": [1, 2] });
  assert.equal(contextBytes(uneven, 1), 2 * 2 * 2 * 32);
  assert.equal(contextBytes(header({ block_count: 2, embedding_length: 64 }), 512), undefined);
});

test("a GPU writes as many captions at once as fit beside the model, from 8 to 64", () => {
  const sequences = (freeGib: number, weightGib: number, model = llama2): number =>
    sequencesOnGpu({ freeBytes: freeGib * gib, weightBytes: weightGib * gib, contextBytes: contextBytes(model, 512) });
  assert.equal(sequences(79, 6.7), 64);
  // The table of docs/rewriting-on-a-gpu.md.
  const table = [8, 12, 24, 40].map((free) => [3.6, 6.7, 12.6].map((weights) => sequences(free, weights)));
  assert.deepEqual(table, [
    [8, 8, 8],
    [24, 16, 8],
    [64, 56, 32],
    [64, 64, 64],
  ]);
  assert.equal(sequences(11.5, 3.6), 24);
  assert.equal(sequences(11.5, 3.6, llama3), 64);
  assert.equal(sequences(7.6, 3.6), 8);
  // Too small for the model: some layers stay on the processor.
  assert.equal(sequences(5, 6.7), 8);
  assert.equal(sequencesOnGpu({ freeBytes: 8 * gib, weightBytes: gib, contextBytes: undefined }), 32);
  for (let free = 4; free < 100; free += 0.5) {
    const count = sequences(free, 3.6);
    assert.ok(count === 8 || 3.6 + (count + 1) * 0.25 < free, `${count} captions and the model don't fit into ${free} GiB`);
  }
});

test("on a processor it is 16, or 8 where the contexts would take more than 2 GiB", () => {
  assert.equal(sequencesOnProcessor(llama2, 512), 8);
  assert.equal(sequencesOnProcessor(header({ block_count: 12, embedding_length: 640, "attention.head_count": 10 }), 512), 16);
  assert.equal(sequencesOnProcessor(header({}), 512), 8);
});

test("a batch holds what is their own of all prompts", () => {
  assert.deepEqual([1, 32, 64, 255].map(batchOnGpu), [512, 512, 1024, 4080]);
});

test("fewer contexts are made until they fit, and other failures are none of memory", async () => {
  const asked: number[] = [];
  const create = async (count: number): Promise<string> => {
    asked.push(count);
    if (count > 9) throw new RangeError("too large");
    return await Promise.resolve(`${count} contexts`);
  };
  const short = (error: unknown): boolean => error instanceof RangeError;
  assert.deepEqual(await asManyAsFit(64, create, short), { created: "8 contexts", sequences: 8 });
  assert.deepEqual(asked, [64, 32, 16, 8]);
  await assert.rejects(
    asManyAsFit(64, create, () => false),
    /too large/,
  );
  const never = async (): Promise<never> => await Promise.reject(new RangeError("none at all"));
  await assert.rejects(asManyAsFit(5, never, short), /none at all/);
});
