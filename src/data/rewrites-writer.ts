/**
 * Writing a rewrites folder so that kill -9 at any moment loses only what was not handed over yet, and nothing is ever there twice.
 *
 * Rewrites are appended to a log (rewrites-log.ts). A full log becomes a parquet part of the same number: written beside, synced,
 * renamed; only then is the log removed. Where both are found, the part counts. The first thing a writer does is to cut a torn last
 * line off the log and read which rewrites are there.
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { jsonlToParquet } from "../formats/index.ts";
import {
  DataError,
  FolderLock,
  explainWriteFailure,
  invariant,
  log,
  makeFolder,
  sha256,
  syncFolder,
  writeFileAtomic,
} from "../support/index.ts";
import type { ErrorOptions } from "../support/index.ts";
import type { BitSet } from "./bit-set.ts";
import type { CaptionsFingerprint } from "./captions-fingerprint.ts";
import { FinishedRewrites } from "./finished-rewrites.ts";
import { HashedKeys } from "./hashed-keys.ts";
import {
  RewritesFolder,
  describeShard,
  isRewritesFolder,
  logPath,
  partPath,
  readManifest,
  rewriteColumns,
  segments,
} from "./rewrites-folder.ts";
import type { Rewrite, RewriteSource, RewritesManifest, RewritesShard } from "./rewrites-folder.ts";
import { RewritesLog, cutTornLine } from "./rewrites-log.ts";

/** What a rewrites folder is made for and by whom. */
export interface WriteRewritesOptions {
  /** Name of the data set, for people. */
  dataset: string;
  fingerprint: CaptionsFingerprint;
  /** The part of the data set that this folder is for. Default: all of it. */
  shard?: RewritesShard | undefined;
  /** How many captions are to be rewritten. Default: not known. */
  captions?: number | undefined;
  /** The sources that will be written now. A folder may already hold others. */
  sources: Readonly<Record<string, RewriteSource>>;
  /** Program and version, for the manifest: "laclip 0.1.0". */
  createdWith: string;
  /** The number of each caption's id, where they are numbered already. Default: they are numbered as they come. */
  numbers?: HashedKeys;
  /** Rewrites in a parquet part. Default 200,000. */
  rowsPerPart?: number;
  /** Gives up waiting for a lock that another machine may still hold. */
  signal?: AbortSignal | undefined;
}

/** A rewrites folder that this process writes; no other can at the same time. */
export class RewritesWriter {
  readonly #finished: FinishedRewrites;
  readonly #rowsPerPart: number;
  #segment: string;
  #log: RewritesLog;
  #rowsInLog: number;
  #compacting: Promise<void> | undefined;
  #closed = false;

  private constructor(
    readonly path: string,
    readonly manifest: RewritesManifest,
    private readonly lock: FolderLock,
    state: { finished: FinishedRewrites; segment: string; rowsInLog: number; rowsPerPart: number },
  ) {
    this.#finished = state.finished;
    this.#segment = state.segment;
    this.#log = new RewritesLog(logPath(path, state.segment));
    this.#rowsInLog = state.rowsInLog;
    this.#rowsPerPart = state.rowsPerPart;
  }

