/**
 * Data of any kind, opened to be looked at: ids and captions in memory, images read when they are asked for.
 *
 * Samples that can't be used are counted and left out, however many they are: whoever looks at data wants to know, not to be refused.
 */
import {
  FingerprintBuilder,
  HashedKeys,
  MemberTexts,
  SampleTableBuilder,
  fileNameOf,
  imageSuffixes,
  isPlainTar,
  noteSamples,
  readShard,
  sampleMember,
  shownAddress,
  shownShards,
} from "../data/index.ts";
import type { Caption, FilePart, NotedSample, Pairs, SampleTable, SkippedRows } from "../data/index.ts";
import { DataError, Progress, Random } from "../support/index.ts";
import { findTars } from "./found-tars.ts";
import type { TarKeys } from "./found-tars.ts";
import { kindOfData, openCollection, refuseOtherFlags } from "./image-collection.ts";
import type { CollectionOptions, DataKind } from "./image-collection.ts";
import { readImage } from "./packed-sample.ts";

/** A text that stands beside a caption. */
export interface BesideText {
  /** Rewrite source. */
  source: string;
  text: string;
}

/** Data that were opened. */
export interface InspectedData {
  kind: DataKind;
  /** Ids and captions of what can be used; images are read through `images`. */
  pairs: Pairs;
  /** Number of tars; 0 for other kinds. */
  tars: number;
  /** What is wrong with tars that can't be read to their end; the samples before that count. */
  damaged: readonly string[];
  /** Samples of tars whose id an earlier one has too; tables with such are refused. */
  repeatedIds: number;
  /** Rewrites that stand in the tars, by source. */
  packed: Readonly<Record<string, number>>;
  /** Rows drawn by chance for being shown, rising, with the rewrites that stand in the tars. */
  shown: ReadonlyMap<number, readonly BesideText[]>;
  /** The image files of some rows, rising, in their order: bytes, or why there are none. */
  images: (rows: readonly number[]) => AsyncGenerator<{ row: number; bytes: Uint8Array | DataError }>;
}

/** What is opened, and what is drawn of it. */
export interface InspectedDataOptions extends Omit<CollectionOptions, "rewrites" | "join" | "maximumSkipped" | "checkImages"> {
  /** Samples to draw for being shown. */
  show: number;
  seed: number;
}

/**
 * Opens a table, tars or a folder of images by class.
 * @throws DataError when a table or tar is missing or damaged, or ids of a table repeat
 */
export async function openInspected({ show, seed, ...options }: InspectedDataOptions): Promise<InspectedData> {
  if (kindOfData(options.path) === "tars") {
    refuseOtherFlags(options.path, "tars", options);
    const { idColumn, captionColumn } = options;
    return await openTars(options.path, { idColumn, captionColumn }, { show, seed });
  }
  const { kind, pairs } = await openCollection({ ...options, maximumSkipped: 1 });
  const { samples } = pairs;
  const drawn = drawRows(samples.length, show, Random.of(seed, "shown"));
  return {
    kind,
    pairs,
    tars: 0,
    damaged: [],
    repeatedIds: 0,
    packed: {},
    shown: new Map(drawn.map((row) => [row, []])),
    images: imagesOf(samples, () => true),
  };
}

/** Different rows, rising, each with the same chance. */
export function drawRows(count: number, wanted: number, random: Random): number[] {
  if (wanted >= count) return Array.from({ length: count }, (_, row) => row);
  const rows = new Set<number>();
  while (rows.size < wanted) rows.add(random.integer(count));
  return [...rows].sort((a, b) => a - b);
}

async function orError<T>(work: Promise<T>): Promise<T | DataError> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof DataError) return error;
    throw error;
  }
}

/** What is collected of all tars. */
class TarCollector {
  readonly samples = new SampleTableBuilder("");
  readonly rowOf = new HashedKeys();
  readonly fingerprint = new FingerprintBuilder();
  readonly skipped: SkippedRows = { emptyCaptions: 0, missingImages: 0, examples: [] };
  readonly packed: Record<string, number> = {};
  readonly shown: { row: number; texts: BesideText[] }[] = [];
  rows = 0;
  readonly #random: Random;
  readonly #keys: TarKeys;
  readonly #show: number;

  constructor(keys: TarKeys, { show, seed }: { show: number; seed: number }) {
    this.#keys = keys;
    this.#show = show;
    this.#random = Random.of(seed, "shown");
  }

