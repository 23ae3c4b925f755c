/**
 * Files that are either whole or not there: written beside their place, synced, renamed.
 *
 * Whoever writes is given the name beside the place. A failure takes away what was written, and speaks of the file by its own name.
 */
import { closeSync, createWriteStream, fsyncSync, openSync, renameSync } from "node:fs";
import type { WriteStream } from "node:fs";
import { dirname } from "node:path";
import { finished } from "node:stream/promises";
import { clearAway, explainReplacing, explainWriteFailure, syncFolder, writeFileSynced } from "./files.ts";

/**
 * Replaces `path` in one step by the file that `write` makes: a reader, or a crash at any moment, sees the old file or the new one.
 * @param write makes the file under the name that it is given; it need not sync it
 * @throws UsageError when no file can be made there, LaclipError when the disk is full or not to be written to; whatever `write` throws
 */
export function replaceFileSync(path: string, write: (beside: string) => void): void {
  const beside = nameBeside(path);
  try {
    write(beside);
    putInPlace(beside, path);
  } catch (error) {
    throw givenUp(error, beside, path);
  }
}

/** The same, for what takes its time. */
export async function replaceFile(path: string, write: (beside: string) => Promise<void>): Promise<void> {
  const beside = nameBeside(path);
  try {
    await write(beside);
    putInPlace(beside, path);
  } catch (error) {
    throw givenUp(error, beside, path);
  }
}

/** Replaces `path` by `content` in one step; see {@link replaceFileSync}. */
export function writeFileAtomic(path: string, content: string | Uint8Array): void {
  replaceFileSync(path, (beside) => writeFileSynced(beside, content));
}

/** A file that is written as a stream, piece by piece; it is in its place when `finish` returns. */
export class ReplacingStream {
  /** Takes the pieces, and is ended by whoever has handed over the last. */
  readonly stream: WriteStream;
  readonly #beside: string;
  readonly #done: Promise<void>;
  #failure: { error: Error } | undefined;

  /**
   * Begins a file.
   * @param path in a folder that there is; where it can't be made, the stream fails
   * @param options.highWaterMark bytes that wait in memory before the stream asks for patience
   * @param options.onFailure hears of the stream's failure at once
   */
  constructor(
    readonly path: string,
    { onFailure, ...options }: { highWaterMark?: number; onFailure?: (error: Error) => void } = {},
  ) {
    this.#beside = nameBeside(path);
    this.stream = createWriteStream(this.#beside, options);
    this.#done = finished(this.stream);
    this.#done.catch((error: Error) => {
      this.#failure = { error };
      onFailure?.(error);
    });
  }

  /** @throws whatever the stream has failed with, explained */
  assertSound(): void {
    if (this.#failure) throw this.explain(this.#failure.error);
  }

  /** Why nothing more can be written: where the stream has failed, its reason, else `error`. */
  explain(error: unknown): unknown {
    return explainWriteFailure(this.#failure?.error ?? error, this.path);
  }

  /** Waits for the end of the stream and puts the file in its place. */
  async finish(): Promise<void> {
    try {
      await this.#done;
      putInPlace(this.#beside, this.path);
    } catch (error) {
      await this.abandon();
      throw this.explain(error);
    }
  }

  /** Removes what was written so far. */
  async abandon(): Promise<void> {
    this.stream.destroy();
    // Only then is it sure that the file will not be made after it was removed.
    await this.#done.catch(() => undefined);
    clearAway(this.#beside);
  }
}

function nameBeside(path: string): string {
  return `${path}.tmp-${process.pid}`;
}

function putInPlace(beside: string, path: string): void {
  const file = openSync(beside, "r+");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(beside, path);
  syncFolder(dirname(path));
}

function givenUp(error: unknown, beside: string, path: string): unknown {
  clearAway(beside);
  return explainReplacing(error, beside, path);
}
