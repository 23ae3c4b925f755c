/** A file in an S3 bucket: GetObject, with a Range and `If-Match` when a connection has broken. */
import type { Readable } from "node:stream";
import { EndpointError } from "../../support/index.ts";
import type { Connection, ConnectionRequest, RemoteFile } from "./resumed-bytes.ts";
import { S3Store, explainS3, parseS3 } from "./s3-store.ts";
import type { S3Place } from "./s3-store.ts";

export class S3File implements RemoteFile {
  readonly shown: string;
  readonly #place: S3Place;

  /**
   * @param address `s3://BUCKET/KEY`
   * @throws UsageError when it names no bucket
   */
  constructor(
    address: string,
    readonly store: Promise<S3Store> = S3Store.shared(),
  ) {
    this.#place = parseS3(address);
    this.shown = address;
    // Whether it can be loaded is told to whoever reads.
    store.catch(() => undefined);
  }

  async connect({ from, to, version, signal }: ConnectionRequest): Promise<Connection> {
    const { library, client } = await this.store;
    const { bucket, key } = this.#place;
    const ranged = from > 0 || to !== undefined;
    const command = new library.GetObjectCommand({
      Bucket: bucket,
      Key: key,
      ...(ranged ? { Range: `bytes=${from}-${to === undefined ? "" : to - 1}` } : {}),
      ...(version === undefined ? {} : { IfMatch: version }),
    });
    try {
      const { Body, ContentLength, ContentRange, ETag } = await client.send(command, { abortSignal: signal });
      const body = Body as Readable | undefined;
      if (!body) throw new EndpointError(`${this.shown}: the store sent no content.`);
      const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(ContentRange ?? "");
      if (ContentRange !== undefined && Number(range?.[1] ?? NaN) !== from) {
        body.on("error", () => undefined).destroy();
        throw new EndpointError(`${this.shown}: asked for bytes from ${from} on, the store sent others (${ContentRange}).`);
      }
      return { start: range ? from : 0, size: range ? Number(range[2]) : ContentLength, version: ETag, body };
    } catch (error) {
      throw explainS3(error, this.shown, { bucket, from });
    }
  }
}
