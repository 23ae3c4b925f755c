/**
 * The shards of one data set, held against each other: whether they belong together, and what is missing among them.
 *
 * Only the manifests are read here. What does not fit can't be mended by a merge; what is missing can be made by starting the shard
 * again.
 */
import { dirname } from "node:path";
import { OtherSettingsError, describeShard, differencesOfSource, isRewritesFolder, readManifest } from "../../data/index.ts";
import type { CaptionsFingerprint, RewriteSource, RewritesManifest, RewritesShard } from "../../data/index.ts";
import { DataError } from "../../support/index.ts";
import { shardFolders } from "./shards.ts";

/** One shard's folder. */
export interface ShardFolder {
  readonly path: string;
  readonly manifest: RewritesManifest;
  readonly shard: RewritesShard;
}

/** What is wrong with a set of shards, in sentences. */
export interface ShardFaults {
  /** Shards that can't stand in one folder. */
  readonly mismatches: string[];
  /** Shards, or sources of a shard, that are not there. */
  readonly missing: string[];
}

/**
 * Opens shards for reading.
 * @param paths shards, or folders that hold shards; a shard that is named twice counts once
 * @returns the shards by their number
 * @throws DataError where there is none, a manifest is damaged, or a folder is no shard
 */
export function openShards(paths: readonly string[]): ShardFolder[] {
  const folders = new Set(paths.flatMap((path) => (isRewritesFolder(path) ? [path] : shardsIn(path))));
  return [...folders]
    .map((path) => {
      const manifest = readManifest(path);
      if (manifest.shard) return { path, manifest, shard: manifest.shard };
      throw new DataError(`${path}: this is a rewrites folder, but not a shard: it holds all of ${manifest.dataset.name}.`, {
        mend: "Name shards only, or the folder that was given to --out when they were written with --shard.",
      });
    })
    .sort((a, b) => a.shard.number - b.shard.number || (a.path < b.path ? -1 : 1));
}

function shardsIn(path: string): string[] {
  const folders = shardFolders(path);
  // A worker that was killed in the first moment leaves a folder without a manifest: that shard is missing.
  const begun = folders.filter((folder) => isRewritesFolder(folder));
  if (begun.length > 0) return begun;
  if (folders.length === 0) readManifest(path);
  throw new DataError(`${path}: there are no shards of rewrites in this folder.`, {
    mend: "Write them with `laclip rewrite CAPTIONS --out FOLDER --shard 1/16 ...`.",
  });
}

/**
 * Holds shards against the first of them that is of these captions.
 * @param captions Default: those of the first shard
 */
export function faultsOf(
  shards: readonly ShardFolder[],
  captions: CaptionsFingerprint | undefined = shards[0]?.manifest.dataset,
): ShardFaults {
  const faults: ShardFaults = { mismatches: [], missing: [] };
  const first = captions && shards.find(({ manifest }) => isOfSameCaptions(manifest.dataset, captions));
  if (!first) return faults;
  for (const other of shards) if (other !== first) faults.mismatches.push(...mismatches(first, other));
  // A shard of other captions takes no place among these.
  const own = shards.filter(({ manifest }) => isOfSameCaptions(manifest.dataset, first.manifest.dataset));
  for (const [i, { path, shard }] of own.entries()) {
    const before = own[i - 1];
    if (before && before.shard.number === shard.number) {
      faults.mismatches.push(`${path}: ${describeShard(shard)} is there twice: ${before.path} holds it too.`);
    } else if (before && before.shard.number === shard.number - 1 && before.shard.of === shard.of && before.shard.to !== shard.from) {
      faults.mismatches.push(
        `${path}: ${describeShard(shard)} does not go on where ${describeShard(before.shard)} ends: they were written with different --limit.`,
      );
    }
  }
  const numbers = new Set(own.map(({ shard }) => shard.number));
  const absent = Array.from({ length: first.shard.of }, (_, i) => i + 1).filter((number) => !numbers.has(number));
  if (absent.length > 0) {
    faults.missing.push(`${absent.length} of ${first.shard.of} shards are not there: ${inRanges(absent)}.`);
  }
  const sources = Object.keys(sourcesOfAll(own));
  for (const { path, manifest } of own) {
    const lacking = sources.filter((source) => !Object.hasOwn(manifest.sources, source));
    if (lacking.length > 0) faults.missing.push(`${path}: has no rewrites from ${lacking.join(", ")}, which other shards have.`);
  }
  return faults;
}

