/**
 * Whether tars of samples are whole, and hold what training needs: looked at from the first byte to the last, tar by tar.
 *
 * Readers of webdatasets pass over what they can't use and say little: a tar that was cut off, a sample without a caption, a web page
 * called `.jpg` only make the data set smaller. Here each is named. Where an index (`laclip.index.json`) or img2dataset's
 * `NNNNN_stats.json` says what should be there, it is compared.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import {
  SampleBorders,
  captionColumns,
  imageExtensions,
  readShardIndex,
  listShards,
  parseJsonObject,
  sampleMember,
  shardIndexName,
  textUnder,
  textUnderAny,
} from "../data/index.ts";
import type { IndexedShard, SampleMember, ShardIndex } from "../data/index.ts";
import { readTar } from "../formats/index.ts";
import type { TarMember } from "../formats/index.ts";
import { decodeImage, imageFormat } from "../images/index.ts";
import { LaclipError, Progress, isRecord, sha256File } from "../support/index.ts";

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
 * @param paths each a tar, a folder with tars, or a pattern with braces
 * @throws DataError when there is no such tar, or an index can't be read; what is wrong inside of tars is reported
 */
export async function verifyTars(paths: readonly string[], options: VerifyTarsOptions = {}): Promise<VerifyTarsReport> {
  const tars: TarReport[] = [];
  const add = (report: TarReport): void => {
    tars.push(report);
    options.onTar?.(report);
  };
  const all = (await Promise.all(paths.map(async (path) => await tarsAndMissing(path)))).flat();
  let indexed: { folder: string; index: ShardIndex | undefined } | undefined;
  const progress = new Progress({ label: "verify", total: all.length, unit: "tars" });
  for (const path of all) {
    // An index of very many tars is large: it is read once for all of them.
    if (indexed?.folder !== dirname(path)) indexed = { folder: dirname(path), index: readShardIndex(dirname(path)) };
    add(existsSync(path) ? await verifyTar(path, options, indexed.index) : missingTar(path));
    progress.advance();
  }
  progress.finish();
  const sum = (of: (tar: TarReport) => number): number => tars.reduce((total, tar) => total + of(tar), 0);
  const faults = sum(({ counts }) => Object.values(counts).reduce((a, b) => a + b, 0));
  return { tars, samples: sum(({ samples }) => samples), bytes: sum(({ bytes }) => bytes), faults };
}

/** The tars of a path; of a folder also those that are not there and should be. */
async function tarsAndMissing(path: string): Promise<string[]> {
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
const imageSuffixes: ReadonlySet<string> = new Set([...imageExtensions].map((extension) => extension.slice(1)));

/**
 * Looks at one tar; see `verifyTars`.
 * @param index of the tar's folder. Default: the one that lies there, if any
 */
export async function verifyTar(
  path: string,
  options: VerifyTarsOptions = {},
  index: ShardIndex | undefined = readShardIndex(dirname(path)),
): Promise<TarReport> {
  const { decode = false, captionColumn } = options;
  const faults = new Faults(options.examples ?? 5);
  const bytes = statSync(path).size;
  const borders = new SampleBorders();
  const keys = new Set<string>();
  const decoding = new Set<Promise<void>>();
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
    for await (const member of readTar(path)) {
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
          const job = decodeImage(picture, { name: `.${suffix}` }).then(
            () => undefined,
            (error: unknown) => {
              if (!LaclipError.is(error)) throw error;
              faults.add(imageFormat(picture) ? "unreadable-image" : "no-picture", key, error.message);
            },
          );
          decoding.add(job);
          void job.finally(() => decoding.delete(job)).catch(() => undefined);
          if (decoding.size >= decodedAtOnce) await Promise.race(decoding);
        }
      } else if (suffix === "txt" || suffix === "json") {
        const text = await bytesOf(member, faults, key);
        if (text !== undefined && captionIn(text, { key, suffix, captionColumn, faults })) open!.caption = true;
      }
    }
    close();
  } catch (error) {
    if (!LaclipError.is(error)) throw error;
    // What the sample that was cut in two lacks is no fault of its own.
    faults.add("damaged", undefined, error.message.replace(`${path}: `, ""));
  } finally {
    await Promise.all(decoding);
  }
  const compared = await compare(path, { bytes, samples, faults, index });
  return { path, samples, bytes, compared, counts: faults.counts, faults: faults.named };
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

/** Holds a tar against what others say of it; true where somebody says something. */
async function compare(
  path: string,
  { bytes, samples, faults, index }: { bytes: number; samples: number; faults: Faults; index: ShardIndex | undefined },
): Promise<boolean> {
  const stats = path.replace(/\.(tar|tar\.gz|tgz)$/i, "_stats.json");
  const written = existsSync(stats) ? successesOf(stats) : undefined;
  if (written !== undefined && written !== samples) faults.add("samples", undefined, `${samples}, and ${basename(stats)} says ${written}`);
  if (!index) return written !== undefined;
  const shard: IndexedShard | undefined = index.shards.find(({ name }) => name === basename(path));
  if (!shard) faults.add("not-in-index", undefined, `${shardIndexName} has ${index.shards.length} other tars`);
  else {
    if (shard.samples !== samples) faults.add("samples", undefined, `${samples}, and ${shardIndexName} says ${shard.samples}`);
    if (shard.bytes !== bytes) faults.add("bytes", undefined, `${bytes}, and ${shardIndexName} says ${shard.bytes}`);
    else if ((await sha256File(path)) !== shard.sha256) faults.add("sha256", undefined, `the SHA-256 is not that of ${shardIndexName}`);
  }
  return true;
}

/** img2dataset's count of the samples in a tar. */
function successesOf(path: string): number | undefined {
  try {
    const stats: unknown = JSON.parse(readFileSync(path, "utf8"));
    return isRecord(stats) && typeof stats["successes"] === "number" ? stats["successes"] : undefined;
  } catch {
    return undefined;
  }
}
