/**
 * Tar archives as streams of members, read and written through tar-stream: an archive larger than memory costs one chunk at a time.
 *
 * A tar that was cut off between two members looks like a shorter one to most readers, and its last samples are lost in silence.
 * Here an archive without the two empty blocks that end one is refused.
 */
import { createReadStream, createWriteStream, renameSync, rmSync } from "node:fs";
import type { WriteStream } from "node:fs";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import type { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import type { Header, Pack } from "tar-stream";
import { DataError, LaclipError, explainWriteFailure, syncFolder } from "../support/index.ts";

/** What a tar says of a member beside its content. */
export type TarHeader = Header;

/** A file in a tar. Its content is there until the next member is asked for; what is not read by then is passed over. */
export interface TarMember {
  /** Path as written in the archive. */
  readonly name: string;
  /** Bytes of content. */
  readonly size: number;
  /** All that the archive says about it (mode, time, owner), for writing it to another one. */
  readonly header: TarHeader;
  /**
   * The content, piece by piece, for passing it on.
   * @throws DataError when the file ends before the content does
   */
  readonly chunks: () => AsyncIterable<Buffer>;
  /**
   * The whole content.
   * @throws DataError when it is longer than 64 MiB, as no text is, or the file ends before
   */
  readonly bytes: () => Promise<Buffer>;
}

const longestText = 64 << 20;

/**
 * The regular files in a tar (or .tar.gz, .tgz), in its order; folders and links are passed over.
 * @throws DataError when the file is no tar, is damaged, or was cut off
 */
export async function* readTar(path: string): AsyncGenerator<TarMember> {
  const { extract } = await import("tar-stream");
  const archive = extract();
  const file = createReadStream(path, { highWaterMark: 1 << 20 });
  const bytes = compressed(path) ? file.pipe(createGunzip()) : file;
  file.on("error", (error: Error) => archive.destroy(error));
  if (bytes !== file) bytes.on("error", (error: Error) => archive.destroy(error));
  let last = "";
  let emptyAtEnd = 0;
  bytes.on("data", (chunk: Buffer) => {
    let empty = 0;
    while (empty < chunk.length && empty < endMark && chunk[chunk.length - 1 - empty] === 0) empty++;
    emptyAtEnd = empty === chunk.length ? emptyAtEnd + empty : empty;
  });
  bytes.pipe(archive as unknown as Writable);
  try {
    for await (const entry of archive) {
      const { header } = entry;
      if (header.type === "file" || header.type === "contiguous-file") {
        const chunks = (): AsyncGenerator<Buffer> => guarded(entry as AsyncIterable<Buffer>, path, header.name);
        yield { name: header.name, size: header.size, header, chunks, bytes: async () => await collect(chunks(), path, header) };
        last = header.name;
      }
      entry.resume();
    }
    if (emptyAtEnd < endMark) throw new Error("the mark that ends a tar is missing, so the file was probably cut off");
  } catch (error) {
    throw explainRead(error, path, last);
  } finally {
    file.destroy();
    bytes.destroy();
    archive.destroy();
  }
}

/** Two blocks of zeros end an archive. */
const endMark = 1024;

function compressed(path: string): boolean {
  return /\.t?gz$/i.test(path);
}

async function* guarded(chunks: AsyncIterable<Buffer>, path: string, name: string): AsyncGenerator<Buffer> {
  try {
    yield* chunks;
  } catch (error) {
    throw explainRead(error, path, name);
  }
}

async function collect(chunks: AsyncIterable<Buffer>, path: string, { name, size }: TarHeader): Promise<Buffer> {
  if (size > longestText)
    throw new DataError(`${path}: the member ${name} has ${size} bytes; no more than ${longestText} were expected of a text.`);
  const read: Buffer[] = [];
  for await (const chunk of chunks) read.push(chunk);
  return read.length === 1 ? read[0]! : Buffer.concat(read);
}

function explainRead(error: unknown, path: string, last: string): unknown {
  if (LaclipError.is(error)) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return new DataError(`${path}: no such file.`, { cause: error });
  if (code === "EISDIR") return new DataError(`${path}: this is a folder, expected a tar.`, { cause: error });
  if (code === "EACCES") return new DataError(`${path}: no permission to read it.`, { cause: error });
  if (last === "" && /^(invalid tar header|unexpected end)/i.test(message))
    return new DataError(`${path}: this is no tar archive (${message}).`, {
      mend: "Check the file; a download may have failed.",
      cause: error,
    });
  const where = last === "" ? "" : ` at or after the member ${last}`;
  return new DataError(`${path}: this tar is damaged${where}: ${message[0]!.toLowerCase()}${message.slice(1)}`, {
    mend: "Fetch it again, or leave it out. If it is whole and only the end mark is missing, add it: `head -c 1024 /dev/zero >> FILE`.",
    cause: error,
  });
}

/** Writes a tar beside its place; it is there, synced and renamed, when `finish` returns. */
export class TarWriter {
  readonly #beside: string;
  readonly #pack: Pack;
  readonly #stream: WriteStream;
  readonly #done: Promise<void>;
  #failure: unknown;

  private constructor(
    readonly path: string,
    pack: Pack,
  ) {
    this.#beside = `${path}.tmp-${process.pid}`;
    this.#pack = pack;
    this.#stream = createWriteStream(this.#beside, { highWaterMark: 1 << 20, flush: true });
    const packed = pack as unknown as Readable;
    (compressed(path) ? packed.pipe(createGzip()) : packed).pipe(this.#stream);
    this.#done = finished(this.#stream);
    this.#done.catch((error: unknown) => {
      this.#failure = error;
      // Without this, a member that is being written would wait for ever for room on a full disk.
      pack.destroy(error as Error);
    });
  }

  /** Begins a tar, or a compressed one where the name ends in .gz or .tgz. */
  static async create(path: string): Promise<TarWriter> {
    const { pack } = await import("tar-stream");
    return new TarWriter(path, pack());
  }

  /**
   * Adds a member: its content as bytes, or piece by piece, exactly `header.size` bytes of it.
   * @throws LaclipError when the disk is full
   */
  async add(header: Partial<TarHeader> & Pick<TarHeader, "name">, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        const settle = (error?: Error | null): void => (error ? reject(error) : resolve());
        if (content instanceof Uint8Array) this.#pack.entry({ ...header, size: content.length }, Buffer.from(content), settle);
        else
          Readable.from(content)
            .on("error", settle)
            .pipe(this.#pack.entry({ ...header }, settle) as unknown as Writable);
      });
    } catch (error) {
      throw explainWriteFailure(this.#failure ?? error, this.path);
    }
  }

  /** Ends the archive and puts it in its place. */
  async finish(): Promise<void> {
    try {
      this.#pack.finalize();
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
    this.#pack.destroy();
    this.#stream.destroy();
    // Only then is it sure that the file will not be made after it was removed.
    await this.#done.catch(() => undefined);
    rmSync(this.#beside, { force: true });
  }
}
