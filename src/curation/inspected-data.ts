/**
 * Data of any kind, opened to be looked at: ids and captions in memory, images read when they are asked for.
 *
 * Samples that can't be used are counted and left out, however many they are: whoever looks at data wants to know, not to be refused.
 */
import { open } from "node:fs/promises";
import { basename, resolve } from "node:path";
import {
  FingerprintBuilder,
  SampleBorders,
  HashedKeys,
  SampleTableBuilder,
  captionColumns,
  imageExtensions,
  listShards,
  parseJsonObject,
  readShardIndex,
  sampleMember,
  textUnder,
  textUnderAny,
} from "../data/index.ts";
import type { JsonObject, Pairs, SkippedRows } from "../data/index.ts";
import { readTar } from "../formats/index.ts";
import type { TarMember } from "../formats/index.ts";
import { DataError, LaclipError, Progress, Random } from "../support/index.ts";
import { kindOfData, openCollection, refuseOtherFlags } from "./image-collection.ts";
import type { CollectionOptions } from "./image-collection.ts";
import { readImage } from "./packed-sample.ts";

/** A text that stands beside a caption. */
export interface BesideText {
  /** Rewrite source, or the key of the `.json` that it stands under. */
  source: string;
  text: string;
}

/** Data that were opened. */
export interface InspectedData {
  kind: "table" | "tars" | "classes";
  /** Ids and captions of what can be used; images are read through `images`. */
  pairs: Pairs;
  /** Number of tars; 0 for other kinds. */
  tars: number;
  /** What is wrong with tars that can't be read to their end; the samples before that count. */
  damaged: readonly string[];
  /** Rewrites that stand in the tars, by key of the `.json`: how many samples have one. */
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
    return await openTars(options, { show, seed });
  }
  const { kind, pairs } = await openCollection({ ...options, maximumSkipped: 1 });
  const { samples } = pairs;
  const drawn = drawRows(samples.length, show, Random.of(seed, "shown"));
  const images: InspectedData["images"] = async function* (rows) {
    for (const row of rows) yield { row, bytes: await orError(readImage(samples.image(row), samples.imageAsWritten(row))) };
  };
  return { kind, pairs, tars: 0, damaged: [], packed: {}, shown: new Map(drawn.map((row) => [row, []])), images };
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

const imageSuffixes: ReadonlySet<string> = new Set([...imageExtensions].map((extension) => extension.slice(1)));
/** Larger members are no captions and no photos. */
const largestMember = 64 << 20;

interface TarOptions {
  path: string;
  idColumn?: string | undefined;
  captionColumn?: string | undefined;
}

/** A sample of a tar, as far as it was read. */
interface OpenSample {
  key: string;
  number: number;
  /** Where the image begins, and how long it is. */
  image?: { offset: number; size: number } | undefined;
  txt?: string | undefined;
  json?: string | undefined;
}

/** What is collected of all tars. */
class TarCollector {
  readonly samples = new SampleTableBuilder("");
  readonly rowOf = new HashedKeys();
  readonly fingerprint = new FingerprintBuilder();
  readonly skipped: SkippedRows = { emptyCaptions: 0, missingImages: 0, examples: [] };
  readonly packed: Record<string, number> = {};
  readonly shown: { row: number; texts: BesideText[] }[] = [];
  /** For each row its tar, the number of its sample in it, and where in it the image lies (-1: not known) and ends. */
  readonly places: { tar: number[]; sample: number[]; offset: number[]; size: number[] } = { tar: [], sample: [], offset: [], size: [] };
  rows = 0;
  readonly #random: Random;
  readonly #options: TarOptions & { show: number; packedIds: boolean };

  constructor(options: TarOptions & { show: number; seed: number; packedIds: boolean }) {
    this.#options = options;
    this.#random = Random.of(options.seed, "shown");
  }

  add(tar: number, path: string, { key, number, image, txt, json }: OpenSample): void {
    const { idColumn, captionColumn, packedIds, show } = this.#options;
    this.rows++;
    const object = readJson(json);
    const caption = captionColumn === undefined ? (txt ?? textUnderAny(object, captionColumns)) : textUnder(object, captionColumn);
    const id = idColumn !== undefined ? textUnder(object, idColumn) : (packedIds ? textUnder(object, "id") : "") || key;
    const lacking = caption.trim() === "" ? "emptyCaptions" : image === undefined ? "missingImages" : undefined;
    if (lacking !== undefined) {
      this.skipped[lacking]++;
      const what = lacking === "emptyCaptions" ? "no caption" : "no image";
      if (this.skipped.examples.length < 5) this.skipped.examples.push(`${basename(path)}, sample ${key}: ${what}`);
      return;
    }
    const row = this.samples.add(id, `${basename(path)}/${key}`, caption);
    this.rowOf.set(id, row);
    this.fingerprint.add(id, caption);
    this.places.tar.push(tar);
    this.places.sample.push(number);
    this.places.offset.push(image!.offset);
    this.places.size.push(image!.size);
    const texts = Object.entries(object).flatMap(([name, text]) =>
      name.startsWith("caption_") && typeof text === "string" && text.trim() !== "" ? [{ source: name, text }] : [],
    );
    for (const { source } of texts) this.packed[source] = (this.packed[source] ?? 0) + 1;
    // Reservoir sampling: how many there are shows only at the end.
    const at = row < show ? row : this.#random.integer(row + 1);
    if (at < show) this.shown[at] = { row, texts };
  }
}

