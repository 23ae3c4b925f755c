/**
 * A whole data set as records that threads share; a Sample is made when it is asked for. Memory holds two numbers a sample, whatever is
 * said about it: the records of a large set lie on disk.
 */
import { isAbsolute, join } from "node:path";
import { invariant } from "../support/index.ts";
import { ByteLog, ByteLogBuilder, type ByteLogMemory, type ByteLogOptions } from "./byte-log.ts";
import type { FilePart, ImageSource } from "./image-source.ts";
import { RewritesBuilder, RewritesColumn, type RewritesColumnMemory } from "./rewrites-column.ts";
import { originalSource, type Sample } from "./sample.ts";
import { Scratch } from "./scratch.ts";
import { SharedNumbers, type SharedNumbersMemory } from "./shared-numbers.ts";

/** A table as plain memory: posting it to another thread of the process shares it. */
export interface SampleTableMemory {
  imageFolder: string;
  length: number;
  samples: ByteLogMemory;
  /** Where the record of each sample is. */
  offsets: SharedNumbersMemory;
  rewrites: RewritesColumnMemory | undefined;
  /** `[length]` uint32: which of the samples, in the order in which they were added, each row is. Default: the same. */
  order?: SharedArrayBuffer | undefined;
}

/** The samples of a data set by their row. */
export class SampleTable {
  readonly memory: SampleTableMemory;
  readonly #samples: ByteLog;
  readonly #offsets: SharedNumbers;
  readonly #rewrites: RewritesColumn | undefined;
  readonly #order: Uint32Array | undefined;

  constructor(memory: SampleTableMemory) {
    this.memory = memory;
    this.#samples = new ByteLog(memory.samples);
    this.#offsets = new SharedNumbers(memory.offsets);
    this.#rewrites = memory.rewrites && new RewritesColumn(memory.rewrites);
    this.#order = memory.order && new Uint32Array(memory.order);
  }

  /** A table of samples made by hand, for small sets. The first caption of each is its original. */
  static of(samples: readonly Sample[]): SampleTable {
    const builder = new SampleTableBuilder("");
    for (const { id, image, captions } of samples) {
      invariant(captions[0]?.source === originalSource, `the first caption of sample ${id} is not its original`);
      invariant(!(image instanceof Uint8Array), `the image of sample ${id} is in memory`);
      builder.add(id, image, captions[0].text);
    }
    const table = builder.finish();
    const sources = [...new Set(samples.flatMap(({ captions }) => captions.slice(1).map(({ source }) => source)))];
    if (sources.length === 0) return table;
    const rewrites = new RewritesBuilder(sources);
    samples.forEach(({ captions: [original, ...others] }, row) => {
      if (original?.weight !== undefined) rewrites.weighCaption(row, original.weight);
      others.forEach(({ source, text, weight }) => rewrites.add(row, sources.indexOf(source), text, weight));
    });
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

  /** A sample's original caption. */
  caption(row: number): string {
    return split(this.#record(row)).caption;
  }

  /** What the data set calls a sample's image: its path, absolute or relative to the folder of images, or its name in a tar. */
  imageAsWritten(row: number): string {
    const { image } = split(this.#record(row));
    return partOf(image)?.name ?? image;
  }

  /** Where a sample's image is. */
  image(row: number): ImageSource {
    return this.#image(split(this.#record(row)).image);
  }

  hasRewrites(row: number): boolean {
    return this.#rewrites?.has(this.#added(row)) ?? false;
  }

  at(row: number): Sample {
    const { id, image, caption } = split(this.#record(row));
    const number = this.#added(row);
    const weight = this.#rewrites?.captionWeight(number);
    const original = { source: originalSource, text: caption, ...(weight === undefined ? {} : { weight }) };
    return { id, image: this.#image(image), captions: [original, ...(this.#rewrites?.at(number) ?? [])] };
  }

  /**
   * The same samples in the order of these numbers, one for each sample in the order in which they were added.
   * Those of one number stay as they were added.
   */
  sortedBy(numbers: SharedNumbers): SampleTable {
    const order = new SharedArrayBuffer(this.length * 4);
    const rows = new Uint32Array(order);
    for (let row = 0; row < this.length; row++) rows[row] = row;
    rows.sort((a, b) => numbers.at(a) - numbers.at(b) || a - b);
    return new SampleTable({ ...this.memory, order });
  }

  /** The same samples with these rewrites, by the number under which a sample was added, instead of those it had. */
  withRewrites(rewrites: RewritesBuilder): SampleTable {
    return new SampleTable({ ...this.memory, rewrites: rewrites.finish().memory });
  }

  /** Gives back what lies on disk, once no thread reads it any more. */
  close(): void {
    this.#samples.close();
    this.#rewrites?.close();
  }

  /** Number under which the sample of a row was added. */
  #added(row: number): number {
    return this.#order ? this.#order[row]! : row;
  }

  #record(row: number): Buffer {
    invariant(row >= 0 && row < this.length, `no row ${row} in a table of ${this.length}`);
    return this.#samples.at(this.#offsets.at(this.#added(row)));
  }

  #image(image: string): ImageSource {
    return partOf(image) ?? (isAbsolute(image) ? image : join(this.memory.imageFolder, image));
  }
}

/** Bytes before the texts of a sample's record: the lengths of id and image path, uint32. What follows them is the caption. */
const header = 8;
function split(record: Buffer): { id: string; image: string; caption: string } {
  const idEnd = header + record.readUInt32LE(0);
  const imageEnd = idEnd + record.readUInt32LE(4);
  return {
    id: record.toString("utf8", header, idEnd),
    image: record.toString("utf8", idEnd, imageEnd),
    caption: record.toString("utf8", imageEnd),
  };
}

/** A part of a file as a record holds it; no path begins like this. */
function partText({ file, offset, size, name }: FilePart): string {
  return `\0${offset}\0${size}\0${file}\0${name}`;
}

function partOf(image: string): FilePart | undefined {
  if (!image.startsWith("\0")) return undefined;
  const [, offset, size, file, name] = image.split("\0");
  return { file: file!, offset: Number(offset), size: Number(size), name: name! };
}

/** Collects samples in the order of their rows. */
export class SampleTableBuilder {
  readonly #imageFolder: string;
  readonly #log: ByteLogBuilder;
  readonly #offsets = new SharedNumbers();
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

  /**
   * Adds a sample; returns its row.
   * @param place path of its image, absolute or relative to the folder of images; or a part of a file
   * @throws LaclipError when the disk is full
   */
  add(id: string, place: string | FilePart, caption: string): number {
    const image = typeof place === "string" ? place : partText(place);
    const bytes = this.#scratch.take(header + (id.length + image.length + caption.length) * 3);
    const idEnd = header + bytes.write(id, header, "utf8");
    const imageEnd = idEnd + bytes.write(image, idEnd, "utf8");
    const end = imageEnd + bytes.write(caption, imageEnd, "utf8");
    bytes.writeUInt32LE(idEnd - header, 0);
    bytes.writeUInt32LE(imageEnd - idEnd, 4);
    const row = this.#length++;
    this.#offsets.set(row, this.#log.append(bytes.subarray(0, end)));
    return row;
  }

  finish(): SampleTable {
    return new SampleTable({
      imageFolder: this.#imageFolder,
      length: this.#length,
      samples: this.#log.finish().memory,
      offsets: this.#offsets.memory,
      rewrites: undefined,
    });
  }
}
