/** Writes a file from several pieces of memory without joining them first. */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { explainWriteFailure } from "../support/index.ts";

/** Most bytes of one call: the kernel takes 2 GiB at most. */
const atOnce = 1 << 30;

/**
 * Writes `parts` one after another to a new file and waits until it is on disk.
 *
 * @throws LaclipError when the disk is full or the folder may not be written; a part of the file may be left then
 */
export function writeParts(path: string, parts: Iterable<Uint8Array>): void {
  try {
    const file = openSync(path, "w");
    try {
      for (const part of parts) {
        for (let offset = 0; offset < part.byteLength;) {
          offset += writeSync(file, part, offset, Math.min(part.byteLength - offset, atOnce));
        }
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw explainWriteFailure(error, path);
  }
}
