/**
 * Long text written piece by piece: a file that is there whole or not at all, or a stream that is somebody else's.
 */
import type { Writable } from "node:stream";
import { ReplacingStream } from "../support/index.ts";

/** A text file that is written beside its place; it is there, synced and renamed, when `finish` returns. */
export class TextFile {
  readonly #file: ReplacingStream;

  /**
   * Begins a file.
   * @param path in a folder that there is
   */
  constructor(readonly path: string) {
    this.#file = new ReplacingStream(path);
  }

  /**
   * Adds text.
   * @throws UsageError when the file can't be made there, LaclipError when the disk is full or not to be written to
   */
  async write(text: string): Promise<void> {
    this.#file.assertSound();
    try {
      await writeText(this.#file.stream, text);
    } catch (error) {
      throw this.#file.explain(error);
    }
  }

  /** Ends the file and puts it in its place. */
  async finish(): Promise<void> {
    this.#file.stream.end();
    await this.#file.finish();
  }

  /** Removes what was written so far. */
  async abandon(): Promise<void> {
    await this.#file.abandon();
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
