/**
 * The header of a GGUF file: enough of it to know that llama.cpp will load the file rather than abort the process.
 *
 * llama.cpp checks much of a file itself and fails politely; but a missing `head_count` or `feed_forward_length`, or a
 * SentencePiece vocabulary without a newline token, ends the whole process. Everything here is read without loading a weight.
 * Format: the GGUF specification of ggml (versions 2 and 3, little endian).
 */
import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { ModelFormatError } from "../support/index.ts";

/** A value of a GGUF file's metadata. */
export type GgufValue = number | bigint | boolean | string | readonly (number | bigint | boolean | string)[];

/** Where a tensor stands in a GGUF file. */
export interface GgufTensor {
  readonly name: string;
  /** Fastest-moving dimension first, as GGUF stores it. */
  readonly shape: readonly number[];
  /** The ggml type's number: 0 is F32, 1 F16, 8 Q8_0, ... */
  readonly type: number;
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** Size in bytes, or undefined for a type that this program does not know. */
  readonly bytes: number | undefined;
}

/** What a GGUF file says about itself before its weights. */
export interface GgufHeader {
  readonly path: string;
  readonly version: number;
  readonly fileBytes: number;
  /** Where the tensor data start; also the length of everything that names and describes the model. */
  readonly dataOffset: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
}

/** Elements in a block and bytes of a block, by the number of the ggml type. */
const blockSizes: Readonly<Record<number, readonly [elements: number, bytes: number]>> = {
  0: [1, 4], // F32
  1: [1, 2], // F16
  2: [32, 18], // Q4_0
  3: [32, 20], // Q4_1
  6: [32, 22], // Q5_0
  7: [32, 24], // Q5_1
  8: [32, 34], // Q8_0
  9: [32, 36], // Q8_1
  10: [256, 84], // Q2_K
  11: [256, 110], // Q3_K
  12: [256, 144], // Q4_K
  13: [256, 176], // Q5_K
  14: [256, 210], // Q6_K
  15: [256, 292], // Q8_K
  16: [256, 66], // IQ2_XXS
  17: [256, 74], // IQ2_XS
  18: [256, 98], // IQ3_XXS
  19: [256, 50], // IQ1_S
  20: [32, 18], // IQ4_NL
  21: [256, 110], // IQ3_S
  22: [256, 82], // IQ2_S
  23: [256, 136], // IQ4_XS
  24: [1, 1], // I8
  25: [1, 2], // I16
  26: [1, 4], // I32
  27: [1, 8], // I64
  28: [1, 8], // F64
  29: [256, 56], // IQ1_M
  30: [1, 2], // BF16
  34: [256, 54], // TQ1_0
  35: [256, 66], // TQ2_0
  39: [32, 17], // MXFP4
};

const scalarBytes: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };

/** Architectures whose layers are not attention followed by a feed-forward network: the usual keys are not asked of them. */
const withoutAttentionKeys = /^(mamba|mamba2|rwkv|rwkv6|rwkv7|arwkv7|rwkv6qwen2)$/;
/** Architectures with LayerNorm, which name their epsilon otherwise than those with RMSNorm. */
const withLayerNorm =
  /^(gpt2|gptj|gptneox|bloom|falcon|mpt|phi2|stablelm|starcoder|starcoder2|refact|persimmon|codeshell|orion|nemotron|jais|command-r|cohere2|dbrx|olmo)$/;
/** Architectures that embed or translate and can't go on writing a text. */
const notWriters = /^(bert|nomic-bert|nomic-bert-moe|jina-bert-v2|modern-bert|neo-bert|t5encoder|clip|wavtokenizer-dec)$/;

/**
 * Reads the header of a GGUF file.
 * @throws ModelFormatError when the file is missing, is no GGUF file, is cut short, or contradicts itself
 */
