/** Tensors to a safetensors file and back. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { writeSafetensors } from "../formats/index.ts";
import { type DType, Tensor, scope, tensor, zeros } from "../torch/index.ts";
import { loadTensors, storedTensors } from "./state-files.ts";

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "laclip-state-"));
});
after(() => rmSync(folder, { recursive: true }));

const bytes = (value: Tensor): Buffer => Buffer.from(value.toTypedArray().buffer as ArrayBuffer);

test("every dtype, scalars, empty tensors and views come back as they were, in order, with the metadata", () => {
  scope(() => {
    const dtypes: DType[] = ["uint8", "bool", "float64", "int8", "int16", "float32", "bfloat16", "int64", "float16", "int32"];
    const saved = new Map<string, Tensor>();
    // Three elements each: the bytes of what follows the small types begin at odd places.
    for (const dtype of dtypes) saved.set(`of.${dtype}`, tensor([1, 0, 1], { dtype }));
    saved.set("scalar", tensor(2.5)).set("empty", zeros([0, 4]));
    const table = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    saved.set("turned", table.transpose(0, 1)).set("part", table.slice(1, 1));
    const path = join(folder, "all.safetensors");
    writeSafetensors(path, storedTensors(saved), { step: "3", note: "Wörter" });

    const { tensors, metadata } = loadTensors(path);
    assert.deepEqual(metadata, { step: "3", note: "Wörter" });
    assert.deepEqual([...tensors.keys()].toSorted(), [...saved.keys()].toSorted());
    for (const [name, value] of saved) {
      const read = tensors.get(name)!;
      assert.deepEqual([read.dtype, read.shape], [value.dtype, value.shape], name);
      assert.deepEqual(bytes(read), bytes(value), name);
    }
    assert.deepEqual(tensors.get("turned")!.toArray(), [1, 4, 2, 5, 3, 6]);
    assert.deepEqual(tensors.get("part")!.toArray(), [2, 3, 5, 6]);
  });
});

test("a file cut short, a missing one and an element type that the library has not are model format errors with the path", () => {
  scope(() => {
    const path = join(folder, "cut.safetensors");
    writeSafetensors(path, storedTensors([["a", zeros([100])]]));
    const whole = readFileSync(path);
    for (const length of [whole.length - 1, 60, 7, 0]) {
      truncateSync(path, length);
      assert.throws(() => loadTensors(path), { name: "ModelFormatError", message: /cut\.safetensors/ });
      writeFileSync(path, whole);
    }
    assert.throws(() => loadTensors(join(folder, "none.safetensors")), { name: "ModelFormatError", message: /none\.safetensors/ });

    const header = Buffer.from('{"a":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    writeFileSync(path, Buffer.concat([length, header, Buffer.alloc(8)]));
    assert.throws(() => loadTensors(path), { name: "ModelFormatError", message: /cut\.safetensors.*U64/ });
  });
});
