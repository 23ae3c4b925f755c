/**
 * Where the files of a tar lie, found by hopping from header to header: of what the members hold, next to nothing is read.
 *
 * An index of a data set is made from this, and must give the names that reading gives. So the rules for names are tar-stream's:
 * ustar's prefix, GNU's long names, pax's `path` and `size`. A test holds both against each other.
 * Formats: POSIX.1-2017 (pax, ustar), and the chapter "Basic Tar Format" of GNU tar's manual.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { belongs, explainTarFailure, noPassedOver, paddedSize } from "./tar.ts";
import type { MemberType, PassedOver, Reading, TarPlace } from "./tar.ts";

/**
 * Milliseconds after which others get their turn. Files are read without waiting in between, since a turn of the thread pool costs ten
 * times what a read from the system's cache does; a slow disk gives way after each.
 */
const turn = 20;
/** Bytes read at a time: enough for a sample's texts together with the headers around them, so that most images cost one read. */
const windowSize = 8 << 10;
const block = 512;
/** As in tar-stream: longer than any name or list of attributes. */
const longestExtension = 4 << 20;

type BlockType = MemberType | "pax" | "pax-global" | "gnu-long-name" | "gnu-long-link";

const types: Readonly<Record<string, BlockType>> = {
  "\0": "file",
  "0": "file",
  "1": "link",
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "directory",
  "6": "fifo",
  "7": "contiguous-file",
  x: "pax",
  g: "pax-global",
  L: "gnu-long-name",
  N: "gnu-long-name",
  K: "gnu-long-link",
};

/**
 * The regular files in a tar that is not compressed, in its order, with their places; what else it has is passed over and counted.
 * @param options.passedOver counts are added to it
 * @param options.from a member's `headerOffset` to begin at. Default 0
 * @throws DataError when the file is no tar, is damaged, or was cut off, as `readTar` does
 */
export async function* scanTar(
  path: string,
  { passedOver = noPassedOver(), from = 0 }: { passedOver?: PassedOver; from?: number } = {},
): AsyncGenerator<TarPlace> {
  const read: Reading = { name: path, lastWhole: "", current: "" };
  let file: number | undefined;
  let resting = performance.now();
  try {
    file = openSync(path, "r");
    const window = new Window(file);
    const { size: length } = fstatSync(file);
    let [at, headerOffset, emptyBlocks] = [from, from, 0];
    let extension: Extension = {};
    let shared: Record<string, string> = {};
    while (at < length) {
      if (performance.now() - resting > turn) {
        await setImmediate();
        resting = performance.now();
      }
      const header = decode(window.read(at, block));
      at += block;
      if (!header) {
        emptyBlocks++;
        continue;
      }
      emptyBlocks = 0;
      const { type } = header;
      if (type === "pax" || type === "pax-global" || type === "gnu-long-name" || type === "gnu-long-link") {
        if (header.size > longestExtension) throw new Error("Header exceeds max size");
        const content = window.read(at, header.size);
        if (type === "pax") extension.pax = { ...shared, ...attributes(content) };
        else if (type === "pax-global") shared = attributes(content);
        else if (type === "gnu-long-name") extension.name = text(content, 0, content.length);
        at += paddedSize({ type: null, size: header.size });
        continue;
      }
      const { pax } = extension;
      const name = pax?.["path"] || extension.name || header.name;
      const size = pax?.["size"] ? Number.parseInt(pax["size"], 10) : header.size;
      if (!(size >= 0)) throw new Error("Invalid header");
      read.current = name;
      const end = at + paddedSize({ type, size });
      if (end > length) throw new Error("Unexpected end of data");
      if (belongs({ name, type, pax }, passedOver)) yield { name, size, offset: at, headerOffset };
      [read.lastWhole, read.current, extension] = [name, "", {}];
      [at, headerOffset] = [end, end];
    }
    if (emptyBlocks < 2) {
      throw new Error(length === 0 ? "Unexpected end of data" : "the mark that ends a tar is missing, so the file was probably cut off");
    }
  } catch (error) {
    throw explainTarFailure(error, read);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** What was said of the member that comes next. */
interface Extension {
  name?: string;
  pax?: Record<string, string>;
}

/** The piece of a file around where it is being read. */
class Window {
  #from = 0;
  #length = 0;
  #bytes: Buffer = Buffer.alloc(windowSize);

  constructor(readonly file: number) {}

  /** Valid until the next call. */
  read(at: number, size: number): Buffer {
    if (at < this.#from || at + size > this.#from + this.#length) {
      if (size > this.#bytes.length) this.#bytes = Buffer.alloc(size);
      [this.#from, this.#length] = [at, 0];
      while (this.#length < size) {
        const read = readSync(this.file, this.#bytes, this.#length, this.#bytes.length - this.#length, at + this.#length);
        if (read === 0) throw new Error("Unexpected end of data");
        this.#length += read;
      }
    }
    return this.#bytes.subarray(at - this.#from, at - this.#from + size);
  }
}

/**
 * Reads a header; undefined for an empty block.
 * @throws Error with tar-stream's words, so that both readers call the same thing by the same name
 */
function decode(bytes: Buffer): { name: string; size: number; type: BlockType } | undefined {
  let sum = 8 * 32;
  for (let i = 0; i < block; i++) if (i < 148 || i >= 156) sum += bytes[i]!;
  if (sum === 8 * 32) return undefined;
  if (sum !== number(bytes, 148, 8)) throw new Error("Invalid tar header. Maybe the tar is corrupted or it needs to be gunzipped?");
  const magic = bytes.toString("latin1", 257, 265);
  const ustar = magic.startsWith("ustar\0");
  if (!ustar && magic !== "ustar  \0") throw new Error("Invalid tar header: unknown format.");
  const prefix = ustar ? text(bytes, 345, 155) : "";
  const own = text(bytes, 0, 100);
  const name = prefix === "" ? own : `${prefix}/${own}`;
  return { name, size: number(bytes, 124, 12), type: types[String.fromCharCode(bytes[156]!)] ?? null };
}

/** UTF-8 up to the first zero. */
function text(bytes: Buffer, at: number, length: number): string {
  const end = bytes.subarray(at, at + length).indexOf(0);
  return bytes.toString("utf8", at, at + (end === -1 ? length : end));
}

/** Octal digits; or, where the first bit is set, a big-endian number, as GNU tar writes sizes from 8 GiB on. */
function number(bytes: Buffer, at: number, length: number): number {
  if (bytes[at]! & 0x80) {
    if (bytes[at] !== 0x80) return NaN;
    let value = 0;
    for (let i = at + 1; i < at + length; i++) value = value * 256 + bytes[i]!;
    return value;
  }
  const digits = /^[ \0]*([0-7]*)/.exec(bytes.toString("latin1", at, at + length))![1]!;
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

/** The attributes of a pax header: lines of `LENGTH KEY=VALUE`, the length in bytes and that of the whole line. */
function attributes(bytes: Buffer): Record<string, string> {
  const found: Record<string, string> = {};
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(32, at);
    const length = space === -1 ? 0 : Number.parseInt(bytes.toString("latin1", at, space), 10);
    if (!(length > 0)) break;
    const line = bytes.toString("utf8", space + 1, at + length - 1);
    const equals = line.indexOf("=");
    if (equals === -1) break;
    found[line.slice(0, equals)] = line.slice(equals + 1);
    at += length;
  }
  return found;
}
