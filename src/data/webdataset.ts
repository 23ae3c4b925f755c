/**
 * Webdataset: tars in which the members of a sample lie next to each other and share a key ("000012.jpg", "000012.txt").
 *
 * Which members make a sample follows open_clip's and webdataset's readers: the key is the path up to the first dot of the file's
 * name, the rest, in lower case, says what the member is, and a new sample begins when the key changes or a suffix comes again.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expand } from "brace-expansion";
import { readTar } from "../formats/index.ts";
import { DataError, UsageError } from "../support/index.ts";

/** Where a member of a tar belongs. */
export interface SampleMember {
  /** Webdataset's `__key__`: path and name up to the first dot of the name. */
  readonly key: string;
  /** What follows that dot, in lower case: "jpg", "txt", "json". */
  readonly suffix: string;
}

/** The members of a sample that are texts. */
export interface TarSample {
  readonly key: string;
  /** Content of the members that were asked for, by suffix. */
  readonly members: ReadonlyMap<string, Buffer>;
}

const tarName = /\.(tar|tar\.gz|tgz)$/i;

/** True for the path of a tar or of several, whether they are there or not. */
export function namesTars(path: string): boolean {
  return tarName.test(path) || path.startsWith("pipe:");
}

/**
 * The tars that a path names: one, a folder with tars (in the order of their names), or a pattern with braces as webdataset has
 * them, `shards/{00000..00012}.tar`.
 * @throws DataError when one of them is missing
 * @throws UsageError for addresses
 */
export function tarPaths(path: string): string[] {
  if (/^(pipe:|[a-z0-9]+:\/\/)/i.test(path)) {
    throw new UsageError(`${path}: tars are read from files only, not from addresses or commands.`, {
      mend: "Download them first, or mount where they lie.",
    });
  }
  if (existsSync(path)) {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => tarName.test(name));
    if (names.length === 0) throw new DataError(`${path}: there is no tar in this folder.`);
    return names.sort().map((name) => join(path, name));
  }
  const paths = expand(path);
  const missing = paths.filter((tar) => !existsSync(tar));
  if (missing.length === 0) return paths;
  throw new DataError(
    paths.length === 1
      ? `${path}: no such file or folder.`
      : `${path}: ${missing.length} of ${paths.length} tars are missing. First: ${missing[0]}.`,
    { mend: "Name the tars that there are: a folder, or a pattern such as shards/{00000..00012}.tar." },
  );
}

/** Where a member belongs; undefined for names without a dot and for webdataset's own (`__...__`), which are no part of a sample. */
export function sampleMember(name: string): SampleMember | undefined {
  const found = /^((?:.*\/)?[^./]+)\.([^/]*)$/.exec(name);
  if (!found || /(^|\/)__[^/]*__($|\/)/.test(name)) return undefined;
  return { key: found[1]!, suffix: found[2]!.toLowerCase() };
}

/** Tells where a sample ends and the next one begins. */
export class SampleBorders {
  #key: string | undefined;
  readonly #suffixes = new Set<string>();

  /** True when this member is the first of a sample. */
  begins({ key, suffix }: SampleMember): boolean {
    const first = key !== this.#key || this.#suffixes.has(suffix);
    if (first) this.#suffixes.clear();
    this.#key = key;
    this.#suffixes.add(suffix);
    return first;
  }
}

/**
 * The samples of a tar in its order, each with those of its members that were asked for. Nothing else is kept in memory.
 * @throws DataError when the tar is missing, damaged or cut off
 */
export async function* readTarSamples(path: string, wanted: ReadonlySet<string>): AsyncGenerator<TarSample> {
  const borders = new SampleBorders();
  let sample: { key: string; members: Map<string, Buffer> } | undefined;
  for await (const { name, bytes } of readTar(path)) {
    const member = sampleMember(name);
    if (!member) continue;
    if (borders.begins(member)) {
      if (sample) yield sample;
      sample = { key: member.key, members: new Map() };
    }
    if (wanted.has(member.suffix)) sample!.members.set(member.suffix, await bytes());
  }
  if (sample) yield sample;
}
