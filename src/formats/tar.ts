/**
 * Tar archives as streams of members, read and written through tar-stream: an archive larger than memory costs one chunk at a time.
 * They are read from files or from any other bytes, such as a download; gzip is unpacked on the way, whatever the name says.
 *
 * A tar that was cut off between two members looks like a shorter one to most readers, and its last samples are lost in silence.
 * Here an archive without the two empty blocks that end one is refused.
 *
 * Nothing is ever unpacked to disk, so names are mere texts. Those that point out of the archive (`/etc/passwd`, `../a.jpg`) belong to
 * no data set all the same, and are passed over like links and devices.
 */
import { createReadStream } from "node:fs";
import { Readable, pipeline } from "node:stream";
import type { Writable } from "node:stream";
import { createGunzip, createGzip } from "node:zlib";
import type { Header, Pack } from "tar-stream";
import { DataError, LaclipError, ReplacingStream, explainReadFailure } from "../support/index.ts";

/** What a tar says of a member beside its content. */
export type TarHeader = Header;

/** What a member is; null for kinds that tar-stream doesn't know. */
export type MemberType = Header["type"] | null;

/** Where a file lies in a tar, in bytes from the archive's beginning; of a compressed one, in unpacked bytes. */
export interface TarPlace {
  /** Path as written in the archive. Two members may have the same. */
  readonly name: string;
  /** Bytes of content. */
  readonly size: number;
  /** Where its content begins. */
  readonly offset: number;
  /** Where reading may begin so that this member comes first: the end of the one before, padding included. */
  readonly headerOffset: number;
}

/** A file in a tar. Its content is there until the next member is asked for; what is not read by then is passed over. */
export interface TarMember extends TarPlace {
  /** All that the archive says about it (mode, time, owner), for writing it to another one. */
  readonly header: TarHeader;
  /**
   * The content, piece by piece, for passing it on.
   * @throws DataError when the file ends before the content does
   */
  readonly chunks: () => AsyncIterable<Buffer>;
  /**
   * The whole content.
   * @throws DataError when it is longer than `longest`, or the file ends before
   */
  readonly bytes: () => Promise<Buffer>;
}

/** What a tar has beside regular files, by count. */
export interface PassedOver {
  folders: number;
  /** Hard and symbolic links. */
  links: number;
  /** Devices, pipes, and kinds that this reader doesn't know, such as files with holes. */
  others: number;
  /** Files whose names are absolute or hold `..`. */
  unsafeNames: number;
}

/** Where in an archive reading begins, and what messages call it. */
export interface ReadTarOptions {
  /** What messages call the archive. Default: its path; "the tar" for other bytes. */
  name?: string;
  /**
   * Byte at which to begin: a member's `headerOffset`, of an archive that is not compressed. Bytes that are handed in begin there.
   * Default 0.
   */
  from?: number;
  /** Byte at which to end, another `headerOffset`. Without it, the archive is read to its end, and must have one. */
  to?: number;
  /** Bytes of content that a member may have to be read in one piece. Default 64 MiB: no text and no image has more. */
  longest?: number;
  /** Counts are added to it. */
  passedOver?: PassedOver;
}

const longestMember = 64 << 20;

/** Counts for `readTar` and `scanTar` to add to. */
export function noPassedOver(): PassedOver {
  return { folders: 0, links: 0, others: 0, unsafeNames: 0 };
}

/**
 * The regular files in a tar, in its order; what else it has is passed over and counted.
 * @param source a path, or the bytes themselves; packed by gzip or not
 * @throws DataError when the file is no tar, is damaged, or was cut off; the message names the last member that is whole
 */
