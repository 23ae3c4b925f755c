/**
 * Text files with one text a line, read as Python's `readlines()` reads them: \n, \r\n and \r end a line, nothing else does.
 */
import { createReadStream } from "node:fs";
import { decodeText } from "../../data/index.ts";
import { explainReadFailure } from "../../support/index.ts";

/**
 * The lines of a file, without their ends, some thousands at a time. A byte order mark at the beginning is no part of the first.
 * @throws DataError when there is no such file, or a line is not valid UTF-8: it says which
 */
export async function* readLines(path: string): AsyncGenerator<string[]> {
  let rest: Buffer = Buffer.alloc(0);
  let before = 0;
  const decode = (bytes: Buffer): string[] => {
    const lines = decodeText(bytes, (line) => `${path}: line ${before + line}`).split(/\r\n|\n|\r/);
    if (lines.at(-1) === "") lines.pop();
    if (before === 0 && lines.length > 0) lines[0] = lines[0]!.replace(/^\ufeff/, "");
    before += lines.length;
    return lines;
  };
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 18 })) {
      const bytes = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
      // A \r at the very end may be the first half of \r\n.
      const end = Math.max(bytes.lastIndexOf(0x0a), bytes.length < 2 ? -1 : bytes.lastIndexOf(0x0d, bytes.length - 2)) + 1;
      rest = bytes.subarray(end);
      if (end > 0) yield decode(bytes.subarray(0, end));
    }
  } catch (error) {
    throw explainReadFailure(error, path);
  }
  if (rest.length > 0) yield decode(rest);
}
