/**
 * The bytes of a file on a server as one stream, whatever becomes of the connections that bring them.
 *
 * A connection that breaks, stalls or ends early is followed by another one from the byte that was reached. The file must be the same
 * by then: its version (ETag, or the date of its last change) and its size are compared at each connection, so that what comes out is
 * never made of two files. How a connection is made is the server's kind's own affair (src/data/remote/http-file.ts, s3-file.ts).
 */
import type { Readable } from "node:stream";
import { DataError, EndpointError } from "../../support/index.ts";
import { PassingFailure, Retries, refuseStopped, usualPatience } from "./patience.ts";
import type { Patience } from "./patience.ts";

/** Bytes that a server sends. */
export interface Connection {
  /** Byte of the file at which `body` begins: the one that was asked for, or one before it. */
  readonly start: number;
  /** Bytes of the whole file, where the server tells. */
  readonly size: number | undefined;
  /** ETag, or the date of the last change; undefined where the server gives neither. */
  readonly version: string | undefined;
  readonly body: Readable;
}

export interface ConnectionRequest {
  /** First byte that is wanted. */
  readonly from: number;
  /** The byte after the last; undefined for all that follow. */
  readonly to: number | undefined;
  /** What the file was when its first bytes came. */
  readonly version: string | undefined;
  readonly signal: AbortSignal;
}

/** A file on a server. */
export interface RemoteFile {
  /** Its address, for messages. */
  readonly shown: string;
  /** @throws LaclipError when asking again is of no use; any other error when it may be of use */
  connect(request: ConnectionRequest): Promise<Connection>;
}

/** Which bytes of a file on a server are read. */
export interface BytesOptions extends Patience {
  /** First byte. Default 0. */
  from?: number;
  /** The byte after the last one. Default: the end of the file. */
  to?: number;
  /** What the file must be: the `version` that an earlier reading had. Default: anything. */
  version?: string | undefined;
}

/** A file's bytes, for one reading; nothing is opened before the first is asked for. */
export interface OpenedBytes extends AsyncIterable<Buffer> {
  /** Bytes of the whole file; undefined until the first came, and where a server does not tell. */
  readonly size: number | undefined;
  /** Changes when the file does: an ETag, or a date. Undefined until the first byte came, and where a server gives neither. */
  readonly version: string | undefined;
}

/**
 * Reads a file on a server.
 * @throws DataError when it is missing, too short, or changed meanwhile; EndpointError for what else the server did; InterruptedError
 */
export class ResumedBytes implements OpenedBytes {
  readonly #file: RemoteFile;
  readonly #options: BytesOptions;
  size: number | undefined;
  version: string | undefined;