export async function* readTar(source: string | AsyncIterable<Uint8Array>, options: ReadTarOptions = {}): AsyncGenerator<TarMember> {
  const { from = 0, to, longest = longestMember, passedOver = noPassedOver() } = options;
  const name = options.name ?? (typeof source === "string" ? source : "the tar");
  const { extract } = await import("tar-stream");
  const archive = extract();
  const file = typeof source === "string" ? openFile(source, from, to) : undefined;
  const end = new EndMark();
  const plain = from === 0 ? unpacked(file ?? (source as AsyncIterable<Uint8Array>)) : (file ?? (source as AsyncIterable<Uint8Array>));
  const bytes = Readable.from(end.watch(upTo(plain, to === undefined ? Infinity : to - from)), { objectMode: false });
  bytes.on("error", (error: Error) => archive.destroy(error));
  bytes.pipe(archive as unknown as Writable);
  const read: Reading = { name, lastWhole: "", current: "" };
  let headerOffset = from;
  try {
    for await (const entry of archive) {
      const { header } = entry;
      read.lastWhole = read.current || read.lastWhole;
      read.current = header.name;
      // tar-stream counts from where it began to read; its types leave the count out.
      const offset = from + (header as unknown as { byteOffset: number }).byteOffset;
      if (belongs(header as Parameters<typeof belongs>[0], passedOver)) {
        const chunks = (): AsyncGenerator<Buffer> => guarded(entry as AsyncIterable<Buffer>, read);
        const place = { name: header.name, size: header.size, offset, headerOffset };
        yield { ...place, header, chunks, bytes: async () => await collect(chunks(), name, header, longest) };
      }
      headerOffset = offset + paddedSize(header);
      entry.resume();
    }
    read.lastWhole = read.current;
    read.current = "";
    // The last member's own zeros are no end.
    if (to === undefined && !(end.seen && from + end.position >= headerOffset + endMark))
      throw new Error("the mark that ends a tar is missing, so the file was probably cut off");
  } catch (error) {
    throw explainTarFailure(error, read);
  } finally {
    file?.destroy();
    bytes.destroy();
    archive.destroy();
  }
}

/** How far an archive was read, for messages. */
export interface Reading {
  /** What messages call the archive. */
  readonly name: string;
  /** Last member that was read to its end; "" before the first. */
  lastWhole: string;
  /** Member that was begun and not ended; "" at the end. */
  current: string;
}

/** True for a file that belongs to the data; all else is added to the counts. */
export function belongs(
  { name, type, pax }: { name: string; type: MemberType; pax?: object | null | undefined },
  passedOver: PassedOver,
): boolean {
  // Old programs mark folders by the end of their name alone.
  if (type === "directory" || name.endsWith("/")) passedOver.folders++;
  else if (type === "link" || type === "symlink") passedOver.links++;
  // What such a member holds is a table of its holes, and not yet the file.
  else if ((type !== "file" && type !== "contiguous-file") || (pax && "GNU.sparse.major" in pax)) passedOver.others++;
  else if (/^\/|^[a-z]:[\\/]|(^|[\\/])\.\.($|[\\/])/i.test(name)) passedOver.unsafeNames++;
  else return true;
  return false;
}

/** Bytes from where a member's content begins to where the next header does. */
export function paddedSize({ type, size }: { type: MemberType; size: number }): number {
  return type === "directory" ? 0 : Math.ceil(size / 512) * 512;
}

function openFile(path: string, from: number, to: number | undefined): ReturnType<typeof createReadStream> {
  return createReadStream(path, { highWaterMark: 1 << 20, start: from, ...(to === undefined ? {} : { end: Math.max(from, to - 1) }) });
}

/** Two blocks of zeros end an archive. */
const endMark = 1024;

/** Looks for the zeros at the end of what passes. */
class EndMark {
  #empty = 0;
  /** Bytes that have passed. */
  position = 0;

  get seen(): boolean {
    return this.#empty >= endMark;
  }

  async *watch(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of bytes) {
      this.position += chunk.length;
      let empty = 0;
      while (empty < chunk.length && empty < endMark && chunk[chunk.length - 1 - empty] === 0) empty++;
      this.#empty = empty === chunk.length ? this.#empty + empty : empty;
      yield chunk;
    }
  }
}

async function* upTo(bytes: AsyncIterable<Uint8Array>, count: number): AsyncGenerator<Uint8Array> {
  let left = count;
  for await (const chunk of bytes) {
    if (chunk.length >= left) {
      yield chunk.subarray(0, left);
      return;
    }
    left -= chunk.length;
    yield chunk;
  }
}

