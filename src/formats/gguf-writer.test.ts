import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readGgufHeader } from "./gguf-header.ts";
import { writeGguf } from "./gguf-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-gguf-writer-"));
after(() => rmSync(folder, { recursive: true }));

test("numbers, and bytes in pieces, are read back from where the header says", () => {
  const halves = Uint8Array.from({ length: 128 }, (_, i) => i);
  const path = writeGguf(join(folder, "mixed.gguf"), {
    entries: [
      ["general.architecture", "string", "llama"],
      ["tokenizer.ggml.tokens", "strings", ["a", "雪"]],
      ["llama.block_count", "u32", 3],
    ],
    tensors: [
      { name: "vector", shape: [3], data: Float32Array.of(1, 2, 3) },
      { name: "matrix", shape: [32, 2], data: Float32Array.from({ length: 64 }, (_, i) => i - 32) },
      { name: "half", shape: [32, 2], store: "f16", bytes: () => [halves.subarray(0, 50), halves.subarray(50)] },
      { name: "quarter", shape: [32, 1], store: "q4_0", bytes: () => [new Uint8Array(18).fill(7)] },
    ],
    store: "q8_0",
  });
  const header = readGgufHeader(path);
  const bytes = readFileSync(path);
  assert.deepEqual(header.metadata.get("tokenizer.ggml.tokens"), ["a", "雪"]);
  const content = (name: string): Buffer => {
    const { offset, bytes: length } = header.tensors.find((tensor) => tensor.name === name)!;
    return bytes.subarray(offset, offset + length!);
  };
  assert.deepEqual(
    header.tensors.map(({ type, bytes: length }) => [type, length]),
    [
      [0, 12],
      [8, 68],
      [1, 128],
      [2, 18],
    ],
  );
  assert.deepEqual(
    [0, 4, 8].map((at) => content("vector").readFloatLE(at)),
    [1, 2, 3],
  );
  assert.deepEqual(content("half"), Buffer.from(halves));
  assert.deepEqual(content("quarter"), Buffer.alloc(18, 7));
  // The largest of a block is 127 steps away from 0, to within the rounding of the scale.
  assert.equal(content("matrix").readInt8(2), -127);
  assert.equal(bytes.length, header.tensors.at(-1)!.offset + 32);
});

test("a tensor whose pieces are too short is refused", () => {
  const tensors = [{ name: "half", shape: [32], store: "f16", bytes: () => [new Uint8Array(62)] }] as const;
  assert.throws(() => writeGguf(join(folder, "short.gguf"), { entries: [], tensors: [...tensors] }), /"half" has 62 bytes, expected 64/);
});
