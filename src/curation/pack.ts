/**
 * A data set as sharded tars: what training reads fastest and copies easiest, in the form that open_clip and webdataset read.
 *
 *   00000.tar, ...      samples: NNNNNNNNN.jpg (or .png, .webp), NNNNNNNNN.txt, NNNNNNNNN.json
 *   laclip.index.json   what is in each tar, and where samples begin (src/data/shard-index.ts)
 *   skipped.jsonl       images that could not be read, where there are any
 *   laclip-pack.jsonl   what is packed and which tars are finished (pack-record.ts)
 *
 * The bytes of a tar follow from the data and the settings alone. Several images are read ahead, and each goes into the tar as soon as
 * its turn comes, so that memory grows with the number of samples by their texts only.
 */
import { createHash } from "node:crypto";
import { existsSync, rmSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { SkippedImages, shardIndexName, shardIndexStride, writeShardIndex } from "../data/index.ts";
import type { Pairs, SampleTable } from "../data/index.ts";
import {
  DataError,
  FolderLock,
  InterruptedError,
  Progress,
  Random,
  UsageError,
  log,
  makeFolder,
  writeFileAtomic,
} from "../support/index.ts";
import { OpenShard, sizeInTar } from "./open-shard.ts";
import { PackRecord, shardName } from "./pack-record.ts";
import type { PackHead, PackSettings, PackedShard } from "./pack-record.ts";
import { TextKeys, storedImage } from "./packed-sample.ts";
import type { StoredImage, StoredImageOptions } from "./packed-sample.ts";

/** What is packed, where to, and how. */
export interface PackOptions extends StoredImageOptions {
  /** With rewrites or without. */
  pairs: Pairs;
  /** Folder for the tars: a new one, or one with a packing of the same data that was interrupted. */
  out: string;
  /** Samples of a tar. Default 10,000, unless `shardBytes` is given. */
  samplesPerShard?: number | undefined;
  /** Bytes that a tar may have; one sample it has in any case. */
  shardBytes?: number | undefined;
  /** "shuffled": mixed by the seed, so that samples that lie together are not alike. "table": as they come. Default "shuffled". */
  order?: "shuffled" | "table" | undefined;
  /** Default 0. */
  seed?: number | undefined;
  /** Share of images that may be unreadable, 0..1. Default 0.01. */
  maximumSkipped?: number | undefined;
  /** Images under way at once. Default: twice the processors, at least 4. */
  inFlight?: number | undefined;
  /** For the index: name and version of the program. */
  createdWith: string;
  /** Gives up the tar that is being written; finished ones stay. */
  signal?: AbortSignal | undefined;
}

/** What was packed. */
export interface PackReport {
  out: string;
  /** Tars in the folder, and how many of them an earlier start had written. */
  shards: number;
  kept: number;
  /** Samples and bytes in all tars. */
  samples: number;
  bytes: number;
  /** Images made smaller, and images of other formats made PNGs. */
  resized: number;
  converted: number;
  /** Images that could not be read. */
  skipped: number;
  /** For open_clip's `--json-text-key`, and for its `--json-text-key-probs`: each text with the same chance. */
  jsonTextKey: string;
  jsonTextKeyProbs: number[];
}

/**
 * Packs a data set into tars, or goes on with a packing that was interrupted.
 * @throws UsageError for settings that exclude each other, or a folder with other files in it
 * @throws DataError when the folder holds a packing of other data or settings, or too many images can't be read
 * @throws InterruptedError when stopped
 */
export async function packShards(options: PackOptions): Promise<PackReport> {
  const { pairs, out, maximumSkipped = 0.01, createdWith, signal } = options;
  const { samples } = pairs;
  const settings = packSettings(options);
  const keys = new TextKeys(samples);
  const data = { samples: samples.length, captions: pairs.fingerprint.hash, texts: hashOfSamples(samples) };
  makeFolder(out);
  const lock = await FolderLock.acquire(join(out, "lock"), "packing", { signal });
  try {
    const head: PackHead = { format: "laclip-pack", version: 1, settings, data };
    const record = PackRecord.open(out, head);
    const skipped = new SkippedImages(samples.length, maximumSkipped);
    const whole = new Set(record.shards.filter((shard) => isWhole(out, shard)));
    for (const shard of whole) skipped.add(shard.skipped.map(({ position, reason }) => ({ row: position, reason })));
    const done = [...whole].reduce((sum, { from, to }) => sum + to - from, 0);
    const progress = new Progress({ label: "pack", total: samples.length, unit: "samples", start: done });
    const packing = new Packing(options, { settings, keys, record, skipped, progress });
    try {
      for (const before of record.shards) {
        if (whole.has(before)) continue;
        const again = await packing.again(before);
        if (again.sha256 !== before.sha256)
          log.warn(`${shardName(before.shard)} was missing and is made anew, from images that have changed.`);
      }
      await packing.goOn();
    } finally {
      progress.finish();
    }
    lock.assertHeld();
    skipped.report("they are in no tar");
    return finish(out, { pairs, keys, record, createdWith, kept: whole.size });
  } finally {
    lock.release();
  }
}

function packSettings(options: PackOptions): PackSettings {
  const { shardBytes, resize, quality = 95, order = "shuffled", seed = 0, decode = true } = options;
  if (shardBytes !== undefined && options.samplesPerShard !== undefined) {
    throw new UsageError("A tar ends after so many samples, or at so many bytes: give one of --samples-per-shard and --shard-bytes.");
  }
  const samplesPerShard = shardBytes === undefined ? (options.samplesPerShard ?? 10_000) : undefined;
  return {
    ...(samplesPerShard === undefined ? { shardBytes } : { samplesPerShard }),
    ...(resize === undefined ? {} : { resize, quality }),
    order,
    ...(order === "shuffled" ? { seed } : {}),
    decode,
  };
}

/** Over everything that the tars are made from but the images' bytes. */
function hashOfSamples(samples: SampleTable): string {
  const hash = createHash("sha256");
  for (let row = 0; row < samples.length; row++) {
    const { id, captions } = samples.at(row);
    hash.update(JSON.stringify([id, samples.imageAsWritten(row), captions]));
  }
  return hash.digest("hex");
}

function isWhole(out: string, { shard, bytes }: PackedShard): boolean {
  return statSync(join(out, shardName(shard)), { throwIfNoEntry: false })?.size === bytes;
}

interface Parts {
  settings: PackSettings;
  keys: TextKeys;
  record: PackRecord;
  skipped: SkippedImages;
  progress: Progress;
}

/** A sample whose turn is coming: its image, or why that can't be read. */
interface Prepared {
  position: number;
  row: number;
  image: StoredImage | string;
}

/** Writes the tars of one data set. */
class Packing {
  readonly #options: PackOptions;
  readonly #parts: Parts;
  readonly #samples: SampleTable;
  /** Row at each position; undefined where they are the same. */
  readonly #order: Uint32Array | undefined;
  readonly #ahead: number;
  readonly #keyLength: number;

  constructor(options: PackOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#samples = options.pairs.samples;
    const { seed } = parts.settings;
    if (seed !== undefined) this.#order = Random.of(seed, "pack").permutation(this.#samples.length);
    this.#ahead = options.inFlight ?? Math.max(4, 2 * availableParallelism());
    this.#keyLength = Math.max(9, String(this.#samples.length).length);
  }

  /** Makes a tar that was there once and is no more. */
  async again({ shard, from, to }: PackedShard): Promise<PackedShard> {
    const open = await this.#begin(shard, from);
    await this.#fill({ shard: open }, this.#prepared(from, to), () => false);
    return await open.close(to);
  }

  /** Makes the tars that were never made. */
  async goOn(): Promise<void> {
    const last = this.#parts.record.shards.at(-1);
    const from = last?.to ?? 0;
    if (from === this.#samples.length) return;
    const { samplesPerShard = Infinity, shardBytes = Infinity } = this.#parts.settings;
    const current = { shard: await this.#begin(last === undefined ? 0 : last.shard + 1, from) };
    const isFull = ({ samples, bytes }: OpenShard, more: number): boolean =>
      samples > 0 && (samples >= samplesPerShard || bytes + more > shardBytes);
    await this.#fill(current, this.#prepared(from, this.#samples.length), isFull);
    await current.shard.close(this.#samples.length);
  }

  /** @param current the tar that is being written; when it is full, the next one takes its place */
  async #fill(
    current: { shard: OpenShard },
    prepared: AsyncGenerator<Prepared>,
    isFull: (shard: OpenShard, more: number) => boolean,
  ): Promise<void> {
    try {
      for await (const { position, row, image } of prepared) {
        if (this.#options.signal?.aborted) {
          throw new InterruptedError(`Stopped before all of ${this.#options.out} was written; finished tars stay.`, {
            mend: "Start the same command again: it goes on from there.",
          });
        }
        if (typeof image === "string") {
          this.#parts.skipped.add([{ row: position, reason: image }]);
          current.shard.skip({ position, id: this.#samples.id(row), image: this.#samples.imageAsWritten(row), reason: image });
        } else {
          const sample = this.#samples.at(row);
          const json = Buffer.from(JSON.stringify(this.#parts.keys.describe(sample, row)));
          const members = [
            [image.suffix, image.bytes],
            ["txt", Buffer.from(sample.captions[0]!.text)],
            ["json", json],
          ] as const;
          const size = members.reduce((sum, [, { byteLength }]) => sum + sizeInTar(byteLength), 0);
          if (isFull(current.shard, size)) {
            const closed = await current.shard.close(position);
            current.shard = await this.#begin(closed.shard + 1, position);
          }
          await current.shard.add(String(position).padStart(this.#keyLength, "0"), members, image.change);
        }
        this.#parts.progress.advance();
      }
    } catch (error) {
      await current.shard.abandon();
      throw error;
    }
  }

  async #begin(shard: number, from: number): Promise<OpenShard> {
    if (shard > 99_999) {
      throw new UsageError("That makes more than 100,000 tars.", { mend: "Choose larger ones (--samples-per-shard, --shard-bytes)." });
    }
    return await OpenShard.begin(this.#options.out, { shard, from, record: this.#parts.record });
  }

  /** The samples at these positions, in their order; the images of the next few are read ahead. */
  async *#prepared(from: number, to: number): AsyncGenerator<Prepared> {
    const underWay: Promise<Prepared>[] = [];
    let next = from;
    try {
      while (next < to || underWay.length > 0) {
        while (next < to && underWay.length < this.#ahead) {
          const prepared = this.#prepare(next++);
          // Seen to when its turn comes; until then a failure must not count as unhandled.
          prepared.catch(() => undefined);
          underWay.push(prepared);
        }
        yield await underWay.shift()!;
      }
    } finally {
      await Promise.allSettled(underWay);
    }
  }

  async #prepare(position: number): Promise<Prepared> {
    const row = this.#order?.[position] ?? position;
    try {
      const image = await storedImage(this.#samples.image(row), this.#samples.imageAsWritten(row), this.#options);
      return { position, row, image };
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      return { position, row, image: error.message };
    }
  }
}

/** Writes what says that all tars are there. */
function finish(
  out: string,
  { pairs, keys, record, createdWith, kept }: { pairs: Pairs; keys: TextKeys; record: PackRecord; createdWith: string; kept: number },
): PackReport {
  const { shards } = record;
  const sum = (of: (shard: PackedShard) => number): number => shards.reduce((total, shard) => total + of(shard), 0);
  const skipped = shards.flatMap((shard) => shard.skipped);
  const samples = sum((shard) => shard.samples);
  const list = join(out, "skipped.jsonl");
  if (skipped.length > 0)
    writeFileAtomic(list, skipped.map(({ id, image, reason }) => `${JSON.stringify({ id, image, reason })}\n`).join(""));
  else if (existsSync(list)) rmSync(list);
  const { count, hash } = pairs.fingerprint;
  writeShardIndex(out, {
    format: "laclip-shards",
    version: 1,
    createdWith,
    dataset: { name: basename(pairs.file), count, hash },
    samples,
    skipped: skipped.length,
    textKeys: [...keys.all],
    stride: shardIndexStride,
    shards: shards.map((shard) => ({
      name: shardName(shard.shard),
      samples: shard.samples,
      bytes: shard.bytes,
      sha256: shard.sha256,
      offsets: shard.offsets,
    })),
  });
  log.debug(`${join(out, shardIndexName)} written`);
  return {
    out,
    shards: shards.length,
    kept,
    samples,
    bytes: sum((shard) => shard.bytes),
    resized: sum((shard) => shard.resized),
    converted: sum((shard) => shard.converted),
    skipped: skipped.length,
    jsonTextKey: keys.all.join(";"),
    jsonTextKeyProbs: keys.all.map(() => 1),
  };
}
