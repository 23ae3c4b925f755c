/** Writes a file from several pieces of memory without joining them first. */
import { closeSync, fsyncSync, openSync } from "node:fs";
import { explainWriteFailure, writeAll } from "../support/index.ts";

/**
 * Writes `parts` one after another to a new file and waits until it is on disk.
 *
 * @throws LaclipError when the disk is full or the folder may not be written; a part of the file may be left then
 */
export function writeParts(path: string, parts: Iterable<Uint8Array>): void {
  try {
    const file = openSync(path, "w");
    try {
      for (const part of parts) writeAll(file, part);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw explainWriteFailure(error, path);
  }
}
