/**
 * Images that lie in a table, put beside each other in a file so that any of them can be had at any time: a parquet file gives its rows
 * only one after the other.
 */
import { tmpdir } from "node:os";
import { explainWriteFailure, writeAll } from "../support/index.ts";
import { openUnnamed } from "./byte-log.ts";
import type { FilePart } from "./image-source.ts";

/** Collects images; the file has no name and is gone with the process. */
export class HeldImages {
  readonly #folder: string;
  readonly #file: number;
  #end = 0;

  /** @throws LaclipError when the folder can't be written to */
  constructor(folder: string = tmpdir()) {
    this.#folder = folder;
    this.#file = openUnnamed(folder);
  }

  /**
   * Adds an image and says where it is.
   * @param name what messages call it
   * @param hash SHA-256 of the bytes, for those who keep what they make of the image
   * @throws LaclipError when the disk is full
   */
  add(bytes: Uint8Array, name: string, hash?: string): FilePart {
    const offset = this.#end;
    try {
      writeAll(this.#file, bytes, offset);
    } catch (error) {
      throw explainWriteFailure(error, this.#folder);
    }
    this.#end += bytes.byteLength;
    // A file without a name is reached through the process that has it open.
    const part = { file: `/proc/self/fd/${this.#file}`, offset, size: bytes.byteLength, name };
    return hash === undefined ? part : { ...part, hash };
  }
}
