/**
 * The log of a rewrites folder: a line of JSON for each rewrite that is in no part yet.
 *
 * Lines that come in one turn of the event loop are handed to the operating system together: one call for each would cost more than
 * the rest of the bookkeeping. Once handed over they survive the end of the process, and a second later also a power cut.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, rmSync } from "node:fs";
import { z } from "zod";
import { DataError, explainWriteFailure, streamJsonLines, writeAll } from "../support/index.ts";
import type { Rewrite } from "./rewrites-folder.ts";

/** Milliseconds, and UTF-16 units, after which lines are handed over even if the turn goes on. */
const longestWait = 5;
const mostUnits = 1 << 16;
/** Milliseconds between two syncs to disk. */
const syncEvery = 1000;

/** A log that this process appends to. */
export class RewritesLog {
  #file: number | undefined;
  /** Bytes that the file holds for certain, all of them whole lines. */
  #size = 0;
  #lines: string[] = [];
  #units = 0;
  #oldest = 0;
  #atTurnsEnd: NodeJS.Immediate | undefined;
  #syncedAt = performance.now();

  constructor(readonly path: string) {}

  /**
   * Adds a line, with its line break.
   * @throws LaclipError when earlier lines can't be written; they are kept, and tried again with the next
   */
  add(line: string): void {
    this.#lines.push(line);
    this.#units += line.length;
    const now = performance.now();
    if (this.#lines.length === 1) this.#oldest = now;
    // With an engine that never waits for anything, a turn never ends.
    if (this.#units >= mostUnits || now - this.#oldest >= longestWait) this.flush();
    else this.#atTurnsEnd ??= setImmediate(() => this.#flushUnasked());
  }

  /** Hands all lines over to the operating system. */
  flush(): void {
    clearImmediate(this.#atTurnsEnd);
    this.#atTurnsEnd = undefined;
    if (this.#lines.length === 0) return;
    const bytes = Buffer.from(this.#lines.join(""), "utf8");
    try {
      if (this.#file === undefined) [this.#file, this.#size] = openedLog(this.path);
      writeAll(this.#file, bytes);
      if (performance.now() - this.#syncedAt > syncEvery) this.#sync();
    } catch (error) {
      // Half a line in the middle of a log would be damage; taken back, the disk holds exactly what it held before.
      if (this.#file !== undefined) ftruncateSync(this.#file, this.#size);
      throw explainWriteFailure(error, this.path);
    }
    this.#size += bytes.length;
    this.#lines = [];
    this.#units = 0;
  }

  /** Hands over and syncs to disk. */
  sync(): void {
    this.flush();
    this.#sync();
  }

  /** Syncs and closes; calling it twice is harmless. */
  close(): void {
    try {
      this.sync();
    } finally {
      if (this.#file !== undefined) closeSync(this.#file);
      this.#file = undefined;
    }
  }

  /** Closes and removes the file. */
  remove(): void {
    this.close();
    rmSync(this.path);
  }

  #flushUnasked(): void {
    try {
      this.flush();
    } catch {
      // There is nobody here who could be told. The lines are still there; the next one is handed over at once, and then it is said.
    }
  }

  #sync(): void {
    if (this.#file !== undefined) fsyncSync(this.#file);
    this.#syncedAt = performance.now();
  }
}

/** A log's file, and the bytes in it. Without knowing these, a failure would take back all that earlier processes wrote. */
function openedLog(path: string): [file: number, size: number] {
  const file = openSync(path, "a");
  try {
    return [file, fstatSync(file).size];
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/** A line of a log. */
const rewriteSchema = z.object({
  id: z.string(),
  source: z.string(),
  text: z.string(),
  flags: z.array(z.string()),
  finish: z.string(),
  tokens: z.number().int(),
  seed: z.number().int(),
  examples: z.array(z.string()),
  weight: z.number().positive().max(1).exactOptional(),
  fit: z.number().min(-2).max(2).exactOptional(),
  captionCosine: z.number().min(-1).max(1).exactOptional(),
  captionWeight: z.number().positive().max(1).exactOptional(),
}) satisfies z.ZodType<Rewrite>;

/**
 * The rewrites in a log, in batches. Its last line may be torn; any other bad line is damage.
 * @throws DataError naming the line
 */
export async function* readLog(log: string): AsyncGenerator<Rewrite[]> {
  const mend = "Remove that line; start the rewriting again and the missing rewrites are made anew.";
  for await (const lines of streamJsonLines(log, { mend })) {
    yield lines.map(({ number, value }) => {
      const found = rewriteSchema.safeParse(value);
      if (found.success) return found.data;
      const issue = found.error.issues[0]!;
      throw new DataError(`${log}: line ${number} is no rewrite: ${issue.path.join(".") || "the whole line"}: ${issue.message}.`, { mend });
    });
  }
}

/** Cuts off a last line that a crash left unfinished; returns the number of lines that stay. */
export function cutTornLine(log: string): number {
  const file = openSync(log, "r+");
  try {
    const buffer = Buffer.allocUnsafe(1 << 20);
    let [position, end, count] = [0, 0, 0];
    for (;;) {
      const read = readSync(file, buffer, 0, buffer.length, position);
      if (read === 0) break;
      const bytes = buffer.subarray(0, read);
      for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) {
        count++;
        end = position + at + 1;
      }
      position += read;
    }
    if (end < position) ftruncateSync(file, end);
    return count;
  } finally {
    closeSync(file);
  }
}