/** The object of a `.json`; empty where it is none: `laclip data verify` says what is wrong with it. */
function readJson(text = "{}"): JsonObject {
  try {
    return parseJsonObject(text.replace(/^\ufeff/, ""), "");
  } catch (error) {
    if (LaclipError.is(error)) return {};
    throw error;
  }
}

async function openTars(options: TarOptions, { show, seed }: { show: number; seed: number }): Promise<InspectedData> {
  const tars = (await listShards(options.path)).map(({ address }) => address);
  const index = readShardIndex(tars[0]!);
  // In tars that were packed here, keys are running numbers, and the id stands in the .json.
  const collector = new TarCollector({ ...options, show, seed, packedIds: index !== undefined });
  const progress = new Progress({ label: "read", total: tars.length, unit: "tars" });
  const damaged: string[] = [];
  for (const [i, tar] of tars.entries()) {
    try {
      for await (const sample of readSamples(tar)) collector.add(i, tar, sample);
    } catch (error) {
      if (!LaclipError.is(error)) throw error;
      damaged.push(error.message);
    }
    progress.advance();
  }
  progress.finish();
  const { fingerprint, skipped, packed, rows, rowOf } = collector;
  const samples = collector.samples.finish();
  // What was packed may be less than what was rewritten: images that could not be read are in no tar.
  const packedFrom = index && { count: index.dataset.count, hash: index.dataset.hash };
  const pairs = { file: resolve(options.path), rows, skipped, fingerprint: packedFrom ?? fingerprint.finish(), samples, rowOf };
  const shown = new Map(collector.shown.sort((a, b) => a.row - b.row).map(({ row, texts }) => [row, texts]));
  return { kind: "tars", pairs, tars: tars.length, damaged, packed, shown, images: imagesOfTars(tars, collector) };
}

/** The samples of a tar with their texts and the places of their images; no image is kept. */
async function* readSamples(tar: string): AsyncGenerator<OpenSample> {
  const borders = new SampleBorders();
  let open: OpenSample | undefined;
  let number = 0;
  for await (const member of readTar(tar)) {
    const place = sampleMember(member.name);
    if (!place) continue;
    if (borders.begins(place)) {
      if (open) yield open;
      open = { key: place.key, number: number++ };
    }
    if (imageSuffixes.has(place.suffix)) open!.image ??= { offset: offsetOf(tar, member), size: member.size };
    else if ((place.suffix === "txt" || place.suffix === "json") && member.size <= largestMember)
      open![place.suffix] = (await member.bytes()).toString("utf8");
  }
  if (open) yield open;
}

/** Where a member's content begins in its file, or -1 in compressed tars. */
function offsetOf(tar: string, { offset }: TarMember): number {
  return /\.t?gz$/i.test(tar) ? -1 : offset;
}

function imagesOfTars(tars: readonly string[], { places }: TarCollector): InspectedData["images"] {
  return async function* (rows) {
    for (let from = 0, to = 0; from < rows.length; from = to) {
      const tar = places.tar[rows[from]!]!;
      while (to < rows.length && places.tar[rows[to]!] === tar) to++;
      const own = rows.slice(from, to);
      if (own.every((row) => places.offset[row]! >= 0)) yield* readInPlace(tars[tar]!, own, places);
      else yield* readInPassing(tars[tar]!, own, places);
    }
  };
}

type Images = ReturnType<InspectedData["images"]>;

async function* readInPlace(tar: string, rows: readonly number[], { offset, size }: TarCollector["places"]): Images {
  const file = await open(tar);
  try {
    for (const row of rows) {
      const bytes = Buffer.alloc(Math.min(size[row]!, largestMember));
      const { bytesRead } = await file.read(bytes, 0, bytes.length, offset[row]);
      yield { row, bytes: bytes.subarray(0, bytesRead) };
    }
  } finally {
    await file.close();
  }
}

/** A compressed tar has to be read from its beginning once more. */
async function* readInPassing(tar: string, rows: readonly number[], { sample }: TarCollector["places"]): Images {
  const borders = new SampleBorders();
  let next = 0;
  let number = -1;
  for await (const member of readTar(tar)) {
    const place = sampleMember(member.name);
    if (!place) continue;
    if (borders.begins(place)) number++;
    if (number !== sample[rows[next]!] || !imageSuffixes.has(place.suffix)) continue;
    try {
      yield { row: rows[next]!, bytes: await member.bytes() };
    } catch (error) {
      if (!LaclipError.is(error)) throw error;
      yield { row: rows[next]!, bytes: new DataError(error.message) };
    }
    if (++next === rows.length) return;
  }
}
