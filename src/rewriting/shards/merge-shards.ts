/**
 * From shards to one rewrites folder.
 *
 * Everything is looked at before anything is written: manifests, then the ids of all rewrites. The parts are then joined in the
 * order of the shards, without passing the texts through JavaScript, in a folder beside `out` that takes its place in one step. So a
 * merge can be stopped anywhere and started again, and the same shards give the same files.
 */
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import {
  FinishedRewrites,
  HashedKeys,
  damagedPart,
  isRewritesFolder,
  partPath,
  readManifest,
  readSegment,
  rewriteColumns,
  segments,
} from "../../data/index.ts";
import type { Rewrite, RewriteSource, RewritesManifest } from "../../data/index.ts";
import { joinParquet, readTable, writeParquet } from "../../formats/index.ts";
import type { TableBatch } from "../../formats/index.ts";
import {
  DataError,
  FolderLock,
  InterruptedError,
  Progress,
  explainReplacing,
  makeFolder,
  readJson,
  replaceFolder,
  writeFileAtomic,
} from "../../support/index.ts";
import { promptForms } from "../prompts/prompt-forms.ts";
import { faultsOf, openShards, sourcesOfAll } from "./shard-set.ts";
import type { ShardFolder } from "./shard-set.ts";

/** What is merged, and where to. */
export interface MergeOptions {
  /** Shards, or folders that hold shards. */
  shards: readonly string[];
  /** The rewrites folder to write: new, or what an earlier merge left there. */
  out: string;
  /** Whether shards and rewrites may be missing. Default false. */
  partial?: boolean;
  /** Program and version, for the manifest. */
  createdWith: string;
  /** Rewrites in a part, at least, where there are as many. Default 200,000. */
  rowsPerPart?: number;
  /** Stops the merge; `out` stays as it was. */
  signal?: AbortSignal;
}

/** What came of a merge. */
export interface MergeReport {
  out: string;
  dataset: string;
  /** Shards that were merged, and how many there are in all. */
  shards: number;
  of: number;
  rewrites: number;
  /** Rewrites by source. */
  sources: Record<string, number>;
  /** Rewrites that the shards should have and lack, by source; 0 without `partial`. */
  missing: Record<string, number>;
}

/** Rows of a shard that are copied at once: one part, or one log. */
interface Piece {
  readonly path: string;
  readonly segment: string;
  rows: number;
}

/** Holds what a merge has written, so that a later one knows whether anybody has changed it since. */
const recordName = "merged.json";

/**
 * Merges shards into one rewrites folder.
 * @throws DataError when shards don't belong together, one is being written, rewrites are missing or there twice, or `out` holds
 *   anything else; then nothing was written
 * @throws InterruptedError when stopped
 */
export async function mergeShards(options: MergeOptions): Promise<MergeReport> {
  const { out, partial = false, createdWith } = options;
  const shards = openShards(options.shards);
  const faults = faultsOf(shards);
  refuse(faults.mismatches, "These shards can't be merged", "Merge only shards that were written with the same captions and settings.");
  const again = "Start the missing shards again (what is done is kept), or merge what there is with --partial.";
  if (!partial) refuse(faults.missing, "Not all shards are there", again);
  refuseOtherFolder(out);
  for (const { path } of shards) await refuseBusy(path, options.signal);
  const stock = await takeStock(shards, options.signal);
  const gaps = stock.gaps.map(({ path, source, count }) => `${path}: ${count} rewrites from ${source} are missing.`);
  if (!partial) refuse(gaps, "Not all rewrites are there", again);

  const { shard, ...manifest } = shards[0]!.manifest;
  const captions = Math.max(...shards.map((one) => one.shard.to));
  await write(stock.pieces, { ...manifest, captions, sources: sourcesOfAll(shards), createdWith }, options);
  const missing = Object.fromEntries(Object.keys(stock.sources).map((source) => [source, 0]));
  for (const { source, count } of stock.gaps) missing[source]! += count;
  return {
    out,
    dataset: manifest.dataset.name,
    shards: shards.length,
    of: shard!.of,
    rewrites: stock.pieces.reduce((sum, { rows }) => sum + rows, 0),
    sources: stock.sources,
    missing,
  };
}

