/** Files of PyTorch as training frameworks leave them and as nobody should make them: pickles written by hand. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { writeSafetensors } from "../formats/index.ts";
import { ModelFormatError } from "../support/index.ts";
import { type WeightsFile, readWeightsFile } from "./weights-file.ts";

const folder = mkdtempSync(join(tmpdir(), "laclip-weights-"));
after(() => rmSync(folder, { recursive: true }));

const ascii = (text: string): Buffer => Buffer.from(text, "latin1");

/** Parts of a pickle: codes as text, see Python's `pickletools`. */
const pickle = (...parts: (string | Buffer)[]): Buffer =>
  Buffer.concat([ascii("\x80\x02"), ...parts.map((part) => (typeof part === "string" ? ascii(part) : part)), ascii(".")]);

function word(text: string): Buffer {
  const head = Buffer.from("X\0\0\0\0", "latin1");
  head.writeUInt32LE(text.length, 1);
  return Buffer.concat([head, ascii(text)]);
}

/** A tensor of all eight floats of the only storage. */
const tensor = Buffer.concat([
  ascii("ctorch._utils\n_rebuild_tensor_v2\n(("),
  word("storage"),
  ascii("ctorch\nFloatStorage\n"),
  word("0"),
  word("cpu"),
  ascii("K\x08tQK\0K\x08\x85K\x01\x85\x89}tR"),
]);

/** A zip whose members are stored, as PyTorch writes them. */
function zip(members: Record<string, Uint8Array>): Buffer {
  const parts: Buffer[] = [];
  const list: Buffer[] = [];
  let at = 0;
  for (const [name, data] of Object.entries(members)) {
    const local = Buffer.alloc(30);
    local.write("PK\x03\x04", "latin1");
    local.writeUInt32LE(data.byteLength, 18);
    local.writeUInt32LE(data.byteLength, 22);
    local.writeUInt16LE(name.length, 26);
    const central = Buffer.alloc(46);
    central.write("PK\x01\x02", "latin1");
    central.writeUInt32LE(data.byteLength, 20);
    central.writeUInt32LE(data.byteLength, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(at, 42);
    parts.push(local, ascii(name), Buffer.from(data));
    list.push(central, ascii(name));
    at += 30 + name.length + data.byteLength;
  }
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(Object.keys(members).length, 8);
  end.writeUInt16LE(Object.keys(members).length, 10);
  end.writeUInt32LE(Buffer.concat(list).length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, ...list, end]);
}

const read = async (bytes: Buffer, script = false): Promise<WeightsFile> => {
  const path = join(folder, "weights.pt");
  const members = { "a/data.pkl": bytes, "a/data/0": new Uint8Array(32), ...(script && { "a/constants.pkl": new Uint8Array() }) };
  writeFileSync(path, zip(members));
  return await readWeightsFile(path);
};

/** The dictionary of one weight. */
const state = (name: string): Buffer => Buffer.concat([ascii("}"), word(name), tensor, ascii("s")]);

test("weights lie at the top, or under the keys that training gives them", async () => {
  for (const key of ["state_dict", "model_state_dict", "model", "module"]) {
    const { weights } = await read(pickle("}", word(key), state("a.weight"), "s"));
    assert.deepEqual([...weights.keys()], ["a.weight"], key);
  }
  assert.deepEqual([...(await read(pickle(state("a.weight")))).weights.keys()], ["a.weight"]);
});

test("weights of safetensors are known under any name", async () => {
  const path = join(folder, "pytorch_model.bin");
  writeSafetensors(path, [["a.weight", { dtype: "F32", shape: [2], data: new Uint8Array(8) }]]);
  assert.deepEqual([...(await readWeightsFile(path)).weights.keys()], ["a.weight"]);
});

test("what wraps a model for training stands before all names or is part of them", async () => {
  for (const before of ["module.", "module._orig_mod.", "_orig_mod.module.", "model."]) {
    assert.deepEqual([...(await read(pickle(state(`${before}a.weight`)))).weights.keys()], ["a.weight"], before);
  }
  const { weights } = await read(pickle("}", "(", word("module.a"), tensor, word("b"), tensor, "u"));
  assert.deepEqual([...weights.keys()], ["module.a", "b"]);
});

test("dictionaries, lists and sets of classes of their own, beside the weights or around them, are no damage", async () => {
  const beside: Record<string, string> = {
    "collections.defaultdict": "ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RK\x01K\x02s",
    "a class of lists": "cmine\nList\n)\x81(K\x01K\x02e",
    "a class within a class": "c__builtin__\ngetattr\ncmine\nOuter\nU\x05Inner\x86R)\x81}b",
    "sets of protocol 4": "\x8f(K\x01K\x02\x90",
    "frozen sets": "(K\x01K\x02\x91",
  };
  for (const [what, code] of Object.entries(beside)) {
    const { weights } = await read(pickle("}", word("args"), code, "s", word("state_dict"), state("a.weight"), "s"));
    assert.deepEqual([...weights.keys()], ["a.weight"], what);
  }
  const around = pickle("}", word("state_dict"), "cmine\nDictionary\n)\x81", word("a.weight"), tensor, "s", "s");
  assert.deepEqual([...(await read(around)).weights.keys()], ["a.weight"]);
});

test("a whole object, and a file without weights, are told by what they hold", async () => {
  const object = Buffer.concat([ascii("copen_clip.model\nCLIP\n)\x81}"), word("_modules"), ascii("}sb")]);
  for (const bytes of [pickle(object), pickle("}", word("model"), object, "s")]) {
    await assert.rejects(read(bytes), (error: ModelFormatError) => {
      assert.match(error.message, /class open_clip\.model\.CLIP/);
      return /model\.state_dict\(\)/.test(String(error.mend));
    });
  }
  await assert.rejects(read(pickle("}", word("epoch"), "K\x01s", word("\x1b[31m"), "K\x01s")), /It holds: "epoch", "\\u001b\[31m"\./);
});

test("objects that hold themselves or each other without end, and tensors without number, are refused", async () => {
  const [object, self] = ["cmine\nModule\n)\x81q\0", "h\0"];
  const cycle = pickle(object, "}", word("a"), self, "s", word("b"), self, "s", "b");
  await assert.rejects(read(cycle, true), ModelFormatError);
  const parameter = pickle(
    "}",
    "(",
    word("list"),
    "]q\0",
    word("a"),
    "ctorch._utils\n_rebuild_parameter\nh\0Rq\x01",
    word("c"),
    "h\0h\x01a",
    "u",
  );
  await assert.rejects(read(parameter), /no weights in it/);
  const deep = Buffer.concat(Array.from({ length: 100_000 }, () => Buffer.concat([ascii("cmine\nModule\n)\x81}"), word("a")])));
  await assert.rejects(read(pickle(deep, "K\x01", "sb".repeat(100_000)), true), /modules within each other/);
  // A key of pairs of pairs: as a text it would have 2^40 letters.
  const doubled = Array.from({ length: 40 }, (_, n) => Buffer.from([0x68, n, 0x86, 0x71, n + 1]));
  await assert.rejects(read(pickle("}", word("abcd"), "q\0", ...doubled, "K\x01s")), /no weights in it/);
  const names = Array.from({ length: 10_000 }, (_, n) => Buffer.concat([word(`w${n}`), ascii(n === 0 ? "" : "h\x05")]));
  const tied = pickle("}", "(", names[0]!, tensor, "q\x05", ...names.slice(1), "u");
  await assert.doesNotReject(read(pickle("}", "(", names[0]!, tensor, "q\x05", names[1]!, "u")));
  await assert.rejects(read(tied), /as large as the file/);
});
