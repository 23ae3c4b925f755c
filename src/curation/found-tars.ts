/**
 * The tars that a path or an address names, where the ids of their samples are, and what their index says of all of them.
 */
import { defaultIdColumn, indexBeside, listShards } from "../data/index.ts";
import type { CaptionsFingerprint, Shard } from "../data/index.ts";

/** Which key of the `.json` is which, as the user has it. */
export interface TarKeys {
  idColumn?: string | undefined;
  captionColumn?: string | undefined;
}

/** Tars that were found. */
export interface FoundTars {
  shards: readonly Shard[];
  /** The same keys; the one of the ids as `defaultIdColumn` says, where none was given. */
  keys: TarKeys;
  /**
   * Of the captions that were packed, where these are all the tars of a packing: what was rewritten may be more than what is in them,
   * since images that could not be read are in no tar.
   */
  packedFrom: CaptionsFingerprint | undefined;
}

/** @throws DataError when there are none, or their index is damaged; EndpointError for what a server did; see also `listShards` */
export async function findTars(path: string, keys: TarKeys): Promise<FoundTars> {
  return await withKeys(await listShards(path), keys);
}

/** The same of tars that are found already. */
export async function withKeys(shards: readonly Shard[], { idColumn, captionColumn }: TarKeys): Promise<FoundTars> {
  const given = idColumn ?? (await defaultIdColumn(shards.map(({ address }) => address)));
  const asPacked = idColumn === undefined && captionColumn === undefined;
  const index = given === "id" && asPacked ? await indexBeside(shards[0]!.address) : undefined;
  const whole = index?.shards.length === shards.length;
  return {
    shards,
    keys: { idColumn: given, captionColumn },
    packedFrom: whole ? { count: index.dataset.count, hash: index.dataset.hash } : undefined,
  };
}
