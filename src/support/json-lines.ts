/**
 * Files with a value of JSON in each line, to which a process adds while it works.
 *
 * A process that is killed may leave half a line at the end, which counts as not written. Any other line that can't be read is damage: it
 * was there once, and whoever reads must not go on as if it never had been.
 */
import { createReadStream } from "node:fs";
import { DataError } from "./errors.ts";
import { readText } from "./files.ts";

/** A line that could be read, or, where damage is marked, one that could not. */
export interface JsonLine {
  /** Counted from 1. */
  readonly number: number;
  /** As it stands in the file, without its line break. */
  readonly text: string;
  /** Undefined in a damaged line. */
  readonly value: unknown;
  /** What is wrong with a damaged line, with file and number. */
  readonly error?: DataError;
}

/** How lines are read that can't be. */
export interface JsonLinesOptions {
  /** What to do about a line that can't be read, where it is thrown. */
  mend?: string;
  /** What becomes of damaged lines: the first is thrown, or they are among the others, each with its `error`. Default "throw". */
  damaged?: "throw" | "mark";
}

/**
 * The lines of a file.
 * @param what names the kind of file in messages ("record of a packing")
 * @returns `torn`: the file does not end with a whole line, and must not be added to as it is
 * @throws DataError when there is no such file; when a line is damaged and that is not to be marked, naming file and line
 */
export function readJsonLines(path: string, what: string, options: JsonLinesOptions): { lines: JsonLine[]; torn: boolean } {
  const texts = readText(path, what).split("\n");
  const unfinished = texts.at(-1) !== "";
  if (!unfinished) texts.pop();
  const parser = new LineParser(path, options);
  const lines = [...parser.parse(texts)];
  return { lines, torn: unfinished || parser.lastIsBad };
}

/**
 * The lines of a file that may be long, some at a time.
 * @throws DataError when a line is damaged and that is not to be marked, naming file and line
 */
export async function* streamJsonLines(path: string, options: JsonLinesOptions): AsyncGenerator<JsonLine[]> {
  const parser = new LineParser(path, options);
  let rest = "";
  for await (const chunk of createReadStream(path, "utf8")) {
    // Lines end with \n and nothing else: a text may hold the line separators of Unicode, which Node's readline splits at.
    const texts = (rest + (chunk as string)).split("\n");
    rest = texts.pop()!;
    const lines = [...parser.parse(texts)];
    if (lines.length > 0) yield lines;
  }
  const last = rest === "" ? [] : [...parser.parse([rest])];
  if (last.length > 0) yield last;
}

/** Reads line after line. A bad one is damage as soon as another follows. */
class LineParser {
  readonly #path: string;
  readonly #options: JsonLinesOptions;
  #count = 0;
  #bad: { number: number; text: string; reason: Error } | undefined;

  constructor(path: string, options: JsonLinesOptions) {
    this.#path = path;
    this.#options = options;
  }

  get lastIsBad(): boolean {
    return this.#bad !== undefined;
  }

  *parse(texts: readonly string[]): Generator<JsonLine> {
    for (const text of texts) {
      if (this.#bad) yield this.#damaged(this.#bad);
      this.#bad = undefined;
      const number = ++this.#count;
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch (error) {
        this.#bad = { number, text, reason: error as Error };
        continue;
      }
      yield { number, text, value };
    }
  }

  #damaged({ number, text, reason }: { number: number; text: string; reason: Error }): JsonLine {
    const { mend, damaged = "throw" } = this.#options;
    const error = new DataError(`${this.#path}: line ${number} is not valid JSON (${reason.message}).`, {
      ...(mend === undefined ? {} : { mend }),
      cause: reason,
    });
    if (damaged === "throw") throw error;
    return { number, text, value: undefined, error };
  }
}