export function readGgufHeader(path: string): GgufHeader {
  if (!existsSync(path))
    throw new ModelFormatError(`${path}: no such model file.`, {
      mend: "Check the path, or give an address such as hf:owner/repository/file.gguf.",
    });
  const file = openSync(path, "r");
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new ModelFormatError(`${path}: this is not a file, expected a GGUF file.`);
    return parse(new Cursor(file, stat.size, path), path, stat.size);
  } finally {
    closeSync(file);
  }
}

/**
 * Reads the header and checks all that llama.cpp needs to write text with the model.
 * @throws ModelFormatError naming what is missing or damaged
 */
export function checkGguf(path: string): GgufHeader {
  const header = readGgufHeader(path);
  checkArchitecture(header);
  checkTokenizer(header);
  checkTensors(header);
  return header;
}

function parse(cursor: Cursor, path: string, fileBytes: number): GgufHeader {
  const magic = fileBytes >= 4 ? cursor.bytes(4).toString("latin1") : "";
  if (magic !== "GGUF") {
    throw new ModelFormatError(`${path}: this is not a GGUF file: it starts with ${JSON.stringify(magic)}, expected "GGUF".`, {
      mend: "Use a model in GGUF format. A file of a few hundred bytes is often a Git LFS pointer or an error page instead of the model.",
    });
  }
  const version = cursor.u32();
  if (version !== 2 && version !== 3)
    throw new ModelFormatError(`${path}: GGUF version ${version}, expected 2 or 3 in little-endian order.`, {
      mend: "Convert the model anew with a current llama.cpp.",
    });
  const tensorCount = cursor.count();
  const keyCount = cursor.count();
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const key = cursor.string();
    metadata.set(key, cursor.value(cursor.u32()));
  }
  const alignment = Number(metadata.get("general.alignment") ?? 32);
  if (!Number.isInteger(alignment) || alignment <= 0 || alignment % 8 !== 0)
    throw new ModelFormatError(`${path}: general.alignment is ${alignment}, expected a multiple of 8.`);
  const described: (Omit<GgufTensor, "offset"> & { relative: number })[] = [];
  for (let i = 0; i < tensorCount; i++) {
    const name = cursor.string();
    const dimensions = cursor.u32();
    if (dimensions > 4)
      throw new ModelFormatError(`${path}: tensor "${name}" has ${dimensions} dimensions, expected at most 4. The file is damaged.`);
    const shape = Array.from({ length: dimensions }, () => cursor.count());
    const type = cursor.u32();
    const relative = cursor.count();
    const block = blockSizes[type];
    described.push({ name, shape, type, relative, bytes: block && (shape.reduce((a, b) => a * b, 1) / block[0]) * block[1] });
  }
  const dataOffset = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = described.map(({ relative, ...tensor }) => ({ ...tensor, offset: dataOffset + relative }));
  return { path, version, fileBytes, dataOffset, metadata, tensors };
}

function checkArchitecture(header: GgufHeader): void {
  const { path, metadata } = header;
  const architecture = metadata.get("general.architecture");
  if (typeof architecture !== "string" || architecture === "") throw missing(path, ["general.architecture"]);
  if (notWriters.test(architecture)) {
    throw new ModelFormatError(`${path}: a model of architecture "${architecture}" can't write text.`, {
      mend: "Use a language model that continues text, such as a LLaMA, Mistral or Qwen in GGUF form.",
    });
  }
  const needed = ["context_length", "embedding_length", "block_count"];
  if (!withoutAttentionKeys.test(architecture)) {
    needed.push(
      "feed_forward_length",
      "attention.head_count",
      withLayerNorm.test(architecture) ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
    );
  }
  const lacking = needed
    .map((key) => `${architecture}.${key}`)
    // Which epsilon an architecture uses is not always known here; either will do, none would abort the process.
    .filter(
      (key) =>
        !metadata.has(key) &&
        !(
          key.endsWith("epsilon") &&
          (metadata.has(`${architecture}.attention.layer_norm_epsilon`) || metadata.has(`${architecture}.attention.layer_norm_rms_epsilon`))
        ),
    );
  if (lacking.length > 0) throw missing(path, lacking);
  for (const key of needed) {
    const value = metadata.get(`${architecture}.${key}`);
    if ((typeof value === "number" || typeof value === "bigint") && !(Number(value) > 0)) {
      throw new ModelFormatError(`${path}: ${architecture}.${key} is ${value}, expected a positive number.`, {
        mend: "Convert the model anew, or use another file.",
      });
    }
  }
  checkProportions(header, architecture);
}

