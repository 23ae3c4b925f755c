/**
 * A whole data set as records that threads share; a Sample is made when it is asked for.
 *
 * What a sample says lies in one record, each of its rewrites in another that knows the one before it. So rewrites may come in any
 * order, and memory holds two numbers a sample, whatever is said about it.
 */
import { isAbsolute, join } from "node:path";
import { invariant } from "../support/index.ts";
import { ByteLog, ByteLogBuilder, type ByteLogMemory, type ByteLogOptions } from "./byte-log.ts";
import { type Caption, originalSource, type Sample } from "./sample.ts";

/** A table as plain memory: posting it to another thread of the process shares it. */
export interface SampleTableMemory {
  imageFolder: string;
  length: number;
  samples: ByteLogMemory;
  /** Pieces of `[pieceLength]` float64: where the record of each sample is. */
  offsets: readonly SharedArrayBuffer[];
  rewrites: RewritesMemory | undefined;
}

interface RewritesMemory {
  sources: readonly string[];
  texts: ByteLogMemory;
  /** `[samples]` float64: where each sample's last rewrite is, plus 1; 0 where it has none. */
  last: SharedArrayBuffer;
}

const pieceLength = 1 << 20;

/** The samples of a data set by their row. */
export class SampleTable {
  readonly memory: SampleTableMemory;
  readonly #samples: ByteLog;
  readonly #offsets: readonly Float64Array[];
  readonly #rewrites: { sources: readonly string[]; texts: ByteLog; last: Float64Array } | undefined;

  constructor(memory: SampleTableMemory) {
    this.memory = memory;
    this.#samples = new ByteLog(memory.samples);
    this.#offsets = memory.offsets.map((piece) => new Float64Array(piece));
    const { rewrites } = memory;
    this.#rewrites = rewrites && {
      sources: rewrites.sources,
      texts: new ByteLog(rewrites.texts),
      last: new Float64Array(rewrites.last),
    };
  }

  /** A table of samples made by hand, for small sets. The first caption of each is its original. */
  static of(samples: readonly Sample[]): SampleTable {
    const builder = new SampleTableBuilder("");
    for (const { id, image, captions } of samples) {
      invariant(captions[0]?.source === originalSource, `the first caption of sample ${id} is not its original`);
      builder.add(id, image, captions[0].text);
    }
    const table = builder.finish();
    const sources = [...new Set(samples.flatMap(({ captions }) => captions.slice(1).map(({ source }) => source)))];
    if (sources.length === 0) return table;
    const rewrites = new RewritesBuilder(table.length, sources);
    samples.forEach(({ captions }, row) =>
      captions.slice(1).forEach(({ source, text, weight }) => rewrites.add(row, sources.indexOf(source), text, weight)),
    );
    return table.withRewrites(rewrites);
  }

  get length(): number {
    return this.memory.length;
  }

  /** Names of the sources that rewrites come from; none where there are no rewrites. */
  get rewriteSources(): readonly string[] {
    return this.memory.rewrites?.sources ?? [];
  }

  id(row: number): string {
    const record = this.#record(row);
    return record.toString("utf8", header, header + record.readUInt32LE(0));
  }

  /** Path of a sample's image file as the data set says it: absolute, or relative to its folder of images. */
  imageAsWritten(row: number): string {
    return split(this.#record(row)).image;
  }

  /** Path of a sample's image file. */
  imagePath(row: number): string {
    return this.#path(split(this.#record(row)).image);
  }

  hasRewrites(row: number): boolean {
    return this.#rewrites !== undefined && this.#rewrites.last[row]! > 0;
  }

  at(row: number): Sample {
    const { id, image, caption } = split(this.#record(row));
    return { id, image: this.#path(image), captions: [{ source: originalSource, text: caption }, ...this.#rewritesOf(row)] };
  }

  /** The same samples with these rewrites instead of those it had. */
  withRewrites(rewrites: RewritesBuilder): SampleTable {
    return new SampleTable({ ...this.memory, rewrites: rewrites.finish() });
  }

  /** Gives back what lies on disk, once no thread reads it any more. */
  close(): void {
    this.#samples.close();
    this.#rewrites?.texts.close();
  }

  #record(row: number): Buffer {
    invariant(row >= 0 && row < this.length, `no row ${row} in a table of ${this.length}`);
    return this.#samples.at(this.#offsets[Math.floor(row / pieceLength)]![row % pieceLength]!);
  }

  #path(image: string): string {
    return isAbsolute(image) ? image : join(this.memory.imageFolder, image);
  }

  /** In the order of the sources; several of one source are sorted, so that the order in which they were written down does not matter. */
  #rewritesOf(row: number): Caption[] {
    if (!this.#rewrites) return [];
    const { sources, texts, last } = this.#rewrites;
    const found: { source: number; text: string; bytes: Buffer; weight: number }[] = [];
    for (let next = last[row]!; next > 0;) {
      const record = texts.at(next - 1);
      next = record.readDoubleLE(0);
      const bytes = Buffer.from(record.subarray(rewriteHeader));
      found.push({ source: record[12]!, weight: record.readFloatLE(8), bytes, text: bytes.toString("utf8") });
    }
    return found
      .sort((a, b) => a.source - b.source || a.bytes.compare(b.bytes))
      .map(({ source, text, weight }) => ({ source: sources[source]!, text, ...(weight === 1 ? {} : { weight }) }));
  }
}

