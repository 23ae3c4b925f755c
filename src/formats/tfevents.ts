/**
 * Scalars for TensorBoard: its event files, written without TensorFlow.
 *
 * A file is a sequence of records: length (uint64), its masked CRC-32C, the bytes of an `Event` message, their masked CRC-32C. The
 * few fields of `Event` and `Summary` that scalars need are written by hand (tensorflow/core/util/event.proto, framework/summary.proto).
 */
import { closeSync, fsyncSync, openSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { explainWriteFailure, invariant, makeFolder, writeAll } from "../support/index.ts";

/** What is not taken from the machine, for tests and for events of the past. */
export interface TfeventsOptions {
  /** Seconds since 1970, asked for each record. Default: the clock. */
  wallTime?: () => number;
}

/** Bytes that are gathered before they are written; {@link TfeventsWriter.flush} writes them earlier. */
const bufferBytes = 64 * 1024;

/** One event file; a run that is resumed gets another in the same folder, and TensorBoard reads both as one run. */
export class TfeventsWriter {
  /** The file; its name contains `tfevents`, by which TensorBoard knows it. */
  readonly path: string;
  readonly #file: number;
  readonly #wallTime: () => number;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #open = true;

  /**
   * @param folder is made when it is missing
   * @throws LaclipError when the folder may not be written
   */
  constructor(folder: string, { wallTime = () => Date.now() / 1000 }: TfeventsOptions = {}) {
    this.#wallTime = wallTime;
    const now = wallTime();
    const name = `events.out.tfevents.${String(Math.floor(now)).padStart(10, "0")}.${hostname()}.${process.pid}`;
    try {
      makeFolder(folder);
      [this.path, this.#file] = createNew(folder, name);
    } catch (error) {
      throw explainWriteFailure(error, folder);
    }
    this.#record([double(1, now), bytes(3, Buffer.from("brain.Event:2"))]);
    this.flush();
  }

  /**
   * Adds one point.
   *
   * @param tag name of the curve; "/" groups curves, as in "train/loss"
   * @param value kept as float32; may be infinite or not a number
   * @param step a whole number, not negative
   */
  scalar(tag: string, value: number, step: number): void {
    invariant(Number.isSafeInteger(step) && step >= 0, `step ${step} of "${tag}" is no whole number`);
    const point = Buffer.concat([bytes(1, Buffer.from(tag, "utf8")), float(2, value)]);
    this.#record([double(1, this.#wallTime()), integer(2, step), bytes(5, bytes(1, point))]);
    if (this.#pendingBytes >= bufferBytes) this.flush();
  }

  /**
   * Says that the run starts, or starts again, with `step`: TensorBoard then forgets points of this run from that step on, which a
   * resumed run makes again.
   */
  start(step: number): void {
    const started = 1; // SessionLog.START
    this.#record([double(1, this.#wallTime()), integer(2, step), bytes(7, integer(1, started))]);
  }

  /**
   * Hands everything so far to the operating system, where readers see it.
   * @throws LaclipError when the disk is full; the last record may be cut short then, so the file is ended and takes nothing more
   */
  flush(): void {
    invariant(this.#open, `${this.path} is closed`);
    const block = Buffer.concat(this.#pending);
    try {
      writeAll(this.#file, block);
    } catch (error) {
      this.#end();
      throw explainWriteFailure(error, this.path);
    }
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  /** Writes what is left, waits until it is on disk, and ends the file. A second call does nothing. */
  close(): void {
    if (!this.#open) return;
    this.flush();
    try {
      fsyncSync(this.#file);
    } catch (error) {
      throw explainWriteFailure(error, this.path);
    } finally {
      this.#end();
    }
  }

  #end(): void {
    this.#open = false;
    closeSync(this.#file);
  }

  #record(fields: readonly Buffer[]): void {
    invariant(this.#open, `${this.path} is closed`);
    const message = Buffer.concat(fields);
    const frame = Buffer.alloc(12 + message.length + 4);
    frame.writeBigUInt64LE(BigInt(message.length));
    frame.writeUInt32LE(maskedCrc32c(frame.subarray(0, 8)), 8);
    message.copy(frame, 12);
    frame.writeUInt32LE(maskedCrc32c(message), 12 + message.length);
    this.#pending.push(frame);
    this.#pendingBytes += frame.length;
  }
}

/** Two writers of one process may start in the same second. */
function createNew(folder: string, name: string): [path: string, file: number] {
  for (let attempt = 0; ; attempt++) {
    const path = join(folder, `${name}.${attempt}`);
    try {
      return [path, openSync(path, "wx")];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}

/** Fields of a protocol buffer: the field's number and wire type, then the value. */
function double(field: number, value: number): Buffer {
  const buffer = Buffer.alloc(9);
  buffer[0] = (field << 3) | 1;
  buffer.writeDoubleLE(value, 1);
  return buffer;
}

function float(field: number, value: number): Buffer {
  const buffer = Buffer.alloc(5);
  buffer[0] = (field << 3) | 5;
  buffer.writeFloatLE(value, 1);
  return buffer;
}

function integer(field: number, value: number): Buffer {
  return Buffer.from([field << 3, ...varint(value)]);
}

function bytes(field: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(field << 3) | 2, ...varint(content.length)]), content]);
}

function varint(value: number): number[] {
  const groups: number[] = [];
  // Steps may exceed 32 bits, which the shift operators would cut off.
  for (; value >= 0x80; value = Math.floor(value / 0x80)) groups.push((value % 0x80) | 0x80);
  return [...groups, value];
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

function maskedCrc32c(content: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of content) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 0xff]!;
  crc = ~crc;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