/** Proportions over which llama.cpp stops the process, found by trying; where layers differ, keys hold lists and are left to it. */
function checkProportions({ path, metadata }: GgufHeader, architecture: string): void {
  const number = (key: string): number | undefined => {
    const value = metadata.get(`${architecture}.${key}`);
    return typeof value === "number" || typeof value === "bigint" ? Number(value) : undefined;
  };
  const [width, heads, keyHeads, experts = 0, used = 0] = [
    "embedding_length",
    "attention.head_count",
    "attention.head_count_kv",
    "expert_count",
    "expert_used_count",
  ].map((key) => number(key));
  const wrong =
    heads !== undefined && width !== undefined && heads > width
      ? `attention.head_count is ${heads}, more than embedding_length, ${width}`
      : keyHeads !== undefined && heads !== undefined && (keyHeads < 1 || heads % keyHeads !== 0)
        ? `attention.head_count_kv is ${keyHeads}, expected a divisor of attention.head_count, ${heads}`
        : experts > 512 || used > experts || (experts > 0 && used === 0)
          ? `expert_count is ${experts} and expert_used_count ${used}`
          : undefined;
  if (wrong !== undefined) {
    throw new ModelFormatError(`${path}: ${architecture}.${wrong}; llama.cpp would end the whole process over it.`, {
      mend: "Convert the model anew, or use another file.",
    });
  }
}

function checkTokenizer({ path, metadata }: GgufHeader): void {
  const kind = metadata.get("tokenizer.ggml.model");
  const tokens = metadata.get("tokenizer.ggml.tokens");
  const lacking = [
    ...(typeof kind === "string" ? [] : ["tokenizer.ggml.model"]),
    ...(Array.isArray(tokens) && tokens.length > 0 ? [] : ["tokenizer.ggml.tokens"]),
  ];
  if (lacking.length > 0) throw missing(path, lacking);
  const list = tokens as readonly string[];
  if (typeof list[0] !== "string") throw new ModelFormatError(`${path}: tokenizer.ggml.tokens holds no text. The file is damaged.`);
  for (const key of ["tokenizer.ggml.scores", "tokenizer.ggml.token_type"]) {
    const beside = metadata.get(key);
    if (Array.isArray(beside) && beside.length !== list.length) {
      throw new ModelFormatError(`${path}: ${key} has ${beside.length} entries, expected one for each of the ${list.length} tokens.`, {
        mend: "Convert the model anew, or use another file.",
      });
    }
  }
  if (kind === "llama" && !list.includes("<0x0A>") && !list.includes("\n")) {
    throw new ModelFormatError(
      `${path}: the vocabulary of ${list.length} tokens has no newline token ("<0x0A>"); llama.cpp can't load such a model.`,
      { mend: "Use another model: this one could not end a line." },
    );
  }
}

function checkTensors({ path, fileBytes, tensors }: GgufHeader): void {
  if (tensors.length === 0)
    throw new ModelFormatError(`${path}: the file holds no weights.`, {
      mend: "This may be the vocabulary or the first part of a model: use the file with the weights.",
    });
  for (const { name, offset, bytes } of tensors) {
    const end = offset + (bytes ?? 1);
    if (!Number.isSafeInteger(Math.ceil(end)) || end > fileBytes) {
      throw new ModelFormatError(`${path}: the file is cut short: tensor "${name}" ends at byte ${end}, the file has ${fileBytes}.`, {
        mend: "Download or copy the file again.",
      });
    }
  }
}

