/** Addresses of files elsewhere, and how they are shown: never with what may be a secret. */

/** True for an address (`https://...`, `s3://...`) or one of webdataset's commands (`pipe:...`); false for a path. */
export function isAddress(text: string): boolean {
  return /^(pipe:|[a-z][a-z0-9+.-]*:\/\/)/i.test(text);
}

/** What comes before `:` in an address, in lower case. */
export function schemeOf(address: string): string {
  return /^[^:]*/.exec(address)![0].toLowerCase();
}

/** An address for messages and records: without user, password, query and fragment, which may hold keys or a signature. */
export function shownAddress(address: string): string {
  if (!isAddress(address)) return address;
  const bare = address.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, "$1");
  // The key of an object may hold any sign; only addresses of the web have a query.
  return /^https?:/i.test(bare) ? bare.replace(/[?#].*$/s, "") : bare;
}

/** The last part of a path or an address, as a name for a file. */
export function fileNameOf(address: string): string {
  return shownAddress(address).replace(/\/+$/, "").split("/").at(-1)!;
}