  constructor(file: RemoteFile, options: BytesOptions = {}) {
    this.#file = file;
    this.#options = options;
    this.version = options.version;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    const { from = 0, to, signal, stallSeconds = usualPatience.stallSeconds } = this.#options;
    const retries = new Retries(this.#file.shown, this.#options);
    let at = from;
    while (to === undefined || at < to) {
      refuseStopped(signal);
      using attempt = new Attempt(stallSeconds, signal);
      try {
        const request = { from: at, to, version: this.version, signal: attempt.signal };
        const connecting = this.#file.connect(request).then((connection) => {
          attempt.endWith(connection.body);
          return connection;
        });
        const { start, size, version, body } = await attempt.orFail(connecting);
        this.#recognise({ size, version, resumed: at > from });
        if (start > at) throw this.#refused(`asked for byte ${at}, the server began at byte ${start}`);
        const end = Math.min(to ?? Infinity, this.size ?? Infinity);
        let position = start;
        const chunks = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
        while (position < end) {
          const { value: chunk, done } = await attempt.inTime(chunks.next());
          if (done) break;
          const fresh = chunk.subarray(Math.max(0, at - position), Math.max(0, end - position));
          position += chunk.length;
          if (fresh.length === 0) continue;
          at += fresh.length;
          retries.progress();
          yield fresh;
        }
        if (at >= end || (end === Infinity && at <= position)) {
          // Read to its very end, the connection can serve the next file.
          if (position === this.size) await attempt.inTime(chunks.next()).catch(() => undefined);
          return;
        }
        throw new PassingFailure(`the connection ended early`);
      } catch (error) {
        const reached =
          at === from ? "nothing came" : `${at - from} bytes came${this.size === undefined ? "" : ` of ${(to ?? this.size) - from}`}`;
        await retries.after(attempt.reasonFor(error), reached, signal);
      }
    }
  }

  /** Makes sure that the file is the one that was begun. */
  #recognise({ size, version, resumed }: Pick<Connection, "size" | "version"> & { resumed: boolean }): void {
    const changed = (what: string, before: string | number, now: string | number): DataError =>
      new DataError(`${this.#file.shown}: this file has changed while it was read (${what} ${before} before, ${now} now).`, {
        mend: "Let nobody write to the data, and start again.",
      });
    if (this.version !== undefined && version !== undefined && this.version !== version) throw changed("version", this.version, version);
    if (this.size !== undefined && size !== undefined && this.size !== size) throw changed("size", this.size, size);
    const comparable = (this.version !== undefined && version !== undefined) || (this.size !== undefined && size !== undefined);
    if (resumed && !comparable)
      throw this.#refused(
        "the connection broke, and the server says nothing (no ETag, date or size) by which to tell whether the file is still the same",
      );
    this.version ??= version;
    this.size ??= size;
    if (size !== undefined && (this.#options.from ?? 0) > size)
      throw new DataError(`${this.#file.shown}: this file has ${size} bytes; asked for was byte ${this.#options.from}.`);
    if (this.#options.to !== undefined && size !== undefined && this.#options.to > size)
      throw new DataError(`${this.#file.shown}: this file has ${size} bytes; asked for were those up to ${this.#options.to}.`);
  }

  #refused(what: string): EndpointError {
    return new EndpointError(`${this.#file.shown}: ${what}.`, { mend: "Fetch the file with another program, and name the copy." });
  }
}

/** One connection's life: it ends when no byte comes for too long, when the work is stopped, and when nobody reads any more. */
class Attempt implements Disposable {
  readonly #controller = new AbortController();
  readonly #stallMilliseconds: number;
  readonly #stop: AbortSignal | undefined;
  readonly #stopped = (): void => this.#controller.abort(new Error("stopped"));
  #body: Readable | undefined;

  constructor(stallSeconds: number, stop: AbortSignal | undefined) {
    this.#stallMilliseconds = stallSeconds * 1000;
    this.#stop = stop;
    stop?.addEventListener("abort", this.#stopped, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The body is destroyed when the attempt ends, whoever made it; at once where it came too late for that. */
  endWith(body: Readable): void {
    this.#body = body;
    // What breaks while nobody waits for bytes comes out of the next read.
    body.on("error", () => undefined);
    if (this.signal.aborted) body.destroy();
    this.signal.addEventListener("abort", () => body.destroy(this.signal.reason as Error), { once: true });
  }

  /** As `inTime`, for work that may be deaf to the signal. */
  async orFail<T>(work: Promise<T>): Promise<T> {
    const failed = new Promise<never>((_, reject) => {
      this.signal.addEventListener("abort", () => reject(this.signal.reason as Error), { once: true });
    });
    return await this.inTime(Promise.race([work, failed]));
  }

  /** Ends the attempt when this takes too long. Nothing runs while whoever reads is busy: a slow reader is no stalled server. */
  async inTime<T>(work: Promise<T>): Promise<T> {
    const seconds = this.#stallMilliseconds / 1000;
    const timer = setTimeout(() => this.#controller.abort(new PassingFailure(`no byte came for ${seconds} s`)), this.#stallMilliseconds);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Why something failed: the end of the attempt where it was ended, else the error itself. */
  reasonFor(error: unknown): unknown {
    return this.signal.aborted ? this.signal.reason : error;
  }

  [Symbol.dispose](): void {
    this.#stop?.removeEventListener("abort", this.#stopped);
    this.#body?.destroy();
    this.#controller.abort(new Error("done"));
  }
}