function missing(path: string, keys: readonly string[]): ModelFormatError {
  return new ModelFormatError(`${path}: the GGUF header lacks ${keys.join(", ")}; llama.cpp would end the whole process over it.`, {
    mend: "Convert the model anew with a current llama.cpp, or use another file.",
  });
}

/** Reads little-endian values one after another through a window of one megabyte. */
class Cursor {
  position = 0;
  #window = Buffer.alloc(0);
  #start = 0;

  constructor(
    private readonly file: number,
    private readonly size: number,
    private readonly path: string,
  ) {}

  bytes(length: number): Buffer {
    if (this.position + length > this.size) {
      throw new ModelFormatError(
        `${this.path}: the file is cut short: its header goes on at byte ${this.position + length}, the file has ${this.size}.`,
        { mend: "Download or copy the file again." },
      );
    }
    if (this.position < this.#start || this.position + length > this.#start + this.#window.length) {
      const window = Buffer.alloc(Math.min(Math.max(length, 1 << 20), this.size - this.position));
      for (let read = 0; read < window.length;) {
        const got = readSync(this.file, window, read, window.length - read, this.position + read);
        if (got === 0) throw new ModelFormatError(`${this.path}: the file became shorter while it was read.`);
        read += got;
      }
      this.#window = window;
      this.#start = this.position;
    }
    const at = this.position - this.#start;
    this.position += length;
    return this.#window.subarray(at, at + length);
  }

  u32(): number {
    return this.bytes(4).readUInt32LE(0);
  }

  /** A 64-bit number that counts or measures something in this file. */
  count(): number {
    const value = this.bytes(8).readBigUInt64LE(0);
    if (value > 1n << 48n)
      throw new ModelFormatError(`${this.path}: a count of ${value} at byte ${this.position - 8} of the header. The file is damaged.`);
    return Number(value);
  }

  string(): string {
    const length = this.count();
    if (this.position + length > this.size)
      throw new ModelFormatError(
        `${this.path}: the file is cut short or damaged: a text of ${length} bytes at byte ${this.position}, the file has ${this.size}.`,
        { mend: "Download or copy the file again." },
      );
    return this.bytes(length).toString("utf8");
  }

  value(type: number): GgufValue {
    if (type === 9) return this.array();
    return this.scalar(type);
  }

  private scalar(type: number): number | bigint | boolean | string {
    if (type === 8) return this.string();
    const width = scalarBytes[type];
    if (width === undefined)
      throw new ModelFormatError(
        `${this.path}: unknown kind of value ${type} at byte ${this.position} of the header. The file is damaged.`,
      );
    const bytes = this.bytes(width);
    switch (type) {
      case 0:
        return bytes.readUInt8(0);
      case 1:
        return bytes.readInt8(0);
      case 2:
        return bytes.readUInt16LE(0);
      case 3:
        return bytes.readInt16LE(0);
      case 4:
        return bytes.readUInt32LE(0);
      case 5:
        return bytes.readInt32LE(0);
      case 6:
        return bytes.readFloatLE(0);
      case 7:
        return bytes.readUInt8(0) !== 0;
      case 10:
        return bytes.readBigUInt64LE(0);
      case 11:
        return bytes.readBigInt64LE(0);
      default:
        return bytes.readDoubleLE(0);
    }
  }

  private array(): readonly (number | bigint | boolean | string)[] {
    const type = this.u32();
    const length = this.count();
    // An entry takes at least this many bytes: a length that can't fit is damage, not a reason to fill the memory.
    if (this.position + length * (type === 8 ? 8 : (scalarBytes[type] ?? 1)) > this.size) {
      throw new ModelFormatError(
        `${this.path}: the file is cut short or damaged: a list of ${length} entries at byte ${this.position}, the file has ${this.size}.`,
        { mend: "Download or copy the file again." },
      );
    }
    return Array.from({ length }, () => this.scalar(type));
  }
}
