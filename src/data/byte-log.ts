/**
 * Records one after the other, in memory as long as they are few, else in a file that has no name: what a data set of millions says
 * costs disk instead of memory, and is gone with the process, however that ends.
 *
 * A record is found by the number that `append` gave. Threads share a log, whether it lies in memory or in the file.
 */
import { closeSync, openSync, readSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { explainWriteFailure, invariant, writeAll } from "../support/index.ts";

/** What a ByteLog is made of; may be posted to another thread of the process, which then reads the same records. */
export type ByteLogMemory =
  | { kind: "memory"; bytes: SharedArrayBuffer }
  /** Files belong to the process, so their numbers mean the same in all of its threads. */
  | { kind: "file"; file: number };

/** Bytes read at once from the file: most records are shorter. */
const readAtOnce = 4096;
/** Bytes of the length that stands before each record. */
const prefix = 4;

/** Records that are complete. */
export class ByteLog {
  readonly memory: ByteLogMemory;
  readonly #bytes: Buffer | undefined;
  readonly #window = Buffer.allocUnsafe(readAtOnce);

  constructor(memory: ByteLogMemory) {
    this.memory = memory;
    this.#bytes = memory.kind === "memory" ? Buffer.from(memory.bytes) : undefined;
  }

  /** The record at `offset`. It is valid until the next one is asked for. */
  at(offset: number): Buffer {
    if (this.#bytes) {
      const start = offset + prefix;
      return this.#bytes.subarray(start, start + this.#bytes.readUInt32LE(offset));
    }
    const { file } = this.memory as { file: number };
    const found = readSync(file, this.#window, 0, readAtOnce, offset);
    invariant(found >= prefix, `no record at ${offset}`);
    const length = this.#window.readUInt32LE(0);
    if (length + prefix <= found) return this.#window.subarray(prefix, prefix + length);
    const record = Buffer.allocUnsafe(length);
    for (let read = 0; read < length;) {
      const more = readSync(file, record, read, length - read, offset + prefix + read);
      invariant(more > 0, `the record at ${offset} is cut off`);
      read += more;
    }
    return record;
  }

  /** Gives the file back, once no thread reads from it any more. */
  close(): void {
    if (this.memory.kind === "file") closeSync(this.memory.file);
  }
}

/**
 * Opens a new file that has no name: it needs no clearing up, not even after a kill.
 * @throws UsageError when there is no such folder, LaclipError when it can't be written to
 */
export function openUnnamed(folder: string): number {
  const path = join(folder, `.laclip-${process.pid}-${Math.random().toString(36).slice(2)}`);
  try {
    const file = openSync(path, "wx+", 0o600);
    unlinkSync(path);
    return file;
  } catch (error) {
    throw explainWriteFailure(error, path);
  }
}

/** Where a log may be kept. */
export interface ByteLogOptions {
  /** Bytes that stay in memory; a longer log goes to a file. Default 64 MB. */
  inMemory?: number | undefined;
  /** Folder of the file, which is never seen in it. Default: the system's folder for temporary files. */
  folder?: string | undefined;
}

/** Collects records for a ByteLog. */
export class ByteLogBuilder {
  readonly #inMemory: number;
  readonly #folder: string;
  /** What is in memory: all of it, or what comes after what is in the file. */
  #pending = Buffer.allocUnsafe(1 << 16);
  #used = 0;
  /** Bytes in the file. */
  #written = 0;
  #file: number | undefined;

  constructor({ inMemory = 64e6, folder = tmpdir() }: ByteLogOptions = {}) {
    this.#inMemory = inMemory;
    this.#folder = folder;
  }

  /** Adds a record and returns where it is. @throws LaclipError when the disk is full */
  append(record: Uint8Array): number {
    const offset = this.#written + this.#used;
    const size = prefix + record.byteLength;
    if (this.#used + size > this.#pending.byteLength) this.#makeRoom(size);
    this.#pending.writeUInt32LE(record.byteLength, this.#used);
    this.#pending.set(record, this.#used + prefix);
    this.#used += size;
    return offset;
  }

  finish(): ByteLog {
    if (this.#file !== undefined) {
      this.#flush(this.#file);
      this.#pending = Buffer.alloc(0);
      return new ByteLog({ kind: "file", file: this.#file });
    }
    const bytes = new SharedArrayBuffer(this.#used);
    new Uint8Array(bytes).set(this.#pending.subarray(0, this.#used));
    return new ByteLog({ kind: "memory", bytes });
  }

  #makeRoom(size: number): void {
    if (this.#used + size > this.#inMemory) {
      this.#file ??= openUnnamed(this.#folder);
      this.#flush(this.#file);
      if (size <= this.#pending.byteLength) return;
    }
    const larger = Buffer.allocUnsafe(Math.max(this.#pending.byteLength * 2, this.#used + size));
    this.#pending.copy(larger, 0, 0, this.#used);
    this.#pending = larger;
  }

  #flush(file: number): void {
    try {
      writeAll(file, this.#pending.subarray(0, this.#used));
    } catch (error) {
      throw explainWriteFailure(error, this.#folder);
    }
    this.#written += this.#used;
    this.#used = 0;
  }
}
