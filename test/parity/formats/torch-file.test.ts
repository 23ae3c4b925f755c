/** Files of PyTorch, made by make-torch-fixtures.py, and the same file damaged. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PickledCall, type PickledValue, TorchFile, readSafetensors } from "../../../src/formats/index.ts";
import { DataError, LaclipError, ModelFormatError, Random } from "../../../src/support/index.ts";

const fixture = (name: string): string => fileURLToPath(new URL(`../../../../test/parity/${name}`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "laclip-torch-file-"));
after(() => rmSync(folder, { recursive: true }));

/** Parts of a dictionary by their keys. */
function parts(value: PickledValue | undefined): Map<PickledValue, PickledValue> {
  assert.ok(value instanceof Map);
  return value;
}

test("tensors of every type, stride and offset are read row by row, as PyTorch has them", async () => {
  const file = await TorchFile.open(fixture("formats/tensors.pt"));
  const expected = readSafetensors(fixture("formats/tensors.safetensors")).tensors;
  const found = new Map(Array.from(parts(parts(file.value).get("tensors")), ([name, value]) => [name as string, file.readTensor(value)!]));
  assert.deepEqual(new Map([...found].sort()), new Map([...expected].sort()));
  assert.deepEqual(file.readTensor(parts(file.value).get("parameter"))?.data, expected.get("plain")!.data.subarray(0, 48));
  assert.equal(file.isScript, false);
  file.close();
});

test("objects of classes are names with attributes, never made", async () => {
  const file = await TorchFile.open(fixture("formats/tensors.pt"));
  const args = parts(file.value).get("args");
  assert.ok(args instanceof PickledCall);
  assert.equal(args.name, "argparse.Namespace");
  assert.deepEqual(Object.fromEntries(parts(args.state)), {
    model: "CLIP_VITB16",
    betas: [0.9, 0.98],
    large: 2n ** 40n,
    nothing: null,
    there: true,
  });
  assert.equal(file.readTensor(args), undefined);
  file.close();
});

test("a tensor that says to be larger than its storage is refused before memory is taken for it", async () => {
  const file = await TorchFile.open(fixture("formats/tensors.pt"));
  assert.throws(() => file.readTensor(parts(file.value).get("expanded")), /shape \[1000\] lies beyond the end of storage/);
  file.close();
});

test("programs of torch.jit.save are modules with their parameters among the attributes", async () => {
  const file = await TorchFile.open(fixture("exchange/openai.pt"));
  assert.ok(file.isScript);
  assert.ok(file.value instanceof PickledCall);
  const scale = file.readTensor(parts(file.value.state).get("logit_scale"));
  assert.deepEqual([scale?.dtype, scale?.shape], ["F16", []]);
  file.close();
});

test("what is no file of PyTorch's is told by what it is", async () => {
  const open = async (name: string, bytes: string | Uint8Array): Promise<void> => {
    writeFileSync(join(folder, name), bytes);
    (await TorchFile.open(join(folder, name))).close();
  };
  await assert.rejects(TorchFile.open(join(folder, "none.pt")), /none\.pt: can't be opened/);
  await assert.rejects(open("text.pt", "<html>"), /neither a file of PyTorch's nor one of safetensors/);
  await assert.rejects(open("empty.pt", ""), /neither a file of PyTorch's/);
  await assert.rejects(TorchFile.open(fixture("exchange/before-1.6.pt")), (error: ModelFormatError) => {
    assert.match(error.message, /zip files since version 1\.6/);
    return /torch\.save/.test(String(error.mend));
  });
  const whole = readFileSync(fixture("formats/tensors.pt"));
  await assert.rejects(open("cut.pt", whole.subarray(0, whole.length - 100)), /cut\.pt: no whole zip file/);
});

test("a damaged file is read or refused with its name, and nothing else", async () => {
  const whole = readFileSync(fixture("formats/tensors.pt"));
  const random = Random.of("damaged files of PyTorch");
  let refused = 0;
  for (let i = 0; i < 300; i++) {
    const bytes = Buffer.from(whole);
    for (let n = 0; n <= random.integer(4); n++) bytes[random.integer(bytes.length)] = random.integer(256);
    const path = join(folder, "damaged.pt");
    writeFileSync(path, random.integer(5) === 0 ? bytes.subarray(0, random.integer(bytes.length)) : bytes);
    try {
      const file = await TorchFile.open(path);
      try {
        const top = file.value instanceof Map ? file.value.get("tensors") : undefined;
        if (top instanceof Map) for (const value of top.values()) file.readTensor(value);
      } finally {
        file.close();
      }
    } catch (error) {
      refused++;
      assert.ok(error instanceof ModelFormatError || error instanceof DataError, String((error as Error).stack));
      assert.ok((error as LaclipError).message.includes("damaged.pt"));
    }
  }
  assert.ok(refused > 50, `${refused} of 300`);
});