/** All rewrites of some shards, counted. */
interface Stock {
  readonly pieces: Piece[];
  /** Rewrites by source. */
  readonly sources: Record<string, number>;
  /** Where rewrites are missing. */
  readonly gaps: { readonly path: string; readonly source: string; readonly count: number }[];
}

/** Counts rewrites by their ids alone. */
async function takeStock(shards: readonly ShardFolder[], signal: AbortSignal | undefined): Promise<Stock> {
  const names = Object.keys(sourcesOfAll(shards));
  const stock: Stock = { pieces: [], sources: Object.fromEntries(names.map((name) => [name, 0])), gaps: [] };
  const seen = new FinishedRewrites(names, new HashedKeys());
  for (const { path, shard, manifest } of shards) {
    const counts = new Map(Object.keys(manifest.sources).map((name) => [name, 0]));
    for (const segment of segments(path)) {
      const piece: Piece = { path, segment, rows: 0 };
      for await (const keys of keysOf(path, segment)) {
        stopIfAsked(signal);
        for (const { id, source } of keys) {
          const count = counts.get(source);
          if (count === undefined) throw damaged(path, `holds a rewrite from "${source}", which its manifest does not name`);
          if (!seen.add(source, id)) throw damaged(path, `the rewrite of ${JSON.stringify(id)} from "${source}" is there a second time`);
          counts.set(source, count + 1);
          piece.rows++;
        }
      }
      if (piece.rows > 0) stock.pieces.push(piece);
    }
    for (const [source, count] of counts) {
      stock.sources[source]! += count;
      const gap = shard.to - shard.from - count;
      if (gap > 0 && !mergesCaptions(manifest.sources[source]!)) stock.gaps.push({ path, source, count: gap });
    }
  }
  return stock;
}

async function* keysOf(path: string, segment: string): AsyncGenerator<Pick<Rewrite, "id" | "source">[]> {
  const part = partPath(path, segment);
  if (!existsSync(part)) return yield* readSegment(path, segment);
  try {
    for await (const { rows, columns } of readTable(part, { columns: ["id", "source"] })) {
      const [ids, sources] = [columns["id"] as readonly string[], columns["source"] as readonly string[]];
      yield Array.from({ length: rows }, (_, i) => ({ id: ids[i]!, source: sources[i]! }));
    }
  } catch (error) {
    throw damagedPart(part, error);
  }
}

