/**
 * Which line of a jsonl file the database could not read.
 *
 * It counts lines that hold something, and where a line is no JSON at all it has counted that one already (1.5.6). So the line is looked
 * for in the file.
 */
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";

/** What the database says about a line. */
export interface JsonFault {
  file: string;
  /** Number of the line among those that hold something, from 1. */
  record: number;
  /** Byte of the line, from 1 and behind the space it begins with; undefined where the line is JSON. */
  byte: number | undefined;
  reason: string;
}

/** Line of a file, from 1, and the first bytes of it. */
export interface FoundLine {
  line: number;
  start: Buffer;
}

/** Bytes of a line that are shown, and more. */
const startBytes = 400;

/** Reads the database's message; undefined where it says something else. */
export function jsonFault(message: string): JsonFault | undefined {
  const [, torn, file, byte, line, reason] =
    /(Malformed JSON|JSON transform error) in file "([^]+?)",(?: at byte (\d+))? in line (\d+): ([^\n]*)/.exec(message) ?? [];
  if (file === undefined) return undefined;
  const plain = reason!
    .replace(/\. Try auto-detecting the JSON format$/, "")
    .trim()
    .replace(/\.$/, "");
  const counted = torn === "Malformed JSON" ? 1 : 0;
  return { file, record: Number(line) - counted, byte: byte === undefined ? undefined : Number(byte), reason: plain };
}

/** The line of which the database speaks; undefined where the file can't be read here, as one that is compressed with zstd. */
export async function findJsonLine({ file, record }: JsonFault): Promise<FoundLine | undefined> {
  if (/\.zst$/i.test(file)) return undefined;
  const raw = createReadStream(file);
  const stream: Readable = /\.gz$/i.test(file) ? raw.pipe(createGunzip()) : raw;
  raw.once("error", (error) => stream.destroy(error));
  let [line, records, filled] = [1, 0, false];
  const start: number[] = [];
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      for (const value of chunk) {
        if (records === record && (value === newline || start.length === startBytes)) return { line, start: Buffer.from(start) };
        if (value === newline) {
          line++;
          filled = false;
          start.length = 0;
          continue;
        }
        if (!filled && !isSpace(value)) {
          filled = true;
          records++;
        }
        if (start.length < startBytes && (records === record || records === record - 1)) start.push(value);
      }
    }
  } catch {
    // Why the table can't be read is known; this was for the number of the line alone.
    return undefined;
  } finally {
    raw.destroy();
  }
  return records === record ? { line, start: Buffer.from(start) } : undefined;
}

const newline = 10;

function isSpace(value: number): boolean {
  return value === 32 || (value >= 9 && value <= 13);
}
