/**
 * Writing a rewrites folder so that kill -9 at any moment loses only what was not handed over yet, and nothing is ever there twice.
 *
 * Rewrites are appended to a log of lines, each handed to the operating system at once and synced to disk every second. A full
 * log becomes a parquet part of the same number: written beside, synced, renamed; only then is the log removed. Where both are
 * found, the part counts. The first thing a writer does is to cut a torn last line off the log and read which rewrites are there.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { jsonlToParquet } from "../formats/index.ts";
import { DataError, FolderLock, explainWriteFailure, invariant, sha256, syncFolder, writeFileAtomic } from "../support/index.ts";
import { HashedKeys } from "./hashed-keys.ts";
import { RewritesFolder, isRewritesFolder, logPath, partPath, readManifest, rewriteColumns, segments } from "./rewrites-folder.ts";
import type { CaptionsFingerprint, Rewrite, RewriteSource, RewritesManifest, RewritesShard } from "./rewrites-folder.ts";

/** What a rewrites folder is made for and by whom. */
export interface WriteRewritesOptions {
  /** Name of the data set, for people. */
  dataset: string;
  fingerprint: CaptionsFingerprint;
  /** The sources that will be written now. A folder may already hold others. */
  sources: Readonly<Record<string, RewriteSource>>;
  /** Which part of the data set this folder is to hold. Default: all of it. */
  shard?: RewritesShard | undefined;
  /** Program and version, for the manifest: "laclip 0.1.0". */
  createdWith: string;
  /** Rewrites in a parquet part. Default 200,000. */
  rowsPerPart?: number;
}

/** A rewrites folder that this process writes; no other can at the same time. */
export class RewritesWriter {
  readonly #done: HashedKeys;
  readonly #rowsPerPart: number;
  #segment: string;
  #rowsInLog: number;
  #file: number | undefined;
  #syncedAt = performance.now();
  #closed = false;

  private constructor(
    readonly path: string,
    readonly manifest: RewritesManifest,
    private readonly lock: FolderLock,
    state: { done: HashedKeys; segment: string; rowsInLog: number; rowsPerPart: number },
  ) {
    this.#done = state.done;
    this.#segment = state.segment;
    this.#rowsInLog = state.rowsInLog;
    this.#rowsPerPart = state.rowsPerPart;
  }