async function write(pieces: readonly Piece[], manifest: RewritesManifest, options: MergeOptions): Promise<void> {
  const { out, rowsPerPart = 200_000, signal } = options;
  const beside = join(dirname(out), `.${basename(out)}.merging`);
  try {
    makeFolder(join(beside, "parts"));
  } catch (error) {
    throw explainReplacing(error, beside, out);
  }
  const lock = await FolderLock.acquire(join(beside, "lock"), "merged folder", { signal });
  const progress = new Progress({ label: "merge", total: pieces.reduce((sum, { rows }) => sum + rows, 0), unit: "rewrites" });
  const fill = async (): Promise<void> => {
    for (const name of readdirSync(join(beside, "parts"))) rmSync(join(beside, "parts", name));
    for (const [i, group] of inGroups(pieces, rowsPerPart).entries()) {
      stopIfAsked(signal);
      lock.assertHeld();
      await joinPieces(group, partPath(beside, String(i).padStart(6, "0")));
      progress.advance(group.reduce((sum, { rows }) => sum + rows, 0));
    }
    makeFolder(join(beside, "log"));
    writeFileAtomic(join(beside, recordName), `${JSON.stringify(recordOf(beside, Object.keys(manifest.sources)))}\n`);
    writeFileAtomic(join(beside, "manifest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
    lock.release();
  };
  try {
    await replaceFolder(out, fill, { beside });
  } finally {
    progress.finish();
    lock.release();
  }
}

/** Small parts together, large ones alone: a pool of machines leaves thousands of small ones. */
function inGroups(pieces: readonly Piece[], rows: number): Piece[][] {
  const groups: Piece[][] = [];
  let room = 0;
  for (const piece of pieces) {
    if (room <= 0) {
      groups.push([]);
      room = rows;
    }
    groups.at(-1)!.push(piece);
    room -= piece.rows;
  }
  return groups;
}

async function joinPieces(pieces: readonly Piece[], path: string): Promise<void> {
  const parts: string[] = [];
  const made: string[] = [];
  for (const [i, { path: folder, segment }] of pieces.entries()) {
    if (existsSync(partPath(folder, segment))) {
      parts.push(partPath(folder, segment));
      continue;
    }
    const part = path.replace(/\.parquet$/, `.from-log-${i}.parquet`);
    await writeParquet(part, rewriteColumns, inColumns(readSegment(folder, segment)));
    parts.push(part);
    made.push(part);
  }
  await joinParquet(parts, path);
  for (const part of made) rmSync(part);
}

async function* inColumns(batches: AsyncIterable<readonly Rewrite[]>): AsyncGenerator<TableBatch> {
  const names = Object.keys(rewriteColumns) as (keyof Rewrite)[];
  for await (const rows of batches) {
    yield { rows: rows.length, columns: Object.fromEntries(names.map((name) => [name, rows.map((row) => row[name] ?? null)])) };
  }
}

const recordSchema = z.object({ sources: z.array(z.string()), parts: z.record(z.string(), z.number()) });

/** What a merge has written: any change since would change this too. */
function recordOf(folder: string, sources: readonly string[]): z.infer<typeof recordSchema> {
  const parts = segments(folder).map((segment) => [segment, statSync(partPath(folder, segment), { throwIfNoEntry: false })?.size ?? -1]);
  return { sources: [...sources], parts: Object.fromEntries(parts) as Record<string, number> };
}

/** Only what an earlier merge left, and nobody has changed since, may be replaced. */
function refuseOtherFolder(out: string): void {
  if (!existsSync(out)) return;
  if (statSync(out).isDirectory()) {
    if (readdirSync(out).length === 0) return;
    const record = existsSync(join(out, recordName)) && recordSchema.safeParse(readJson(join(out, recordName), "record of a merge"));
    if (record && record.success && isRewritesFolder(out) && !existsSync(join(out, "lock"))) {
      const now = recordOf(out, Object.keys(readManifest(out).sources));
      if (JSON.stringify(now) === JSON.stringify(record.data)) return;
    }
  }
  throw new DataError(`${out}: this exists, and is not what an earlier merge left there.`, {
    mend: "Name a folder that does not exist yet.",
  });
}

/** A shard that somebody writes is not whole; the lock of a killed process says nothing. */
async function refuseBusy(path: string, signal: AbortSignal | undefined): Promise<void> {
  if (existsSync(join(path, "lock"))) (await FolderLock.acquire(join(path, "lock"), "shard", { signal })).release();
}

/** True where a source merges two captions of an image: captions without a second one have no rewrite, and only they can tell how many. */
export function mergesCaptions({ prompt }: RewriteSource): boolean {
  return promptForms.some(({ name, merges }) => merges && name === prompt);
}

function refuse(faults: readonly string[], what: string, mend: string): void {
  if (faults.length === 0) return;
  const shown = faults.slice(0, 10).map((fault) => `\n  ${fault}`);
  const more = faults.length > 10 ? `\n  and ${faults.length - 10} more` : "";
  throw new DataError(`${what}:${shown.join("")}${more}`, { mend });
}

function damaged(path: string, what: string): DataError {
  return new DataError(`${path}: ${what}.`, {
    mend: "`laclip rewrites verify` says all that is wrong with a folder. Delete this shard and start it again.",
  });
}

function stopIfAsked(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new InterruptedError("Stopped; nothing was merged.", { mend: "Start the same command again." });
}
