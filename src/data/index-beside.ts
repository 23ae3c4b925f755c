/**
 * What lies beside tars, on this machine or elsewhere, and what follows from it: where the ids of their samples stand.
 *
 * Rewriting, training and the tools for data sets ask here, so that they agree on every id.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { DataError, EndpointError, UsageError, readText } from "../support/index.ts";
import { isAddress, shownAddress } from "./remote/address.ts";
import { openBytes } from "./remote/open-bytes.ts";
import { isUnanswered } from "./remote/patience.ts";
import type { Patience } from "./remote/patience.ts";
import { type ShardIndex, parseShardIndex, readShardIndex, shardIndexName } from "./shard-index.ts";

/**
 * The path or address of another file in the folder of a tar; an address keeps its query, which may hold the leave to read.
 * @param name as it stands in a path, or in an address
 */
export function besideTar(tar: string, name: string): string {
  if (!isAddress(tar)) return join(dirname(tar), name);
  const [, place = "", query = ""] = /^https?:/i.test(tar) ? /^([^?#]*)([^#]*)/s.exec(tar)! : ["", tar];
  return place.replace(/[^/]*$/, () => name) + query;
}

/** The folder of a tar, in a form by which two tars of one folder are known. */
export function folderOfTar(tar: string): string {
  return shownAddress(besideTar(tar, ""));
}

/**
 * A small file as text; undefined where there is none.
 * @throws EndpointError when a server can't be reached, or fails: then nobody knows whether there is one
 */
export async function readIfThere(address: string, options: Patience = {}): Promise<string | undefined> {
  if (!isAddress(address)) return existsSync(address) ? readText(address, "file") : undefined;
  const pieces: Buffer[] = [];
  try {
    for await (const piece of openBytes(address, options)) pieces.push(piece);
  } catch (error) {
    // Servers say in many ways that a file is not there: with 403 where its folder can't be listed, with a web page.
    if (error instanceof DataError || (error instanceof EndpointError && !isUnanswered(error))) return undefined;
    throw error;
  }
  return Buffer.concat(pieces).toString("utf8");
}

/**
 * The index of the set that a tar belongs to; undefined where it has none.
 * @throws DataError when it is damaged, or of a later version; EndpointError as `readIfThere` does
 */
export async function indexBeside(tar: string, options: Patience = {}): Promise<ShardIndex | undefined> {
  if (!isAddress(tar)) return readShardIndex(tar);
  const address = besideTar(tar, shardIndexName);
  const text = await readIfThere(address, options);
  return text === undefined ? undefined : parseShardIndex(text, shownAddress(address));
}

/**
 * The key of the `.json` with the ids, where the user has named none: `id` for tars that `laclip data pack` has made, which have their
 * index beside them; undefined for all others, whose ids are webdataset's keys.
 * @param tars paths or addresses
 * @throws UsageError when some tars have an index and others have none; DataError and EndpointError as `indexBeside` does
 */
export async function defaultIdColumn(tars: readonly string[], options: Patience = {}): Promise<string | undefined> {
  const oneOfEach = [...new Map(tars.map((tar) => [folderOfTar(tar), tar])).values()];
  let known: { tar: string; packed: boolean } | undefined;
  for (const tar of oneOfEach) {
    const packed = (await indexBeside(tar, options)) !== undefined;
    if (known !== undefined && known.packed !== packed) {
      const [here, there] = packed ? [tar, known.tar] : [known.tar, tar];
      throw new UsageError(
        `${folderOfTar(here)} holds packed tars, with ids in their .json (${shardIndexName}), and ${folderOfTar(there)} does not: where are the ids?`,
        { mend: "Name the key of the .json that holds them in all tars (--id-column)." },
      );
    }
    known ??= { tar, packed };
  }
  return known?.packed ? "id" : undefined;
}