  /**
   * Opens a folder for writing, or begins it.
   * @throws DataError when the folder is being written by another process, belongs to another data set, or holds one of the
   *   sources made by another writer, prompt, sampling or seed
   */
  static async open(path: string, options: WriteRewritesOptions): Promise<RewritesWriter> {
    refuseForeignFolder(path);
    try {
      mkdirSync(join(path, "parts"), { recursive: true });
      mkdirSync(join(path, "log"), { recursive: true });
    } catch (error) {
      throw explainWriteFailure(error, path);
    }
    const lock = FolderLock.take(join(path, "lock"), "rewrites folder");
    try {
      const manifest = mergeManifest(path, options);
      sweep(path);
      const known = segments(path);
      const last = known.at(-1);
      const open = last !== undefined && !existsSync(partPath(path, last));
      const segment = open ? last : String(last === undefined ? 0 : Number(last) + 1).padStart(6, "0");
      // Before anything is read: a reader takes a whole line that lacks only its line break, and what is cut must not count as done.
      const rowsInLog = open ? cutTornLine(logPath(path, segment)) : 0;
      const done = new HashedKeys();
      for await (const batch of new RewritesFolder(path, manifest).read()) for (const { source, id } of batch) done.set(key(source, id));
      return new RewritesWriter(path, manifest, lock, { done, segment, rowsInLog, rowsPerPart: options.rowsPerPart ?? 200_000 });
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Number of rewrites in the folder. */
  get count(): number {
    return this.#done.size;
  }

  /** True when this caption has been rewritten by this source. */
  has(source: string, id: string): boolean {
    return this.#done.has(key(source, id));
  }

  /**
   * Adds rewrites. When this returns they survive the end of the process; within about a second also a power cut.
   * A rewrite that is there already (same source and id) is left out.
   */
  async append(rewrites: readonly Rewrite[]): Promise<void> {
    invariant(!this.#closed, "append to a closed rewrites writer");
    const fresh: Rewrite[] = [];
    const names = new Set<string>();
    for (const rewrite of rewrites) {
      invariant(Object.hasOwn(this.manifest.sources, rewrite.source), `source ${rewrite.source} is not in the manifest`);
      const name = key(rewrite.source, rewrite.id);
      if (this.#done.has(name) || names.has(name)) continue;
      names.add(name);
      fresh.push(rewrite);
    }
    if (fresh.length === 0) return;
    const log = logPath(this.path, this.#segment);
    const bytes = Buffer.from(fresh.map((rewrite) => `${JSON.stringify(row(rewrite))}\n`).join(""), "utf8");
    let size: number | undefined;
    try {
      this.#file ??= openSync(log, "a");
      size = fstatSync(this.#file).size;
      for (let offset = 0; offset < bytes.length;) offset += writeSync(this.#file, bytes, offset);
      if (performance.now() - this.#syncedAt > 1000) this.#sync();
    } catch (error) {
      // Half a line in the middle of a log would be damage; taken back, the disk holds exactly what it held before.
      if (this.#file !== undefined && size !== undefined) ftruncateSync(this.#file, size);
      throw explainWriteFailure(error, log);
    }
    for (const name of names) this.#done.set(name);
    this.#rowsInLog += fresh.length;
    if (this.#rowsInLog >= this.#rowsPerPart) await this.#compact();
  }

  /** Turns what is in the log into a part, and lets go of the folder. */
  async finish(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#compact();
    } finally {
      this.close();
    }
  }

  /** Lets go of the folder; what is in the log stays there and counts. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#sync();
      if (this.#file !== undefined) closeSync(this.#file);
    } finally {
      this.lock.release();
    }
  }

  #sync(): void {
    if (this.#file !== undefined) fsyncSync(this.#file);
    this.#syncedAt = performance.now();
  }

  async #compact(): Promise<void> {
    if (this.#rowsInLog === 0) return;
    this.#sync();
    const [log, part] = [logPath(this.path, this.#segment), partPath(this.path, this.#segment)];
    await jsonlToParquet(log, part, rewriteColumns);
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
    rmSync(log);
    this.#segment = String(Number(this.#segment) + 1).padStart(6, "0");
    this.#rowsInLog = 0;
  }
}

/** The key under which a rewrite is known; no source name holds a line break. */
function key(source: string, id: string): string {
  return `${source}\n${id}`;
}

/** The rewrite with its fields in the order of the columns, whatever order they were given in; half surrogate pairs are no text that parquet can hold. */
function row(rewrite: Rewrite): Record<string, unknown> {
  return {
    ...Object.fromEntries(Object.keys(rewriteColumns).map((name) => [name, rewrite[name as keyof Rewrite]])),
    text: rewrite.text.replace(/\p{Surrogate}/gu, "\ufffd"),
  };
}

/** A folder that holds other things is no place to start in: a slip of the hand must not mix with somebody's files. */
function refuseForeignFolder(path: string): void {
  if (!existsSync(path) || isRewritesFolder(path)) return;
  let names: string[];
  try {
    names = readdirSync(path);
  } catch (error) {
    throw new DataError(`${path}: this is a file, expected a folder for the rewrites.`, { cause: error });
  }
  const foreign = names.filter(
    (name) => !["parts", "log"].includes(name) && !name.startsWith("lock") && !name.startsWith("manifest.json.tmp-"),
  );
  if (foreign.length > 0)
    throw new DataError(`${path}: this folder holds other files ("${foreign[0]}") and no rewrites.`, {
      mend: "Name a folder that does not exist yet.",
    });
}

function mergeManifest(path: string, options: WriteRewritesOptions): RewritesManifest {
  const { dataset, fingerprint, shard, sources, createdWith } = options;
  for (const name of Object.keys(sources)) {
    if (!/^[a-z0-9][a-z0-9._-]*$/i.test(name))
      throw new DataError(`"${name}" is no name for a source: expected letters, digits, dots and dashes.`);
  }
  if (!isRewritesFolder(path)) {
    const manifest: RewritesManifest = {
      format: "laclip-rewrites",
      version: 1,
      dataset: { name: dataset, ...fingerprint },
      ...(shard ? { shard } : {}),
      sources: { ...sources },
      created: new Date().toISOString(),
      createdWith,
    };
    saveManifest(path, manifest);
    return manifest;
  }
  const manifest = readManifest(path);
  new RewritesFolder(path, manifest).assertMadeFor(fingerprint, dataset);
  refuseOtherShard(path, manifest.shard, shard);
  for (const [name, source] of Object.entries(sources)) {
    const before = Object.hasOwn(manifest.sources, name) ? manifest.sources[name] : undefined;
    if (before) refuseOtherSource(path, name, before, source);
  }
  const added = Object.keys(sources).filter((name) => !Object.hasOwn(manifest.sources, name));
  if (added.length === 0) return manifest;
  const merged = { ...manifest, sources: { ...manifest.sources, ...Object.fromEntries(added.map((name) => [name, sources[name]!])) } };
  saveManifest(path, merged);
  return merged;
}

/** Another part of the data set in the same folder could not be told from missing rewrites later. */
function refuseOtherShard(path: string, before: RewritesShard | undefined, now: RewritesShard | undefined): void {
  const words = (shard: RewritesShard | undefined): string =>
    shard ? `shard ${shard.number}/${shard.of} (captions ${shard.from + 1} to ${shard.to})` : "all of the data set";
  if (words(before) === words(now)) return;
  throw new DataError(`${path}: this rewrites folder was begun for ${words(before)}, not for ${words(now)}.`, {
    mend: "Use the same --shard and --limit as before, or write to another folder.",
  });
}

function saveManifest(path: string, manifest: RewritesManifest): void {
  writeFileAtomic(join(path, "manifest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
}

/** Texts of one source made in two ways could not be told apart later: the difference is named and refused. */
function refuseOtherSource(path: string, name: string, before: RewriteSource, now: RewriteSource): void {
  const named: readonly [string, (source: RewriteSource) => string][] = [
    ["engine", (source) => source.engine],
    ["model", (source) => source.model],
    ["model file", (source) => source.modelHash.slice(0, 16)],
    ["prompt or example pairs", (source) => source.promptHash.slice(0, 16)],
    ["seed", (source) => String(source.seed)],
    ["sampling", (source) => JSON.stringify(Object.fromEntries(Object.entries(source.sampling).sort(([a], [b]) => (a < b ? -1 : 1))))],
  ];
  const differing = named
    .filter(([, of]) => of(before) !== of(now))
    .map(([what, of]) => `${what}: "${of(before)}" there, "${of(now)}" now`);
  if (differing.length === 0) return;
  throw new DataError(`${path}: the rewrites from source "${name}" in this folder were made otherwise (${differing.join("; ")}).`, {
    mend: "Start with the settings of the folder's manifest.json, or write to another folder.",
  });
}

/** Removes what a crash may have left: files half written beside their place, and logs whose part is complete. */
function sweep(path: string): void {
  for (const name of readdirSync(join(path, "parts"))) if (name.includes(".tmp-")) rmSync(join(path, "parts", name));
  for (const segment of segments(path)) if (existsSync(partPath(path, segment))) rmSync(logPath(path, segment), { force: true });
  syncFolder(join(path, "parts"));
}

/** Cuts off a last line that a crash left unfinished; returns the number of lines that stay. */
function cutTornLine(log: string): number {
  const bytes = readFileSync(log);
  const end = bytes.lastIndexOf(0x0a) + 1;
  if (end < bytes.length) truncateSync(log, end);
  let lines = 0;
  for (let at = bytes.indexOf(0x0a); at !== -1 && at < end; at = bytes.indexOf(0x0a, at + 1)) lines++;
  return lines;
}

/** Hash of any plain value, for `modelHash` and `promptHash`. */
export function hashOf(value: unknown): string {
  return sha256(JSON.stringify(value));
}