/** All sources that a shard has, in the order in which they are first found. */
export function sourcesOfAll(shards: readonly ShardFolder[]): Record<string, RewriteSource> {
  return Object.assign({}, ...shards.toReversed().map(({ manifest }) => manifest.sources)) as Record<string, RewriteSource>;
}

export function isOfSameCaptions(a: CaptionsFingerprint, b: CaptionsFingerprint): boolean {
  return a.hash === b.hash && a.count === b.count;
}

function mismatches(first: ShardFolder, other: ShardFolder): string[] {
  const [a, b] = [first.manifest.dataset, other.manifest.dataset];
  if (!isOfSameCaptions(a, b)) {
    const words = ({ name, count, hash }: typeof a): string => `"${name}" (${count} captions, fingerprint ${hash.slice(0, 12)})`;
    return [`${other.path}: a shard of ${words(b)}; ${first.path} is one of ${words(a)}.`];
  }
  if (first.shard.of !== other.shard.of) {
    return [`${other.path}: one of ${other.shard.of} shards; ${first.path} is one of ${first.shard.of}.`];
  }
  const found: string[] = [];
  for (const [source, made] of Object.entries(other.manifest.sources)) {
    const before = Object.hasOwn(first.manifest.sources, source) ? first.manifest.sources[source] : undefined;
    const differences = before ? differencesOfSource(before, made) : [];
    if (differences.length > 0) {
      found.push(
        `${other.path}: its rewrites from "${source}" were made otherwise than those of ${first.path}: ${differences.join("; ")}.`,
      );
    }
  }
  return found;
}

/** The data set of most of some folders: where one has strayed among them, it is the stray that does not fit. */
export function datasetOfMost(folders: readonly Pick<ShardFolder, "manifest">[]): RewritesManifest["dataset"] {
  const counts = new Map<string, number>();
  for (const { manifest } of folders) counts.set(manifest.dataset.hash, (counts.get(manifest.dataset.hash) ?? 0) + 1);
  const most = Math.max(...counts.values());
  return folders.find(({ manifest }) => counts.get(manifest.dataset.hash) === most)!.manifest.dataset;
}

/** 1, 2, 3, 7 -> "1-3, 7"; the first few ranges only. */
function inRanges(numbers: readonly number[]): string {
  const ranges: [first: number, last: number][] = [];
  for (const number of numbers) {
    const range = ranges.at(-1);
    if (range && range[1] === number - 1) range[1] = number;
    else ranges.push([number, number]);
  }
  const words = ranges.slice(0, 10).map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
  return words.join(", ") + (ranges.length > 10 ? ", ..." : "");
}

/**
 * Refuses to write a shard of other captions, or in another way, than a shard that lies beside it: better now than when all are merged.
 * @param path the shard's folder
 * @throws OtherSettingsError naming what differs
 */
export function refuseOtherNeighbour(
  path: string,
  made: { fingerprint: CaptionsFingerprint; sources: Readonly<Record<string, RewriteSource>> },
): void {
  const neighbour = shardFolders(dirname(dirname(path))).find((folder) => folder !== path && isRewritesFolder(folder));
  if (neighbour === undefined) return;
  const { dataset, sources } = readManifest(neighbour);
  const mend = "All shards in one folder need the same captions and settings. Use those of its manifest.json, or another --out.";
  if (dataset.hash !== made.fingerprint.hash || dataset.count !== made.fingerprint.count) {
    throw new OtherSettingsError(
      `${path}: the captions are others (${made.fingerprint.count}, fingerprint ${made.fingerprint.hash.slice(0, 12)}) than those of the shard ${neighbour} (${dataset.count}, fingerprint ${dataset.hash.slice(0, 12)}).`,
      { mend },
    );
  }
  for (const [source, now] of Object.entries(made.sources)) {
    const differences = Object.hasOwn(sources, source) ? differencesOfSource(sources[source]!, now) : [];
    if (differences.length > 0) {
      throw new OtherSettingsError(
        `${neighbour}: the rewrites from "${source}" in this shard were made otherwise (${differences.join("; ")}).`,
        {
          mend,
        },
      );
    }
  }
}
