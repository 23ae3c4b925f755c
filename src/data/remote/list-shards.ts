/**
 * The tars that a text names, wherever they lie.
 *
 * Written as users of webdataset write them: one file, a folder, a pattern with braces (`{00000..00012}`), or several of these with `::`
 * between; besides, a folder of a bucket and a text file with an entry a line.
 */
import { existsSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expand } from "brace-expansion";
import { DataError, UsageError, readFolder } from "../../support/index.ts";
import { isAddress, schemeOf, shownAddress } from "./address.ts";
import { openBytes, refuseUnreadable } from "./open-bytes.ts";
import { PassingFailure, Retries, usualPatience } from "./patience.ts";
import type { Patience } from "./patience.ts";
import { S3Store, parseS3 } from "./s3-store.ts";

/** A tar of a data set. */
export interface Shard {
  /** Path or address, for `readShard` and `openBytes`. */
  readonly address: string;
  /** Bytes; undefined where that is not known without opening it. */
  readonly size?: number | undefined;
}

/** What the name of a tar ends in. */
const tarName = /\.(tar|tar\.gz|tgz)$/i;

/** True for the name of a tar or of several, whether they are there or not. */
export function namesTars(text: string): boolean {
  const parts = splitParts(text);
  return parts.length > 0 && parts.every((part) => tarName.test(shownAddress(part)) || part.startsWith("pipe:") || bucketFolder.test(part));
}

/** A bucket, or a folder in one. */
const bucketFolder = /^s3:\/\/[^/]*(\/(.*\/)?)?$/is;

/**
 * The tars that a text names, in the order of the text; those of a folder in the order of their names.
 * @param text a path; an address (`https://`, `http://`, `s3://`); either with braces, `https://host/{00000..00012}.tar`; a local folder;
 *   `s3://BUCKET/FOLDER/` with a slash at its end; a text file (`.txt`), local or not, with one of all these a line; several with `::`
 * @throws DataError when a local one is missing or there is none; UsageError for what can't be listed; EndpointError, InterruptedError
 */
export async function listShards(text: string, options: Patience = {}): Promise<Shard[]> {
  if (!isAddress(text) && existsSync(text)) return await listPart(text, options);
  if (text === "") throw new UsageError("Expected the path or the address of tars, got an empty text.");
  const shards: Shard[] = [];
  for (const part of splitParts(text)) for (const shard of await listPart(part, options)) shards.push(shard);
  return shards;
}

/** What `listShards` is given, for messages and records: see `shownAddress`. */
export function shownShards(text: string): string {
  return existsSync(text) ? text : splitParts(text).map(shownAddress).join("::");
}

/** What `listShards` is given, in a form that means the same in every working folder; any other path becomes absolute too. */
export function absoluteShards(text: string): string {
  const parts = existsSync(text) ? [text] : splitParts(text);
  return parts.map((part) => (isAddress(part) ? part : resolve(part))).join("::");
}

/** The parts between `::`, but for those of an address such as `http://[::1]/`. */
function splitParts(text: string): string[] {
  return text.split(/::(?![^[\]]*\])/).filter((part) => part !== "");
}

async function listPart(part: string, options: Patience): Promise<Shard[]> {
  if (!isAddress(part)) return /\.txt$/i.test(part) ? await listEntries(part, options) : listLocal(part);
  const scheme = schemeOf(part);
  if (scheme === "file") return await listPart(fileURLToPath(part), options);
  if (scheme === "s3" && bucketFolder.test(part)) return await listBucket(part, options);
  const shown = shownAddress(part);
  if (shown.endsWith("/")) {
    throw new UsageError(`${shown}: a folder of a web server can't be listed.`, {
      mend: "Name its tars by a pattern, https://host/{00000..00012}.tar, or in a text file, an address a line.",
    });
  }
  if (/\.txt$/i.test(shown)) return await listEntries(part, options);
  const shards = expandAll(part).map((address) => ({ address }));
  // What can't be opened is better known now than in the middle of the work.
  for (const { address } of shards) refuseUnreadable(address);
  return shards;
}

