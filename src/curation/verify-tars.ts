/**
 * Whether tars of samples are whole, and hold what training needs: looked at from the first byte to the last, tar by tar.
 *
 * Readers of webdatasets pass over what they can't use and say little: a tar that was cut off, a sample without a caption, a web page
 * called `.jpg` only make the data set smaller. Here each is named. Where an index (`laclip.index.json`) or img2dataset's
 * `NNNNN_stats.json` says what should be there, it is compared.
 */
import { createHash, type Hash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  SampleBorders,
  besideTar,
  captionColumns,
  fileNameOf,
  imageSuffixes,
  indexBeside,
  isAddress,
  listShards,
  openBytes,
  parseJsonObject,
  readIfThere,
  readShardIndex,
  sampleMember,
  shardIndexName,
  shownAddress,
  textUnder,
  textUnderAny,
} from "../data/index.ts";
import type { IndexedShard, OpenedBytes, SampleMember, ShardIndex } from "../data/index.ts";
import { noPassedOver, readTar } from "../formats/index.ts";
import type { TarMember } from "../formats/index.ts";
import { decodeImage, imageFormat } from "../images/index.ts";
import { DataError, LaclipError, Progress, SideWork, isRecord } from "../support/index.ts";

/** What may be wrong with a tar, and what each means. */
export const tarFaults = {
  damaged: "the tar is cut off, or its headers are damaged",
  "repeated-suffix": "a suffix comes twice for one key: readers make two samples of it, or drop one",
  "repeated-key": "a key comes again after other samples",
  "no-image": "a sample has no image",
  "no-caption": "a sample has no caption, or an empty one",
  "bad-text": "a .txt is no UTF-8, or a .json no JSON object",
  "no-picture": "what is called an image is empty, a web page or something else",
  "unreadable-image": "an image can't be decoded",
  "passed-over": "links, or members with names such as ../a.jpg, which are not read",
  samples: "the number of samples is another than it should be",
  bytes: "the size is another than the index says",
  sha256: "the bytes are others than the index says",
  missing: "the index names a tar that is not there",
  "not-in-index": "the index does not know this tar",
} as const;

/** Name of a fault. */
export type TarFaultKind = keyof typeof tarFaults;

/** Something wrong. */
export interface TarFault {
  kind: TarFaultKind;
  /** Key of the sample; undefined where it is about the tar. */
  key?: string;
  says: string;
}

/** What is in a tar. */
export interface TarReport {
  /** Of an address, without what may be secret. */
  path: string;
  samples: number;
  bytes: number;
  /** True where an index or a `_stats.json` says what it should hold. */
  compared: boolean;
  /** How often each fault was found. */
  counts: Partial<Record<TarFaultKind, number>>;
  /** The first few of each kind. */
  faults: TarFault[];
}

/** What is in a set of tars. */
export interface VerifyTarsReport {
  tars: TarReport[];
  samples: number;
  bytes: number;
  /** Faults of all kinds in all tars. */
  faults: number;
}

/** How closely tars are looked at. */
export interface VerifyTarsOptions {
  /** Decode every image; without it, only the first bytes are looked at. Default false. */
  decode?: boolean | undefined;
  /** Key of the `.json` with the caption. Default: the `.txt`, else `caption`, `title` or `text` of the `.json`. */
  captionColumn?: string | undefined;
  /** Faults of a kind that are named for each tar; all are counted. Default 5. */
  examples?: number | undefined;
  /** Called with each tar's report as soon as it is there. */
  onTar?: ((report: TarReport) => void) | undefined;
}

/**
 * Looks at tars.
 * @param paths each a tar, a folder with tars, a pattern with braces, or addresses: see `listShards`
 * @throws DataError when there is no such tar, or an index can't be read; EndpointError for what a server did; what is wrong inside of
 *   tars is reported
 */
export async function verifyTars(paths: readonly string[], options: VerifyTarsOptions = {}): Promise<VerifyTarsReport> {
  const tars: TarReport[] = [];
  const add = (report: TarReport): void => {
    tars.push(report);
    options.onTar?.(report);
  };
  const all = (await Promise.all(paths.map(async (path) => await tarsAndMissing(path)))).flat();
  let indexed: { folder: string; index: ShardIndex | undefined } | undefined;
  const folderOf = (tar: string): string => shownAddress(besideTar(tar, ""));
  const progress = new Progress({ label: "verify", total: all.length, unit: "tars" });
  for (const path of all) {
    // An index of very many tars is large: it is read once for all of them.
    if (indexed?.folder !== folderOf(path)) indexed = { folder: folderOf(path), index: await indexBeside(path) };
    add(isAddress(path) || existsSync(path) ? await verifyTar(path, options, indexed.index) : missingTar(path));
    progress.advance();
  }
  progress.finish();
  const sum = (of: (tar: TarReport) => number): number => tars.reduce((total, tar) => total + of(tar), 0);
  const faults = sum(({ counts }) => Object.values(counts).reduce((a, b) => a + b, 0));
  return { tars, samples: sum(({ samples }) => samples), bytes: sum(({ bytes }) => bytes), faults };
}

