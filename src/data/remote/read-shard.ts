/** The members of a tar, wherever it lies. */
import { readTar } from "../../formats/index.ts";
import type { PassedOver, TarMember } from "../../formats/index.ts";
import { isAddress, shownAddress } from "./address.ts";
import { openBytes } from "./open-bytes.ts";
import type { Patience } from "./patience.ts";

export interface ReadShardOptions extends Patience {
  /** A member's `headerOffset` to begin at, of a tar that is not compressed. Default 0. */
  from?: number;
  /** Bytes of content that a member may have to be read in one piece. Default 64 MiB. */
  longest?: number;
  /** Counts of what is passed over are added to it. */
  passedOver?: PassedOver;
}

/**
 * The regular files in a tar, in its order, see `readTar`; `.tar.gz` and `.tgz` are unpacked on the way.
 * @param address a path or an address, see `openBytes`
 * @throws DataError when the tar is missing, damaged, cut off or changed meanwhile; EndpointError; InterruptedError
 */
export async function* readShard(address: string, options: ReadShardOptions = {}): AsyncGenerator<TarMember> {
  const { from, longest, passedOver, signal, ...patience } = options;
  const reading = {
    ...(from === undefined ? {} : { from }),
    ...(longest === undefined ? {} : { longest }),
    ...(passedOver ? { passedOver } : {}),
  };
  if (!isAddress(address)) return yield* readTar(address, reading);
  // Whoever leaves early must not have to wait for a server that says nothing.
  const leaving = new AbortController();
  const signals = signal ? AbortSignal.any([signal, leaving.signal]) : leaving.signal;
  const bytes = openBytes(address, { ...patience, signal: signals, ...(from === undefined ? {} : { from }) });
  try {
    yield* readTar(bytes, { ...reading, name: shownAddress(address) });
  } finally {
    leaving.abort();
  }
}
