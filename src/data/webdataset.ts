/**
 * Webdataset: tars in which the members of a sample lie next to each other and share a key ("000012.jpg", "000012.txt").
 *
 * Which members make a sample follows open_clip's and webdataset's readers: the key is the path up to the first dot of the file's
 * name, the rest, in lower case, says what the member is, and a new sample begins when the key changes or a suffix comes again.
 */
import { readShard } from "./remote/read-shard.ts";

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
 * @param address a path or an address, see `openBytes`
 * @throws DataError when the tar is missing, damaged or cut off; EndpointError for what a server did
 */
export async function* readTarSamples(address: string, wanted: ReadonlySet<string>): AsyncGenerator<TarSample> {
  const borders = new SampleBorders();
  let sample: { key: string; members: Map<string, Buffer> } | undefined;
  for await (const { name, bytes } of readShard(address)) {
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
