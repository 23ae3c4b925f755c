/** The bytes of a file, wherever it lies: on this machine, on a web server, in an S3 bucket. */
import { createReadStream, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { DataError, UsageError, explainReadFailure } from "../../support/index.ts";
import { isAddress, schemeOf, shownAddress } from "./address.ts";
import { HttpFile } from "./http-file.ts";
import { refuseStopped } from "./patience.ts";
import { ResumedBytes } from "./resumed-bytes.ts";
import type { BytesOptions, OpenedBytes } from "./resumed-bytes.ts";
import { S3File } from "./s3-file.ts";
import { parseS3 } from "./s3-store.ts";

/**
 * Opens a file for one reading. Nothing happens before its first byte is asked for.
 * @param address a path, `file://`, `http://`, `https://` or `s3://BUCKET/KEY`
 * @throws UsageError for other addresses and for commands; while reading, DataError when the file is missing, too short or changed
 *   meanwhile, EndpointError for what else a server did, InterruptedError when stopped
 */
export function openBytes(address: string, options: BytesOptions = {}): OpenedBytes {
  refuseUnreadable(address);
  if (!isAddress(address)) return new LocalBytes(address, options);
  const scheme = schemeOf(address);
  if (scheme === "file") return new LocalBytes(fileURLToPath(address), options);
  return new ResumedBytes(scheme === "s3" ? new S3File(address) : new HttpFile(address), options);
}

/** @throws UsageError for commands, for addresses that can't be read at all, and for those of another kind than `openBytes` reads */
export function refuseUnreadable(address: string): void {
  if (!isAddress(address)) return;
  const shown = shownAddress(address);
  switch (schemeOf(address)) {
    case "http":
    case "https":
    case "file":
      if (!URL.canParse(address)) throw new UsageError(`${shown}: this is no address of a file.`);
      return;
    case "s3":
      parseS3(address);
      return;
    case "pipe":
      throw new UsageError(`pipe:...: commands are not run to read data.`, {
        mend: "Name the file's address (https:// or s3://), download it first, or mount where it lies.",
      });
    default:
      throw new UsageError(`${shown}: addresses of this kind are not read, only https://, http:// and s3://.`, {
        mend: "Download it first, or mount where it lies.",
      });
  }
}

class LocalBytes implements OpenedBytes {
  size: number | undefined;
  version: string | undefined;

  constructor(
    readonly path: string,
    readonly options: BytesOptions,
  ) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    const { from = 0, to, signal, version } = this.options;
    try {
      const { size, mtimeMs } = statSync(this.path);
      [this.size, this.version] = [size, String(mtimeMs)];
      if (version !== undefined && version !== this.version) throw new DataError(`${this.path}: this file has changed.`);
      if (Math.max(from, to ?? 0) > size)
        throw new DataError(`${this.path}: this file has ${size} bytes; asked for was byte ${Math.max(from, to ?? 0)}.`);
      if (to !== undefined && from >= to) return;
      for await (const chunk of createReadStream(this.path, {
        start: from,
        highWaterMark: 1 << 20,
        ...(to === undefined ? {} : { end: to - 1 }),
      })) {
        refuseStopped(signal);
        yield chunk as Buffer;
      }
    } catch (error) {
      throw explainReadFailure(error, this.path);
    }
  }
}
