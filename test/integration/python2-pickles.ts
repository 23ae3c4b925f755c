/** Pickles as Python 2 with NumPy wrote CIFAR's batches: protocol 2, texts as bytes, pixels as the state of an array. For tests. */

const ascii = (text: string): Buffer => Buffer.from(text, "latin1");

/** Texts up to 255 bytes have a length of one byte, longer ones of four. */
function bytes(value: Uint8Array | string): Buffer {
  const data = typeof value === "string" ? Buffer.from(value, "utf8") : Buffer.from(value);
  if (data.length < 256) return Buffer.concat([ascii("U"), Buffer.from([data.length]), data]);
  const head = Buffer.alloc(5);
  head.write("T");
  head.writeUInt32LE(data.length, 1);
  return Buffer.concat([head, data]);
}

function integer(value: number): Buffer {
  if (value < 256) return Buffer.concat([ascii("K"), Buffer.from([value])]);
  const head = Buffer.alloc(3);
  head.write("M");
  head.writeUInt16LE(value, 1);
  return head;
}

let memo = 0;
/** Everything that might be named again gets a number. */
const remembered = (data: Buffer): Buffer => Buffer.concat([data, ascii("q"), Buffer.from([memo++ % 256])]);

function list(items: readonly Buffer[]): Buffer {
  return Buffer.concat([remembered(ascii("]")), ascii("("), ...items, ascii("e")]);
}

function dictionary(entries: Readonly<Record<string, Buffer>>): Buffer {
  memo = 0;
  const parts = Object.entries(entries).flatMap(([key, value]) => [remembered(bytes(key)), value]);
  return Buffer.concat([Buffer.from([0x80, 2]), remembered(ascii("}")), ascii("("), ...parts, ascii("u.")]);
}

/** The file of names, `batches.meta` or `meta`. */
export function pickledFacts(key: string, names: readonly string[]): Uint8Array {
  return dictionary({ num_vis: integer(3072), [key]: list(names.map((name) => remembered(bytes(name)))) });
}

/** A batch: images of `[3, 32, 32]` bytes, their labels and names. */
export function pickledBatch(labelKey: string, labels: readonly number[], images: readonly Uint8Array[]): Uint8Array {
  const array = Buffer.concat([
    remembered(ascii("cnumpy.core.multiarray\n_reconstruct\n")),
    remembered(ascii("cnumpy\nndarray\n")),
    ascii("K\0\x85"),
    remembered(bytes("b")),
    ascii("\x87R("),
    ascii("K\x01"),
    integer(labels.length),
    integer(3072),
    ascii("\x86"),
    ascii("cnumpy\ndtype\n"),
    remembered(bytes("u1")),
    ascii("K\0K\x01\x87R(K\x03"),
    remembered(bytes("|")),
    ascii("NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"),
    ascii("\x89"),
    bytes(Buffer.concat(images)),
    ascii("tb"),
  ]);
  return dictionary({
    batch_label: remembered(bytes("training batch 1 of 5")),
    [labelKey]: list(labels.map((label) => integer(label))),
    data: array,
    filenames: list(labels.map((_, i) => remembered(bytes(`leptodactylus_pentadactylus_s_${i}.png`)))),
  });
}