/** Bytes before the texts of a sample's record: the lengths of id and image path, uint32. What follows them is the caption. */
const header = 8;
/** Bytes before a rewrite's text: where the one before it is, plus 1 (float64); weight (float32); source (uint8). */
const rewriteHeader = 13;

function split(record: Buffer): { id: string; image: string; caption: string } {
  const idEnd = header + record.readUInt32LE(0);
  const imageEnd = idEnd + record.readUInt32LE(4);
  return {
    id: record.toString("utf8", header, idEnd),
    image: record.toString("utf8", idEnd, imageEnd),
    caption: record.toString("utf8", imageEnd),
  };
}

/** A buffer that grows to what is put together in it. */
class Scratch {
  bytes = Buffer.allocUnsafe(1 << 12);

  /** Room for this many UTF-16 units of text, three bytes each at the most, and a header. */
  take(units: number): Buffer {
    const size = 16 + units * 3;
    if (this.bytes.byteLength < size) this.bytes = Buffer.allocUnsafe(size * 2);
    return this.bytes;
  }
}

/** Collects samples in the order of their rows. */
export class SampleTableBuilder {
  readonly #imageFolder: string;
  readonly #log: ByteLogBuilder;
  readonly #offsets: Float64Array[] = [];
  readonly #scratch = new Scratch();
  #length = 0;

  /** @param imageFolder what image paths are relative to */
  constructor(imageFolder: string, options: ByteLogOptions = {}) {
    this.#imageFolder = imageFolder;
    this.#log = new ByteLogBuilder(options);
  }

  get length(): number {
    return this.#length;
  }

  /** Adds a sample; returns its row. @throws LaclipError when the disk is full */
  add(id: string, image: string, caption: string): number {
    const bytes = this.#scratch.take(id.length + image.length + caption.length);
    const idEnd = header + bytes.write(id, header, "utf8");
    const imageEnd = idEnd + bytes.write(image, idEnd, "utf8");
    const end = imageEnd + bytes.write(caption, imageEnd, "utf8");
    bytes.writeUInt32LE(idEnd - header, 0);
    bytes.writeUInt32LE(imageEnd - idEnd, 4);
    const row = this.#length++;
    if (row % pieceLength === 0) this.#offsets.push(new Float64Array(new SharedArrayBuffer(pieceLength * 8)));
    this.#offsets.at(-1)![row % pieceLength] = this.#log.append(bytes.subarray(0, end));
    return row;
  }

  finish(): SampleTable {
    return new SampleTable({
      imageFolder: this.#imageFolder,
      length: this.#length,
      samples: this.#log.finish().memory,
      offsets: this.#offsets.map(({ buffer }) => buffer as SharedArrayBuffer),
      rewrites: undefined,
    });
  }
}

/** Collects rewrites of a table's samples, in any order. */
export class RewritesBuilder {
  readonly #sources: readonly string[];
  readonly #log: ByteLogBuilder;
  readonly #last: Float64Array;
  readonly #scratch = new Scratch();

  constructor(samples: number, sources: readonly string[], options: ByteLogOptions = {}) {
    invariant(sources.length <= 256, "more than 256 rewrite sources");
    this.#sources = sources;
    this.#log = new ByteLogBuilder(options);
    this.#last = new Float64Array(new SharedArrayBuffer(samples * 8));
  }

  /**
   * @param source number of its source
   * @param weight chance relative to the original's, above 0 and up to 1. Default 1
   * @throws LaclipError when the disk is full
   */
  add(row: number, source: number, text: string, weight = 1): void {
    const bytes = this.#scratch.take(text.length);
    bytes.writeDoubleLE(this.#last[row]!, 0);
    bytes.writeFloatLE(weight, 8);
    bytes[12] = source;
    const end = rewriteHeader + bytes.write(text, rewriteHeader, "utf8");
    this.#last[row] = this.#log.append(bytes.subarray(0, end)) + 1;
  }

  finish(): RewritesMemory {
    return { sources: this.#sources, texts: this.#log.finish().memory, last: this.#last.buffer as SharedArrayBuffer };
  }
}