/** The tars of a path; of a folder on this machine also those that are not there and should be. */
async function tarsAndMissing(path: string): Promise<string[]> {
  if (isAddress(path)) return (await listShards(path)).map(({ address }) => address);
  const folder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  const index = folder ? readShardIndex(path) : undefined;
  const missing = (index?.shards ?? []).map(({ name }) => join(path, name)).filter((tar) => !existsSync(tar));
  // A folder that has lost all of its tars has some to be reported all the same.
  const there = missing.length > 0 && missing.length === index!.shards.length ? [] : (await listShards(path)).map(({ address }) => address);
  return [...there, ...missing].sort();
}

function missingTar(path: string): TarReport {
  const says = `${shardIndexName} names it, and it is not there`;
  return { path, samples: 0, bytes: 0, compared: true, counts: { missing: 1 }, faults: [{ kind: "missing", says }] };
}

/** Images that are decoded at once. */
const decodedAtOnce = 8;

/**
 * Looks at one tar; see `verifyTars`.
 * @param path or address
 * @param index of the tar's folder, where there is one
 */
export async function verifyTar(path: string, options: VerifyTarsOptions = {}, index?: ShardIndex): Promise<TarReport> {
  const { decode = false, captionColumn } = options;
  const faults = new Faults(options.examples ?? 5);
  const source = new WatchedBytes(path, index !== undefined);
  const passedOver = noPassedOver();
  const shown = shownAddress(path);
  const borders = new SampleBorders();
  const keys = new Set<string>();
  const decoding = new SideWork(decodedAtOnce);
  let open: OpenSample | undefined;
  let samples = 0;
  const close = (): void => {
    if (!open) return;
    if (!open.image) faults.add("no-image", open.key, `only ${[...open.suffixes].join(", ") || "nothing"}`);
    if (!open.caption) faults.add("no-caption", open.key, captionFault(open));
  };
  const begin = ({ key, suffix }: SampleMember): void => {
    if (open?.key === key) faults.add("repeated-suffix", key, `.${suffix} comes again`);
    else if (keys.has(key)) faults.add("repeated-key", key, "it was there before");
    close();
    keys.add(key);
    samples++;
    open = { key, suffixes: new Set(), image: false, caption: false };
  };
  try {
    for await (const member of readTar(source, { name: shown, passedOver })) {
      const place = sampleMember(member.name);
      if (!place) continue;
      if (borders.begins(place)) begin(place);
      const { key, suffix } = place;
      open!.suffixes.add(suffix);
      if (imageSuffixes.has(suffix)) {
        open!.image = true;
        const picture = await bytesOf(member, faults, key);
        if (picture === undefined) continue;
        if (picture.length === 0 || (!decode && imageFormat(picture) === undefined))
          faults.add("no-picture", key, whatItIs(suffix, picture));
        else if (decode) {
          await decoding.start(async () => {
            try {
              await decodeImage(picture, { name: `.${suffix}` });
            } catch (error) {
              if (!LaclipError.is(error)) throw error;
              faults.add(imageFormat(picture) ? "unreadable-image" : "no-picture", key, error.message);
            }
          });
        }
      } else if (suffix === "txt" || suffix === "json") {
        const text = await bytesOf(member, faults, key);
        if (text !== undefined && captionIn(text, { key, suffix, captionColumn, faults })) open!.caption = true;
      }
    }
    close();
  } catch (error) {
    // What a server did says nothing of the tar.
    if (!(error instanceof DataError)) throw error;
    // What the sample that was cut in two lacks is no fault of its own.
    faults.add("damaged", undefined, error.message.replace(`${shown}: `, ""));
  } finally {
    await decoding.finish();
  }
  const { links, unsafeNames } = passedOver;
  if (links > 0) faults.add("passed-over", undefined, `${links} ${links === 1 ? "member is a link" : "members are links"}`);
  if (unsafeNames > 0) {
    const are = unsafeNames === 1 ? "member has a name that is" : "members have names that are";
    faults.add("passed-over", undefined, `${unsafeNames} ${are} absolute or lead out of the tar (../)`);
  }
  const bytes = source.size();
  const compared = await compare(path, { source, bytes, samples, faults, index });
  return { path: shown, samples, bytes, compared, counts: faults.counts, faults: faults.named };
}

interface OpenSample {
  key: string;
  suffixes: Set<string>;
  image: boolean;
  caption: boolean;
}

/** Counts faults, and keeps the first few of each kind. */
class Faults {
  readonly counts: Partial<Record<TarFaultKind, number>> = {};
  readonly named: TarFault[] = [];
  readonly #examples: number;

  constructor(examples: number) {
    this.#examples = examples;
  }

