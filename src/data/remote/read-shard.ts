/** The members of a tar, wherever it lies. */
import { noPassedOver, readTar } from "../../formats/index.ts";
import type { PassedOver, ReadTarOptions, TarMember } from "../../formats/index.ts";
import { warnOnce } from "../../support/index.ts";
import { isAddress, shownAddress } from "./address.ts";
import { openBytes } from "./open-bytes.ts";
import { refuseStopped } from "./patience.ts";
import type { Patience } from "./patience.ts";

/** Where in a tar `readShard` begins, and how large a member may be. */
export interface ReadShardOptions extends Patience {
  /** A member's `headerOffset` to begin at, of a tar that is not compressed. Default 0. */
  from?: number;
  /** Bytes of content that a member may have to be read in one piece. Default 64 MiB. */
  longest?: number;
  /** Counts of what is passed over are added to it. Without it, a warning names a tar that has links or unsafe names. */
  passedOver?: PassedOver;
}

/**
 * The regular files in a tar, in its order, see `readTar`; `.tar.gz` and `.tgz` are unpacked on the way.
 * @param address a path or an address, see `openBytes`
 * @throws DataError when the tar is missing, damaged, cut off or changed meanwhile; EndpointError; InterruptedError
 */
export async function* readShard(address: string, options: ReadShardOptions = {}): AsyncGenerator<TarMember> {
  const { from = 0, longest, passedOver = noPassedOver(), signal, ...patience } = options;
  const reading: ReadTarOptions = { name: shownAddress(address), from, passedOver, ...(longest === undefined ? {} : { longest }) };
  // Whoever leaves early must not have to wait for a server that says nothing.
  const leaving = new AbortController();
  const stop = (): void => leaving.abort();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const source = isAddress(address) ? openBytes(address, { ...patience, from, signal: leaving.signal }) : address;
    for await (const member of readTar(source, reading)) {
      refuseStopped(signal);
      yield member;
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    leaving.abort();
  }
  const { links, unsafeNames } = passedOver;
  if (options.passedOver || links + unsafeNames === 0) return;
  const what = [links > 0 ? `${links} links` : "", unsafeNames > 0 ? `${unsafeNames} files whose names point out of the archive` : ""];
  warnOnce(`passed over ${address}`, `${shownAddress(address)}: passed over ${what.filter((each) => each !== "").join(" and ")}.`);
}
