/**
 * UTF-8 that is refused where it is none, with the line: a text in another encoding must not reach a model as broken letters.
 */
import { isUtf8 } from "node:buffer";
import { DataError } from "../support/index.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Bytes as text.
 * @param where says in words which line is meant, counted from 1 in these bytes
 * @throws DataError when they are not valid UTF-8
 */
export function decodeText(bytes: Buffer, where: (line: number) => string): string {
  try {
    return strict.decode(bytes);
  } catch (error) {
    let line = 1;
    for (let from = 0; ; line++) {
      const [feed, back] = [bytes.indexOf(0x0a, from), bytes.indexOf(0x0d, from)];
      const end = feed === -1 ? back : back === -1 || back > feed || back + 1 === feed ? feed : back;
      if (end === -1 || !isUtf8(bytes.subarray(from, end))) break;
      from = end + 1;
    }
    throw new DataError(`${where(line)} is not valid UTF-8.`, {
      mend: "Convert the file, for instance with `iconv -f WINDOWS-1252 -t UTF-8`, or mend that text.",
      cause: error,
    });
  }
}
