/** Files of models: opened, and as many bytes of them read as were asked for. */
import { openSync, readSync } from "node:fs";
import { ModelFormatError } from "../support/index.ts";

/** What to do about a file that is damaged. */
export const fetchAgain = "Copy or download the file again.";

/** Opens a file for reading. @throws ModelFormatError when that can't be done */
export function openToRead(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw new ModelFormatError(`${path}: can't be opened (${(error as Error).message}).`, { cause: error });
  }
}

/**
 * `length` bytes from `position` on, in memory of their own.
 * @param path what messages call the file
 * @throws ModelFormatError when the file ends before
 */
export function readRange(path: string, file: number, position: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const got = readSync(file, bytes, done, Math.min(length - done, 1 << 30), position + done);
    if (got === 0) throw new ModelFormatError(`${path}: the file became shorter while it was read.`, { mend: fetchAgain });
    done += got;
  }
  return bytes;
}
