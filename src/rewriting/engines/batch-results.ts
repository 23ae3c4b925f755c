/**
 * The results of batches: files with a line for each request, in any order. Only where each line lies is kept in memory, by the
 * request's name; an answer is read when it is asked for.
 */
import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { HashedKeys } from "../../data/index.ts";
import { DataError, explainReadFailure } from "../../support/index.ts";

/** What became of a request: the body of its answer, or what went wrong. */
export type BatchResult = { readonly body: unknown } | { readonly error: string };

interface Place {
  readonly file: number;
  readonly offset: number;
  readonly length: number;
}

interface ResultLine {
  readonly custom_id?: unknown;
  readonly response?: { readonly status_code?: unknown; readonly body?: unknown } | null;
  readonly error?: { readonly message?: unknown } | null;
}

/** Results by the name of their request. */
export class BatchResults {
  readonly #files: readonly number[];
  readonly #numbers = new HashedKeys();
  readonly #places: Place[] = [];

  private constructor(files: readonly number[]) {
    this.#files = files;
  }

  /**
   * Looks through files of results. Where several answer one request, the last one with an answer counts.
   * @throws DataError when a file is missing, or a line is no result: it says which, and nothing was used yet
   */
  static async open(paths: readonly string[]): Promise<BatchResults> {
    const files: number[] = [];
    try {
      for (const path of paths) files.push(open(path));
      const results = new BatchResults(files);
      for (const [file, path] of paths.entries()) await results.#read(file, path);
      return results;
    } catch (error) {
      for (const file of files) closeSync(file);
      throw error;
    }
  }

  /** Number of requests that have a result. */
  get count(): number {
    return this.#places.length;
  }

  get(name: string): BatchResult | undefined {
    const number = this.#numbers.get(name);
    if (number === undefined) return undefined;
    const { file, offset, length } = this.#places[number]!;
    const bytes = Buffer.alloc(length);
    readSync(this.#files[file]!, bytes, 0, length, offset);
    return resultOf(JSON.parse(bytes.toString("utf8")) as ResultLine);
  }

  close(): void {
    for (const file of this.#files) closeSync(file);
  }

  async #read(file: number, path: string): Promise<void> {
    let row = 0;
    for await (const { bytes, offset } of lines(path)) {
      row++;
      const text = bytes.toString("utf8").replace(/^\ufeff/, "");
      if (text.trim() === "") continue;
      let line: ResultLine | null;
      try {
        line = JSON.parse(text) as ResultLine | null;
      } catch (error) {
        throw new DataError(`${path}: line ${row} is not valid JSON (${(error as Error).message}).`, {
          mend: "Fetch the file again: it may have been cut off.",
          cause: error,
        });
      }
      if (typeof line?.custom_id !== "string" || (line.response === undefined && line.error === undefined)) {
        throw new DataError(`${path}: line ${row} is no result of a batch: ${text.slice(0, 100)}`, {
          mend: "Expected lines with `custom_id` and `response` or `error`: the results, not the requests.",
        });
      }
      const before = this.#numbers.get(line.custom_id);
      const place = { file, offset: offset + bytes.indexOf(0x7b), length: bytes.length - bytes.indexOf(0x7b) };
      if (before === undefined) {
        this.#numbers.set(line.custom_id, this.#places.length);
        this.#places.push(place);
      } else if ("body" in resultOf(line)) this.#places[before] = place;
    }
  }
}

function open(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw explainReadFailure(error, path);
  }
}

function resultOf({ response, error }: ResultLine): BatchResult {
  if (error !== undefined && error !== null) {
    const words = typeof error.message === "string" ? error.message : JSON.stringify(error);
    return { error: words.slice(0, 300) };
  }
  if (response === undefined || response === null) return { error: "there is neither an answer nor an error" };
  const { status_code: status = 200, body } = response;
  if (typeof status === "number" && status >= 200 && status < 300) return { body };
  return { error: `status ${JSON.stringify(status)}: ${(JSON.stringify(body) ?? "").slice(0, 200)}` };
}

/** Lines as bytes, with where they begin. */
async function* lines(path: string): AsyncGenerator<{ bytes: Buffer; offset: number }> {
  let rest: Buffer[] = [];
  let offset = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    let from = 0;
    for (let end = (chunk as Buffer).indexOf(0x0a); end !== -1; end = (chunk as Buffer).indexOf(0x0a, from)) {
      const bytes = Buffer.concat([...rest, (chunk as Buffer).subarray(from, end)]);
      yield { bytes, offset };
      offset += bytes.length + 1;
      rest = [];
      from = end + 1;
    }
    if (from < (chunk as Buffer).length) rest.push((chunk as Buffer).subarray(from));
  }
  if (rest.length > 0) yield { bytes: Buffer.concat(rest), offset };
}
