/**
 * A whole data set in compact columns that threads share; a Sample is made when it is asked for.
 */
import { isAbsolute, join } from "node:path";
import { invariant } from "../support/index.ts";
import { type Caption, originalSource, type Sample } from "./sample.ts";
import { TextColumn, TextColumnBuilder, type TextColumnMemory } from "./text-column.ts";

/** Rewrites of a table's samples, grouped by sample. */
export interface RewriteColumns {
  /** Names of the sources. */
  sources: readonly string[];
  texts: TextColumn;
  /** `[samples + 1]`: where each sample's rewrites begin in `order`. */
  starts: Uint32Array;
  /** `[texts]`: rows of `texts`, sample by sample, within a sample in the order of the sources. */
  order: Uint32Array;
  /** `[texts]`: index into `sources` of each row of `texts`. */
  sourceOf: Uint8Array;
  /** `[texts]`: chance of each text relative to an original's, above 0 and up to 1; undefined where all are 1. */
  weights?: Float32Array | undefined;
}

/** A table as plain memory: posting it to another thread shares it. */
export interface SampleTableMemory {
  imageFolder: string;
  ids: TextColumnMemory;
  images: TextColumnMemory;
  originals: TextColumnMemory;
  rewrites: (Omit<RewriteColumns, "texts"> & { texts: TextColumnMemory }) | undefined;
}

/** Ids, image paths, captions and rewrites of a whole data set in a few flat arrays, which threads share. */
export class SampleTable {
  /** Folder that the image paths are relative to. */
  readonly imageFolder: string;
  readonly ids: TextColumn;
  /** Image paths as written, absolute or relative to `imageFolder`. */
  readonly images: TextColumn;
  /** The data set's own captions. */
  readonly originals: TextColumn;
  readonly rewrites: RewriteColumns | undefined;

  constructor(columns: {
    imageFolder: string;
    ids: TextColumn;
    images: TextColumn;
    originals: TextColumn;
    rewrites?: RewriteColumns | undefined;
  }) {
    this.imageFolder = columns.imageFolder;
    this.ids = columns.ids;
    this.images = columns.images;
    this.originals = columns.originals;
    this.rewrites = columns.rewrites;
    invariant(this.images.length === this.length && this.originals.length === this.length, "columns of a sample table differ in length");
  }

  static fromMemory(memory: SampleTableMemory): SampleTable {
    const { imageFolder, ids, images, originals, rewrites } = memory;
    return new SampleTable({
      imageFolder,
      ids: new TextColumn(ids),
      images: new TextColumn(images),
      originals: new TextColumn(originals),
      rewrites: rewrites && { ...rewrites, texts: new TextColumn(rewrites.texts) },
    });
  }

  /** A table of samples made by hand, for small sets. The first caption of each is its original. */
  static of(samples: readonly Sample[]): SampleTable {
    const sources = [...new Set(samples.flatMap(({ captions }) => captions.slice(1).map(({ source }) => source)))];
    const originals = samples.map(({ id, captions }) => {
      invariant(captions[0]?.source === originalSource, `the first caption of sample ${id} is not its original`);
      return captions[0].text;
    });
    const grouping = new RewriteGrouping(samples.length, sources);
    samples.forEach(({ captions }, row) =>
      captions.slice(1).forEach(({ source, text, weight }) => grouping.add(row, sources.indexOf(source), text, weight)),
    );
    return new SampleTable({
      imageFolder: "",
      ids: TextColumn.of(samples.map(({ id }) => id)),
      images: TextColumn.of(samples.map(({ image }) => image)),
      originals: TextColumn.of(originals),
      rewrites: sources.length > 0 ? grouping.finish() : undefined,
    });
  }

  get length(): number {
    return this.ids.length;
  }

  get memory(): SampleTableMemory {
    const { imageFolder, rewrites } = this;
    return {
      imageFolder,
      ids: this.ids.memory,
      images: this.images.memory,
      originals: this.originals.memory,
      rewrites: rewrites && { ...rewrites, texts: rewrites.texts.memory },
    };
  }