/** The bytes, unpacked where they begin as gzip does. Names can't tell: servers unpack, or pack, what they send. */
async function* unpacked(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = bytes[Symbol.asyncIterator]();
  try {
    let begin: Uint8Array = Buffer.alloc(0);
    while (begin.length < 2) {
      const { value, done } = await iterator.next();
      if (done) break;
      begin = begin.length === 0 ? value : Buffer.concat([begin, value]);
    }
    const whole = resumed(begin, iterator);
    if (begin[0] !== 0x1f || begin[1] !== 0x8b) yield* whole;
    // The callback is only there to have the errors of all three come out of the last.
    else yield* pipeline(Readable.from(whole, { objectMode: false }), createGunzip({ chunkSize: 1 << 18 }), () => undefined);
  } finally {
    await iterator.return?.();
  }
}

async function* resumed(begin: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (begin.length > 0) yield begin;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

function compressed(path: string): boolean {
  return /\.t?gz$/i.test(path);
}

async function* guarded(chunks: AsyncIterable<Buffer>, read: Reading): AsyncGenerator<Buffer> {
  try {
    yield* chunks;
  } catch (error) {
    throw explainTarFailure(error, read);
  }
}

async function collect(chunks: AsyncIterable<Buffer>, tar: string, { name, size }: TarHeader, longest: number): Promise<Buffer> {
  if (size > longest)
    throw new DataError(`${tar}: the member ${name} has ${size} bytes; no more than ${longest} were expected of a text or an image.`);
  const read: Buffer[] = [];
  for await (const chunk of chunks) read.push(chunk);
  return read.length === 1 ? read[0]! : Buffer.concat(read);
}

/** Says which tar could not be read, how far it is whole, and what to do. */
export function explainTarFailure(error: unknown, { name, lastWhole, current }: Reading): unknown {
  if (LaclipError.is(error)) return error;
  const { syscall, message } = error as NodeJS.ErrnoException;
  // The system's reasons say nothing of what is in the tar; those of unpacking, which have codes too, do.
  if (syscall !== undefined) return explainReadFailure(error, name);
  if (lastWhole === "" && current === "" && /^(invalid tar header|unexpected end)/i.test(message))
    return new DataError(`${name}: this is no tar archive (${message}).`, {
      mend: "Check the file; a download may have failed.",
      cause: error,
    });
  const within = current === "" ? "" : ` in or after the member ${current}`;
  const whole = lastWhole === "" ? "no member is whole" : `the last whole member is ${lastWhole}`;
  return new DataError(`${name}: this tar is damaged${within}, ${whole}: ${message[0]!.toLowerCase()}${message.slice(1)}`, {
    mend: "Fetch it again, or leave it out. If it is whole and only the end mark is missing, add it: `head -c 1024 /dev/zero >> FILE`.",
    cause: error,
  });
}

/** Writes a tar beside its place; it is there, synced and renamed, when `finish` returns. */
export class TarWriter {
  readonly #pack: Pack;
  readonly #file: ReplacingStream;

  private constructor(
    readonly path: string,
    pack: Pack,
  ) {
    this.#pack = pack;
    // Where the stream fails, a member that is being written would else wait for ever for room on a full disk.
    this.#file = new ReplacingStream(path, { highWaterMark: 1 << 20, onFailure: (error) => pack.destroy(error) });
    const packed = pack as unknown as Readable;
    (compressed(path) ? packed.pipe(createGzip()) : packed).pipe(this.#file.stream);
    // Its error is that of the stream, which is told of where the next member is added or the archive ended.
    pack.on("error", () => {});
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
      throw this.#file.explain(error);
    }
  }

  /** Ends the archive and puts it in its place. */
  async finish(): Promise<void> {
    this.#pack.finalize();
    await this.#file.finish();
  }

  /** Removes what was written so far. */
  async abandon(): Promise<void> {
    this.#pack.destroy();
    await this.#file.abandon();
  }
}