  add(kind: TarFaultKind, key: string | undefined, says: string): void {
    const count = (this.counts[kind] ?? 0) + 1;
    this.counts[kind] = count;
    if (count <= this.#examples) this.named.push({ kind, ...(key === undefined ? {} : { key }), says });
  }
}

/** The content of a member, unless it is so long that reading it would take all memory. */
async function bytesOf(member: TarMember, faults: Faults, key: string): Promise<Buffer | undefined> {
  if (member.size <= 64 << 20) return await member.bytes();
  faults.add(
    imageSuffixes.has(sampleMember(member.name)!.suffix) ? "unreadable-image" : "bad-text",
    key,
    `${member.name} has ${member.size} bytes`,
  );
  return undefined;
}

const strict = new TextDecoder("utf-8", { fatal: true });

/** Whether a text member holds the sample's caption. */
function captionIn(
  bytes: Buffer,
  { key, suffix, captionColumn, faults }: { key: string; suffix: string; captionColumn: string | undefined; faults: Faults },
): boolean {
  try {
    const text = strict.decode(bytes);
    if (suffix === "txt") return captionColumn === undefined && text.trim() !== "";
    const json = parseJsonObject(text, ".json");
    return (captionColumn === undefined ? textUnderAny(json, captionColumns) : textUnder(json, captionColumn)).trim() !== "";
  } catch (error) {
    faults.add("bad-text", key, LaclipError.is(error) ? error.message : `.${suffix} is no UTF-8`);
    return false;
  }
}

function captionFault({ suffixes }: OpenSample): string {
  return suffixes.has("txt") ? "its .txt is empty" : suffixes.has("json") ? "no .txt, and no caption in the .json" : "no .txt and no .json";
}

function whatItIs(suffix: string, bytes: Buffer): string {
  if (bytes.length === 0) return `.${suffix} is empty`;
  const start = bytes.subarray(0, 64).toString("latin1").trimStart().toLowerCase();
  return start.startsWith("<!doctype html") || start.startsWith("<html")
    ? `.${suffix} is a web page`
    : `.${suffix} is no image of a known format`;
}

/** The bytes of a tar, counted and hashed as they pass, so that a tar elsewhere is fetched once. */
class WatchedBytes implements AsyncIterable<Buffer> {
  readonly #address: string;
  readonly #hash: Hash | undefined;
  #source: OpenedBytes | undefined;
  #passed = 0;
  #whole = false;

  constructor(address: string, hashed: boolean) {
    this.#address = address;
    if (hashed) this.#hash = createHash("sha256");
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    this.#source = openBytes(this.#address);
    for await (const chunk of this.#source) {
      this.#passed += chunk.length;
      this.#hash?.update(chunk);
      yield chunk;
    }
    this.#whole = true;
  }

  /** Bytes of the file. Where the tar was not read to its end, what the server said; where it said nothing, those that came. */
  size(): number {
    if (this.#whole) return this.#passed;
    return statSync(this.#address, { throwIfNoEntry: false })?.size ?? this.#source?.size ?? this.#passed;
  }

  /** SHA-256 of the file; where it was not read to its end, it is read once more. */
  async sha256(): Promise<string> {
    if (this.#whole) return this.#hash!.digest("hex");
    const hash = createHash("sha256");
    for await (const chunk of openBytes(this.#address)) hash.update(chunk);
    return hash.digest("hex");
  }
}

/** Holds a tar against what others say of it; true where somebody says something. */
async function compare(
  path: string,
  facts: { source: WatchedBytes; bytes: number; samples: number; faults: Faults; index: ShardIndex | undefined },
): Promise<boolean> {
  const { source, bytes, samples, faults, index } = facts;
  const stats = fileNameOf(path).replace(/\.(tar|tar\.gz|tgz)$/i, "_stats.json");
  const written = stats === fileNameOf(path) ? undefined : successesIn(await readIfThere(besideTar(path, stats)));
  if (written !== undefined && written !== samples) faults.add("samples", undefined, `${samples}, and ${stats} says ${written}`);
  if (!index) return written !== undefined;
  const shard: IndexedShard | undefined = index.shards.find(({ name }) => name === fileNameOf(path));
  if (!shard) faults.add("not-in-index", undefined, `${shardIndexName} has ${index.shards.length} other tars`);
  else {
    if (shard.samples !== samples) faults.add("samples", undefined, `${samples}, and ${shardIndexName} says ${shard.samples}`);
    if (shard.bytes !== bytes) faults.add("bytes", undefined, `${bytes}, and ${shardIndexName} says ${shard.bytes}`);
    else if ((await source.sha256()) !== shard.sha256) faults.add("sha256", undefined, `the SHA-256 is not that of ${shardIndexName}`);
  }
  return true;
}

/** img2dataset's count of the samples in a tar. */
function successesIn(text = ""): number | undefined {
  try {
    const stats: unknown = JSON.parse(text);
    return isRecord(stats) && typeof stats["successes"] === "number" ? stats["successes"] : undefined;
  } catch {
    return undefined;
  }
}