  /**
   * Opens a folder for writing, or begins it.
   * @throws DataError when the folder is being written by another process, belongs to another data set, or holds one of the
   *   sources made by another writer, prompt, sampling or seed; InterruptedError when stopped
   */
  static async open(path: string, options: WriteRewritesOptions): Promise<RewritesWriter> {
    refuseForeignFolder(path);
    let lock: FolderLock;
    try {
      makeFolder(join(path, "parts"));
      makeFolder(join(path, "log"));
      lock = await FolderLock.acquire(join(path, "lock"), "rewrites folder", { signal: options.signal });
    } catch (error) {
      throw explainWriteFailure(error, path);
    }
    try {
      const manifest = mergeManifest(path, options);
      sweep(path);
      const known = segments(path);
      const last = known.at(-1);
      const open = last !== undefined && !existsSync(partPath(path, last));
      const segment = open ? last : String(last === undefined ? 0 : Number(last) + 1).padStart(6, "0");
      // Before anything is read: a reader takes a whole line that lacks only its line break, and what is cut must not count as done.
      const rowsInLog = open ? cutTornLine(logPath(path, segment)) : 0;
      const finished = new FinishedRewrites(Object.keys(options.sources), options.numbers ?? new HashedKeys());
      await finished.read(path);
      return new RewritesWriter(path, manifest, lock, { finished, segment, rowsInLog, rowsPerPart: options.rowsPerPart ?? 200_000 });
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Number of rewrites in the folder by the sources that this writer was opened for. */
  get count(): number {
    return this.#finished.count;
  }

  /** True when this caption has been rewritten by this source, one of those that this writer was opened for. */
  has(source: string, id: string): boolean {
    return this.#finished.has(source, id);
  }

  /** The numbers of the captions that this source has rewritten. */
  finished(source: string): Pick<BitSet, "has" | "count"> {
    const found = this.#finished.of(source);
    invariant(found, `this writer was not opened for source ${source}`);
    return found;
  }

  /**
   * Adds rewrites. They survive the end of the process when this turn of the event loop is over (or see `flush`), at most some
   * milliseconds later, and within about a second also a power cut. A rewrite that is there already (same source and id) is left out.
   * @throws LaclipError when they, or some that were added shortly before, can't be written
   */
  async append(rewrites: readonly Rewrite[]): Promise<void> {
    invariant(!this.#closed, "append to a closed rewrites writer");
    this.lock.assertHeld();
    // While a log becomes a part, a line added to it would be lost with it.
    while (this.#compacting) await this.#compacting;
    for (const rewrite of rewrites) {
      invariant(this.#finished.of(rewrite.source), `this writer was not opened for source ${rewrite.source}`);
      if (!this.#finished.add(rewrite.source, rewrite.id)) continue;
      this.#rowsInLog++;
      this.#log.add(`${lineOf(rewrite)}\n`);
    }
    if (this.#rowsInLog >= this.#rowsPerPart) await this.#compact();
  }

  /** Hands over what was appended, so that it survives the end of the process from now on, and readers see it. */
  flush(): void {
    this.#log.flush();
  }

  /** Turns what is in the log into a part, and lets go of the folder. */
  async finish(): Promise<void> {
    if (this.#closed) return;
    try {
      while (this.#compacting) await this.#compacting;
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
      this.#log.close();
    } finally {
      this.lock.release();
    }
  }

  async #compact(): Promise<void> {
    if (this.#rowsInLog === 0) return;
    this.#compacting = this.#logToPart().finally(() => (this.#compacting = undefined));
    await this.#compacting;
  }

  async #logToPart(): Promise<void> {
    this.lock.assertHeld();
    this.#log.sync();
    await jsonlToParquet(this.#log.path, partPath(this.path, this.#segment), rewriteColumns);
    // That took a while. Another process that has taken the folder over adds to this log, and makes this part anew from all of it.
    this.lock.assertHeld();
    this.#log.remove();
    this.#segment = String(Number(this.#segment) + 1).padStart(6, "0");
    this.#log = new RewritesLog(logPath(this.path, this.#segment));
    this.#rowsInLog = 0;
  }
}

/** A rewrite as a line of the log, its fields in the order of the columns; half surrogate pairs, no text that parquet can hold, become U+FFFD. */
function lineOf(rewrite: Rewrite): string {
  const { id, source, text, flags, finish, tokens, seed, examples, weight, fit, captionCosine, captionWeight } = rewrite;
  const made = { id, source, text: text.toWellFormed(), flags, finish, tokens, seed, examples };
  const row: Required<Record<keyof Rewrite, unknown>> = { ...made, weight, fit, captionCosine, captionWeight };
  return JSON.stringify(row);
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
  const { dataset, fingerprint, shard, captions, sources, createdWith } = options;
  for (const name of Object.keys(sources)) {
    if (!/^[a-z0-9][a-z0-9._-]*$/i.test(name))
      throw new DataError(`"${name}" is no name for a source: expected letters, digits, dots and dashes.`);
  }
  if (!isRewritesFolder(path)) {
    const manifest: RewritesManifest = {
      format: "laclip-rewrites",
      version: 1,
      dataset: { name: dataset, ...fingerprint },
      ...(captions === undefined ? {} : { captions }),
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
    if (!before) continue;
    refuseOtherSource(path, name, before, source);
    if (before.checks && source.checks && JSON.stringify(before.checks) !== JSON.stringify(source.checks)) {
      log.warn(
        `${path}: rewrites from "${name}" are looked at with other checks from now on than those that are there; \`laclip rewrites check\` brings all under the same.`,
      );
    }
  }
  const added = Object.keys(sources).filter((name) => !Object.hasOwn(manifest.sources, name));
  const most = captions === undefined ? manifest.captions : Math.max(captions, manifest.captions ?? 0);
  if (added.length === 0 && most === manifest.captions) return manifest;
  const known = most === undefined ? {} : { captions: most };
  const merged = {
    ...manifest,
    ...known,
    sources: { ...manifest.sources, ...Object.fromEntries(added.map((name) => [name, sources[name]!])) },
  };
  saveManifest(path, merged);
  return merged;
}

/** Another part of the data set in the same folder could not be told from missing rewrites later. */
function refuseOtherShard(path: string, before: RewritesShard | undefined, now: RewritesShard | undefined): void {
  const words = (shard: RewritesShard | undefined): string => (shard ? describeShard(shard) : "all of the data set");
  if (words(before) === words(now)) return;
  throw new DataError(`${path}: this rewrites folder was begun for ${words(before)}, not for ${words(now)}.`, {
    mend: "Use the same --shard and --limit as before, or write to another folder.",
  });
}

function saveManifest(path: string, manifest: RewritesManifest): void {
  writeFileAtomic(join(path, "manifest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
}

/**
 * How the texts of one source were made otherwise than another time, in words, one a difference: `seed: "0" there, "1" now`.
 * None where texts of both may stand together.
 */
export function differencesOfSource(before: RewriteSource, now: RewriteSource): string[] {
  const named: readonly [string, (source: RewriteSource) => string][] = [
    ["engine", (source) => source.engine],
    ["model", (source) => source.model],
    ["model file", (source) => source.modelHash.slice(0, 16)],
    // Folders of before there were several forms don't name theirs; its hash tells in any case.
    ["prompt", (source) => (before.prompt === undefined || now.prompt === undefined ? "" : (source.prompt ?? ""))],
    ["prompt or example pairs", (source) => source.promptHash.slice(0, 16)],
    ["seed", (source) => String(source.seed)],
    ["sampling", (source) => JSON.stringify(Object.fromEntries(Object.entries(source.sampling).sort(([a], [b]) => (a < b ? -1 : 1))))],
    // What is rejected is asked for again: then the checks decide the text too. Otherwise they decide its flags alone.
    ["checks that reject", (source) => (before.retries && now.retries ? rejectingChecks(source) : "")],
    ["look at the images", ({ images }) => (images ? JSON.stringify(images) : "none")],
  ];
  return named.filter(([, of]) => of(before) !== of(now)).map(([what, of]) => `${what}: "${of(before)}" there, "${of(now)}" now`);
}

/** What is to be written would be made otherwise than what is there: the folder is sound, this run does not go with it. */
export class OtherSettingsError extends DataError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "DataError";
  }
}

/** Texts of one source made in two ways could not be told apart later: the difference is named and refused. */
function refuseOtherSource(path: string, name: string, before: RewriteSource, now: RewriteSource): void {
  const differing = differencesOfSource(before, now);
  if (differing.length === 0) return;
  throw new OtherSettingsError(
    `${path}: the rewrites from source "${name}" in this folder were made otherwise (${differing.join("; ")}).`,
    {
      mend: `Start with the settings of the folder's manifest.json, write these beside them (--beside NAME: as source "${name}.NAME"), or write to another folder.`,
    },
  );
}

function rejectingChecks({ checks = {} }: RewriteSource): string {
  const rejecting = Object.entries(checks).filter(([, { verdict }]) => verdict === "reject");
  return rejecting
    .map(([name, { limit = [] }]) => [name, ...limit].join(" "))
    .sort()
    .join(", ");
}

/** Removes what a crash may have left: files half written beside their place, and logs whose part is complete. */
function sweep(path: string): void {
  for (const name of readdirSync(join(path, "parts"))) if (name.includes(".tmp-")) rmSync(join(path, "parts", name));
  for (const segment of segments(path)) if (existsSync(partPath(path, segment))) rmSync(logPath(path, segment), { force: true });
  syncFolder(join(path, "parts"));
}

/** Hash of any plain value, for `modelHash` and `promptHash`. */
export function hashOf(value: unknown): string {
  return sha256(JSON.stringify(value));
}
