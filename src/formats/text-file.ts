/**
 * Long text written piece by piece: a file that is there whole or not at all, or a stream that is somebody else's.
 */
import { createWriteStream, renameSync, rmSync } from "node:fs";
import type { WriteStream } from "node:fs";
import { dirname } from "node:path";
import type { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { explainWriteFailure, syncFolder } from "../support/index.ts";

/** A text file that is written beside its place; it is there, synced and renamed, when `finish` returns. */
export class TextFile {
  readonly #beside: string;
  readonly #stream: WriteStream;
  readonly #done: Promise<void>;
  #failure: { error: unknown } | undefined;

  /**
   * Begins a file.
   * @param path in a folder that there is
   */
  constructor(readonly path: string) {
    this.#beside = `${path}.tmp-${process.pid}`;
    this.#stream = createWriteStream(this.#beside, { flush: true });
    this.#done = finished(this.#stream);
    this.#done.catch((error: unknown) => (this.#failure = { error }));
  }

  /**
   * Adds text.
   * @throws UsageError when the file can't be made there, LaclipError when the disk is full or not to be written to
   */
  async write(text: string): Promise<void> {
    try {
      if (this.#failure) throw this.#failure.error;
      await writeText(this.#stream, text);
    } catch (error) {
      throw explainWriteFailure(this.#failure?.error ?? error, this.path);
    }
  }

  /** Ends the file and puts it in its place. */
  async finish(): Promise<void> {
    try {
      this.#stream.end();
      await this.#done;
      renameSync(this.#beside, this.path);
    } catch (error) {
      await this.abandon();
      throw explainWriteFailure(error, this.path);
    }
    syncFolder(dirname(this.path));
  }

  /** Removes what was written so far. */
  async abandon(): Promise<void> {
    this.#stream.destroy();
    // Only then is it sure that the file will not be made after it was removed.
    await this.#done.catch(() => undefined);
    rmSync(this.#beside, { force: true });
  }
}

/** Writes to a stream and waits where it asks for that. */
export async function writeText(stream: Writable, text: string): Promise<void> {
  if (stream.write(text)) return;
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: unknown): void => {
      stream.off("drain", settle).off("error", settle);
      if (error instanceof Error) reject(error);
      else resolve();
    };
    stream.once("drain", settle).once("error", settle);
  });
}
