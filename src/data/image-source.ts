/**
 * Where the bytes of an image are: in a file of its own, within a larger one such as a tar, or in memory already.
 */
import { closeSync, openSync, read } from "node:fs";
import { promisify } from "node:util";
import type { Pixels } from "../images/index.ts";
import { DataError, explainReadFailure } from "../support/index.ts";

/** Bytes within a file. */
export interface FilePart {
  file: string;
  /** Where they begin. */
  offset: number;
  size: number;
  /** What messages call them. */
  name: string;
  /** SHA-256 of the bytes, where the file itself does not say which they are: one that is made anew by each process. */
  hash?: string;
}

/** Pixels within a file that are not encoded: data sets of small images often are one file of them, without headers. */
export interface RawPixels extends FilePart {
  width: number;
  height: number;
  /**
   * How the `3 * width * height` bytes lie: the whole red plane, then green, then blue, each by rows (CIFAR) or by columns (STL-10).
   */
  order: "planes-by-rows" | "planes-by-columns";
}

/** Path of a file, part of a file, or the bytes themselves. */
export type ImageSource = string | FilePart | Uint8Array;

/** Files that stay open: a data set of many tars must not reach the system's limit. */
const mostOpen = 64;
const readAsync = promisify(read);

/** Files that are read from again and again, the last used last. */
class OpenFiles {
  readonly #files = new Map<string, { file: number; users: number }>();

  async read({ file: path, offset, size, name }: FilePart): Promise<Buffer> {
    const entry = this.#take(path, name);
    entry.users++;
    try {
      const bytes = Buffer.allocUnsafeSlow(size);
      for (let at = 0; at < size;) {
        const { bytesRead } = await readAsync(entry.file, bytes, at, size - at, offset + at).catch((error: unknown) => {
          throw explainReadFailure(error, `${name}: ${path}`);
        });
        if (bytesRead === 0) throw new DataError(`${name}: the file ends before it (${path}).`, { mend: "Fetch or copy the file again." });
        at += bytesRead;
      }
      return bytes;
    } finally {
      entry.users--;
    }
  }

  #take(path: string, name: string): { file: number; users: number } {
    const known = this.#files.get(path);
    this.#files.delete(path);
    const entry = known ?? { file: openFile(path, name), users: 0 };
    this.#files.set(path, entry);
    for (const [other, { file, users }] of this.#files) {
      if (this.#files.size <= mostOpen) break;
      if (users > 0) continue;
      closeSync(file);
      this.#files.delete(other);
    }
    return entry;
  }
}

function openFile(path: string, name: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw explainReadFailure(error, `${name}: ${path}`);
  }
}

const openFiles = new OpenFiles();

/** The form in which decoders take an image: a path, or its bytes. @throws DataError when part of a file can't be read */
export async function imageInput(source: ImageSource): Promise<string | Uint8Array> {
  return typeof source === "string" || source instanceof Uint8Array ? source : await openFiles.read(source);
}

/** What messages call an image. */
export function imageName(source: ImageSource): string {
  return typeof source === "string" ? source : source instanceof Uint8Array ? "image" : source.name;
}

/** RGB pixels by rows from those of a file. @throws DataError when they can't be read */
export async function rawPixels(source: RawPixels): Promise<Pixels> {
  const { width, height, order, name } = source;
  const count = width * height;
  if (source.size !== 3 * count)
    throw new DataError(`${name}: ${source.size} bytes, expected ${3 * count} for ${width} x ${height} pixels.`);
  const planes = await openFiles.read(source);
  const data = new Uint8Array(3 * count);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = order === "planes-by-rows" ? y * width + x : x * height + y;
      for (let plane = from; plane < 3 * count; plane += count) data[at++] = planes[plane]!;
    }
  }
  return { width, height, data };
}
