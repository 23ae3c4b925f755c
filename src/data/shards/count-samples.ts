/**
 * How many samples each tar has, and where some of them begin: what an order over them needs.
 *
 * Tars that `laclip data pack` made have it beside them (`laclip.index.json`), img2dataset's have a count (`NNNNN_stats.json`). All
 * others are looked through once: on this machine from header to header, elsewhere from front to back. What was found is kept in the
 * user's cache folder, as long as the tar does not change.
 */
import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { readTar, scanTar } from "../../formats/index.ts";
import { DataError, Progress, log, makeFolder, sha256, warnOnce, writeFileAtomic } from "../../support/index.ts";
import { besideTar, folderOfTar, indexBeside, readIfThere } from "../index-beside.ts";
import { fileNameOf, isAddress, shownAddress } from "../remote/address.ts";
import { type Shard } from "../remote/list-shards.ts";
import { openBytes } from "../remote/open-bytes.ts";
import type { Patience } from "../remote/patience.ts";
import { readShard } from "../remote/read-shard.ts";
import { type ShardIndex, shardIndexName } from "../shard-index.ts";
import { imageSuffixes, isPlainTar } from "../note-samples.ts";
import { SampleBorders, sampleMember } from "../webdataset.ts";

/** A tar whose samples are counted. */
export interface CountedShard {
  /** Path or address. */
  address: string;
  /** Samples that have an image. */
  samples: number;
  /** Byte at which the header of every `stride`-th sample begins; undefined where that is not known: then it is read from the front. */
  offsets?: readonly number[] | undefined;
  stride?: number | undefined;
}

const stride = 256;

const cachedSchema = z.object({ version: z.literal(1), samples: z.number().int().nonnegative(), offsets: z.array(z.number()) });

export interface CountOptions extends Patience {
  /** Folder in which counts are kept. Default: `laclip/shards` in the user's cache folder. */
  cache?: string | undefined;
}

/**
 * Counts the samples of tars.
 * @throws DataError when one is missing or damaged; EndpointError for what a server did; InterruptedError when stopped
 */
export async function countSamples(shards: readonly Shard[], options: CountOptions = {}): Promise<CountedShard[]> {
  const indexes = new Map<string, ShardIndex | undefined>();
  const counted: CountedShard[] = [];
  const progress = new Progress({ label: "count samples", total: shards.length, unit: "tars" });
  try {
    for (const shard of shards) {
      counted.push(
        (await indexed(shard, indexes, options)) ?? (await withStatistics(shard, options)) ?? (await lookedThrough(shard, options)),
      );
      progress.advance();
    }
  } finally {
    progress.finish();
  }
  return counted;
}

async function indexed(
  { address, size }: Shard,
  indexes: Map<string, ShardIndex | undefined>,
  options: Patience,
): Promise<CountedShard | undefined> {
  const folder = folderOfTar(address);
  if (!indexes.has(folder)) indexes.set(folder, await indexBeside(address, options));
  const entry = indexes.get(folder)?.shards.find(({ name }) => name === fileNameOf(address));
  if (!entry) return undefined;
  if (size !== undefined && size !== entry.bytes) {
    throw new DataError(`${shownAddress(address)}: ${size} bytes, where ${shardIndexName} beside it says ${entry.bytes}.`, {
      mend: "Copy it again; `laclip data verify` says what is whole.",
    });
  }
  return { address, samples: entry.samples, offsets: entry.offsets, stride: indexes.get(folder)!.stride };
}

const statisticsSchema = z.object({ successes: z.number().int().nonnegative() });

/** What img2dataset wrote beside a tar: `00012_stats.json` for `00012.tar`. */
async function withStatistics({ address }: Shard, options: Patience): Promise<CountedShard | undefined> {
  const name = fileNameOf(address);
  if (!/\.tar$/i.test(name)) return undefined;
  const text = await readIfThere(besideTar(address, name.replace(/\.tar$/i, "_stats.json")), options);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = statisticsSchema.safeParse(value);
  return parsed.success ? { address, samples: parsed.data.successes } : undefined;
}

async function lookedThrough({ address, size }: Shard, options: CountOptions): Promise<CountedShard> {
  const cache = options.cache ?? join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "laclip", "shards");
  // A link that leads nowhere is told of when it is opened.
  const changed = isAddress(address)
    ? (size ?? (await versionOf(address, options)))
    : statSync(address, { throwIfNoEntry: false })?.mtimeMs;
  const place = isAddress(address) ? shownAddress(address) : resolve(address);
  const file = join(cache, `${sha256(JSON.stringify([place, size, changed])).slice(0, 32)}.json`);
  // Without either, nothing would tell that it has changed.
  const known = changed === undefined ? undefined : fromCache(file);
  if (known) return { address, samples: known.samples, offsets: known.offsets, stride };
  const found = await lookThrough(address, options);
  if (changed !== undefined) intoCache(cache, file, found);
  return { address, ...found, stride };
}

/** By what a file on a web server is known to be the same: asked for with its first byte. Undefined where the server does not tell. */
async function versionOf(address: string, options: Patience): Promise<string | undefined> {
  const opened = openBytes(address, { ...options, to: 1 });
  for await (const _ of opened) break;
  return opened.version === undefined ? undefined : `${opened.version} ${opened.size}`;
}

async function lookThrough(address: string, options: Patience): Promise<{ samples: number; offsets: number[] }> {
  if (isAddress(address)) {
    warnOnce(
      `counted ${folderOfTar(address)}`,
      `${folderOfTar(address)}: nothing there says how many samples the tars have, so all of them are downloaded once to count. ` +
        "Packed with `laclip data pack` they have an index.",
    );
  }
  const borders = new SampleBorders();
  const offsets: number[] = [];
  let samples = 0;
  let open: { begins: number; image: boolean } | undefined;
  const close = (): void => {
    if (!open?.image) return;
    if (samples % stride === 0) offsets.push(open.begins);
    samples++;
  };
  for await (const { name, headerOffset } of isPlainTar(address)
    ? scanTar(address)
    : isAddress(address)
      ? readShard(address, options)
      : readTar(address)) {
    const member = sampleMember(name);
    if (!member) continue;
    if (borders.begins(member)) {
      close();
      open = { begins: headerOffset, image: false };
    }
    if (imageSuffixes.has(member.suffix)) open!.image = true;
  }
  close();
  // Of a compressed tar, nothing can be reached but through what comes before it.
  return { samples, offsets: /\.tar$/i.test(shownAddress(address)) ? offsets : [] };
}

function fromCache(file: string): { samples: number; offsets: number[] } | undefined {
  try {
    const parsed = cachedSchema.safeParse(JSON.parse(readFileSync(file, "utf8")));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

function intoCache(folder: string, file: string, found: { samples: number; offsets: number[] }): void {
  try {
    makeFolder(folder);
    writeFileAtomic(file, JSON.stringify({ version: 1, ...found }));
  } catch (error) {
    log.debug(`The count of a tar could not be kept in ${folder}: ${(error as Error).message}`);
  }
}