function expandAll(pattern: string): string[] {
  // Its own limits would cut a long list short without a word.
  const all = expand(pattern, { max: mostShards + 1, maxLength: longestList });
  if (all.length > mostShards)
    throw new UsageError(`${shownAddress(pattern)}: this pattern stands for more than ${mostShards} tars.`, {
      mend: "Put them into a text file, an address a line.",
    });
  return all;
}

/** More than any data set has that is known. */
const mostShards = 1_000_000;

function listLocal(path: string): Shard[] {
  if (existsSync(path)) {
    if (!statSync(path).isDirectory()) return [{ address: path, size: sizeOf(path) }];
    const names = readFolder(path).filter((name) => tarName.test(name));
    if (names.length === 0) throw new DataError(`${path}: there is no tar in this folder.`);
    return names.toSorted().map((name) => ({ address: join(path, name), size: sizeOf(join(path, name)) }));
  }
  const paths = expandAll(path);
  const missing = paths.filter((tar) => !existsSync(tar));
  if (missing.length === 0) return paths.map((address) => ({ address, size: sizeOf(address) }));
  throw new DataError(
    paths.length === 1
      ? `${path}: no such file or folder.`
      : `${path}: ${missing.length} of ${paths.length} tars are missing. First: ${missing[0]}.`,
    { mend: "Name the tars that there are: a folder, or a pattern such as shards/{00000..00012}.tar." },
  );
}

/** Undefined for a link that leads nowhere, which is known when it is read. */
function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

/** A list of a hundred thousand long addresses has a tenth of this. */
const longestList = 256 << 20;

async function listEntries(list: string, options: Patience): Promise<Shard[]> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of openBytes(list, options)) {
    length += piece.length;
    if (length > longestList) throw new DataError(`${shownAddress(list)}: this is too long for a list of tars.`);
    pieces.push(piece);
  }
  const shards: Shard[] = [];
  for (const line of Buffer.concat(pieces)
    .toString("utf8")
    .replace(/^\ufeff/, "")
    .split(/\r?\n|\r/)) {
    const entry = line.trim();
    if (entry === "" || entry.startsWith("#")) continue;
    for (const part of splitParts(entry)) {
      const place = isAddress(part) || isAddress(list) || isAbsolute(part) ? part : join(dirname(list), part);
      if (isAddress(list) && !isAddress(part))
        throw new DataError(`${shownAddress(list)}: expected an address in each line, got "${part.slice(0, 100)}".`);
      if (/\.txt$/i.test(shownAddress(place)))
        throw new DataError(`${shownAddress(list)}: a list of tars can't hold another one (${shownAddress(place)}).`);
      for (const shard of await listPart(place, options)) shards.push(shard);
    }
  }
  if (shards.length === 0)
    throw new DataError(`${shownAddress(list)}: this list is empty; expected the path or the address of a tar in each line.`);
  return shards;
}

async function listBucket(address: string, options: Patience): Promise<Shard[]> {
  const { bucket, key } = parseS3(address);
  const store = await S3Store.shared();
  const retries = new Retries(address, options);
  const shards: Shard[] = [];
  let next: string | undefined;
  for (;;) {
    const { stallSeconds = usualPatience.stallSeconds } = options;
    const stall = AbortSignal.timeout(stallSeconds * 1000);
    try {
      const page = await store.list({ bucket, key }, next, options.signal ? AbortSignal.any([stall, options.signal]) : stall);
      retries.progress();
      // Only what lies in this folder itself, as with a local one.
      for (const { key: found, size } of page.objects)
        if (tarName.test(found) && !found.slice(key.length).includes("/")) shards.push({ address: `s3://${bucket}/${found}`, size });
      next = page.next;
      if (next === undefined) break;
    } catch (error) {
      const failure = stall.aborted ? new PassingFailure(`no answer came for ${stallSeconds} s`) : error;
      await retries.after(failure, `${shards.length} tars were listed`, options.signal);
    }
  }
  if (shards.length === 0) throw new DataError(`${address}: there is no tar in this folder of the bucket.`);
  return shards.toSorted((a, b) => (a.address < b.address ? -1 : 1));
}