  add(tar: string, { key, image, texts }: NotedSample): void {
    this.rows++;
    const { id, captions } = said(tar, key, texts, this.#keys);
    const [original, ...others] = captions;
    if (original !== undefined) this.fingerprint.add(id, original.text);
    if (original === undefined || image === undefined) {
      this.skipped[original === undefined ? "emptyCaptions" : "missingImages"]++;
      const what = original === undefined ? "no caption" : "no image";
      if (this.skipped.examples.length < 5) this.skipped.examples.push(`${fileNameOf(tar)}, sample ${key}: ${what}`);
      return;
    }
    const row = this.samples.add(id, image, original.text);
    if (!this.rowOf.has(id)) this.rowOf.set(id, row);
    for (const { source } of others) this.packed[source] = (this.packed[source] ?? 0) + 1;
    // Reservoir sampling: how many there are shows only at the end.
    const at = row < this.#show ? row : this.#random.integer(row + 1);
    if (at < this.#show) this.shown[at] = { row, texts: others };
  }
}

/** What the members of a sample say; those that can't be read say nothing here: `laclip data verify` says what is wrong with them. */
function said(
  tar: string,
  key: string,
  texts: ReadonlyMap<string, Buffer>,
  { idColumn, captionColumn }: TarKeys,
): { id: string; captions: Caption[] } {
  const readable = new Map<string, Buffer>();
  for (const [suffix, bytes] of texts) {
    const alone = new MemberTexts(shownAddress(tar), key, new Map([[suffix, bytes]]));
    if (orNothing(() => alone.captions({})) !== undefined) readable.set(suffix, bytes);
  }
  const members = new MemberTexts(shownAddress(tar), key, readable);
  return { id: members.id(idColumn) || key, captions: members.captions({ captionColumn }) };
}

function orNothing<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}

async function openTars(path: string, given: TarKeys, drawing: { show: number; seed: number }): Promise<InspectedData> {
  const { shards, keys, packedFrom } = await findTars(path, given);
  const collector = new TarCollector(keys, drawing);
  const progress = new Progress({ label: "read", total: shards.length, unit: "tars" });
  const damaged: string[] = [];
  for (const { address } of shards) {
    try {
      for await (const sample of noteSamples(address)) collector.add(address, sample);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      damaged.push(error.message);
    }
    progress.advance();
  }
  progress.finish();
  const { fingerprint, skipped, packed, rows, rowOf } = collector;
  const samples = collector.samples.finish();
  const pairs = { file: shownShards(path), rows, skipped, fingerprint: packedFrom ?? fingerprint.finish(), samples, rowOf };
  const shown = new Map(collector.shown.sort((a, b) => a.row - b.row).map(({ row, texts }) => [row, texts]));
  const repeatedIds = samples.length - rowOf.size;
  return { kind: "tars", pairs, tars: shards.length, damaged, repeatedIds, packed, shown, images: imagesOf(samples, isPlainTar) };
}

type Images = ReturnType<InspectedData["images"]>;

/** @param atAnyPlace whether any part of a file can be read at once */
function imagesOf(samples: SampleTable, atAnyPlace: (file: string) => boolean): InspectedData["images"] {
  return async function* (rows) {
    for (let at = 0; at < rows.length;) {
      const source = samples.image(rows[at]!);
      if (typeof source === "string" || source instanceof Uint8Array || atAnyPlace(source.file)) {
        yield { row: rows[at]!, bytes: await orError(readImage(source, samples.imageAsWritten(rows[at]!))) };
        at++;
        continue;
      }
      const together: { row: number; image: FilePart }[] = [];
      for (; at < rows.length; at++) {
        const image = samples.image(rows[at]!) as FilePart;
        if (image.file !== source.file || image.offset <= (together.at(-1)?.image.offset ?? -1)) break;
        together.push({ row: rows[at]!, image });
      }
      yield* readInPassing(source.file, together);
    }
  };
}

/** A tar that is compressed, or elsewhere, has to be read from its beginning once more. */
async function* readInPassing(tar: string, wanted: readonly { row: number; image: FilePart }[]): Images {
  let next = 0;
  for await (const { name, offset, bytes } of readShard(tar)) {
    if (offset !== wanted[next]!.image.offset || !imageSuffixes.has(sampleMember(name)?.suffix ?? "")) continue;
    yield { row: wanted[next]!.row, bytes: await orError(bytes()) };
    if (++next === wanted.length) return;
  }
}