  /** Path of a sample's image file. */
  imagePath(row: number): string {
    const path = this.images.at(row);
    return isAbsolute(path) ? path : join(this.imageFolder, path);
  }

  at(row: number): Sample {
    const captions: Caption[] = [{ source: originalSource, text: this.originals.at(row) }];
    if (this.rewrites) {
      const { starts, order, sourceOf, sources, texts, weights } = this.rewrites;
      for (let i = starts[row]!; i < starts[row + 1]!; i++) {
        const text = order[i]!;
        const caption = { source: sources[sourceOf[text]!]!, text: texts.at(text) };
        captions.push(weights ? { ...caption, weight: weights[text]! } : caption);
      }
    }
    return { id: this.ids.at(row), image: this.imagePath(row), captions };
  }

  /** The same samples with these rewrites instead of those it had. */
  withRewrites(rewrites: RewriteColumns): SampleTable {
    const { imageFolder, ids, images, originals } = this;
    return new SampleTable({ imageFolder, ids, images, originals, rewrites });
  }
}

/** Collects rewrites in any order and groups them by sample. */
export class RewriteGrouping {
  readonly #samples: number;
  readonly #sources: readonly string[];
  readonly #texts = new TextColumnBuilder();
  #rows = new Uint32Array(1 << 10);
  #sourceOf = new Uint8Array(1 << 10);
  /** Made when the first text comes that weighs other than 1: most folders have none. */
  #weights: Float32Array | undefined;

  constructor(samples: number, sources: readonly string[]) {
    invariant(sources.length <= 256, "more than 256 rewrite sources");
    this.#samples = samples;
    this.#sources = sources;
  }

  /** @param weight chance relative to the original's, above 0 and up to 1. Default 1 */
  add(row: number, source: number, text: string, weight = 1): void {
    const at = this.#texts.length;
    if (at === this.#rows.length) {
      this.#rows = grown(this.#rows, new Uint32Array(at * 2));
      this.#sourceOf = grown(this.#sourceOf, new Uint8Array(at * 2));
      this.#weights &&= grown(this.#weights, new Float32Array(at * 2).fill(1, at));
    }
    this.#rows[at] = row;
    this.#sourceOf[at] = source;
    if (weight !== 1) this.#weights ??= new Float32Array(this.#rows.length).fill(1);
    if (this.#weights) this.#weights[at] = weight;
    this.#texts.add(text);
  }

  finish(): RewriteColumns {
    const count = this.#texts.length;
    const starts = new Uint32Array(new SharedArrayBuffer((this.#samples + 1) * 4));
    for (let i = 0; i < count; i++) starts[this.#rows[i]! + 1]! += 1;
    for (let row = 0; row < this.#samples; row++) starts[row + 1]! += starts[row]!;
    const order = new Uint32Array(new SharedArrayBuffer(count * 4));
    const next = starts.slice();
    // One pass a source keeps a sample's texts in the order of the sources, whatever order they came in.
    for (let source = 0; source < this.#sources.length; source++) {
      for (let i = 0; i < count; i++) if (this.#sourceOf[i] === source) order[next[this.#rows[i]!]!++] = i;
    }
    const sourceOf = new Uint8Array(new SharedArrayBuffer(count));
    sourceOf.set(this.#sourceOf.subarray(0, count));
    let weights: Float32Array | undefined;
    if (this.#weights) {
      weights = new Float32Array(new SharedArrayBuffer(count * 4));
      weights.set(this.#weights.subarray(0, count));
    }
    const texts = this.#texts.finish();
    // Several texts of one source are sorted, so that the order in which they were written down does not matter.
    for (let row = 0; row < this.#samples; row++) {
      for (let from = starts[row]!, to = from; from < starts[row + 1]!; from = to) {
        while (to < starts[row + 1]! && sourceOf[order[to]!] === sourceOf[order[from]!]) to++;
        if (to - from > 1) order.subarray(from, to).sort((a, b) => texts.bytesAt(a).compare(texts.bytesAt(b)));
      }
    }
    return { sources: this.#sources, texts, starts, order, sourceOf, weights };
  }
}

function grown<T extends Uint32Array | Uint8Array | Float32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
